"""PF_KEY messages to bytes and back, for every dialect; strict in what it reads, zero in what it pads.

No database, no socket and no meaning of a field enters. Answers to RFC 2367 §2, <linux/pfkeyv2.h>, KAME.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from struct import error as StructError
from typing import Final

from sallet.pfkey.constants import HEADER_BYTES, PF_KEY_V2, WORD_BYTES, SadbExtType, SadbMsgType
from sallet.pfkey.dialects import Dialect
from sallet.pfkey.layouts import EXT, HEADER, words
from sallet.pfkey.messages import Extension, Message
from sallet.pfkey.readers import Refused, readers_of
from sallet.pfkey.writers import EMITTERS

_KEYS: Final = (SadbExtType.KEY_AUTH, SadbExtType.KEY_ENCRYPT)
_KEY_AT: Final = WORD_BYTES
"""Where the key begins in its extension."""
_MESSAGE_TYPES: Final = {int(kind): kind for kind in SadbMsgType if kind is not SadbMsgType.RESERVED}
_RESERVED: Final = slice(6, 8)


class Malformed(Exception):
    """Bytes that are no message: `errno`, and whether a kernel would have failed send() itself."""

    def __init__(self, number: int, *, send_failed: bool) -> None:
        """Keep the errno and the way it is told."""
        super().__init__(errno.errorcode.get(number, str(number)))
        self.errno = number
        self.send_failed = send_failed


def decode_request(data: bytes, dialect: Dialect) -> Message:
    """Read what a program asks, whose reserved field has to be zero where the dialect looks at it.

    Raises:
        Malformed: as `decode`, and for a reserved field that is not zero.
    """
    if dialect.reserved_refused and len(data) >= HEADER_BYTES and any(data[_RESERVED]):
        raise Malformed(errno.EINVAL, send_failed=dialect.bad_header_fails_send)
    return decode(data, dialect)


# = https://www.rfc-editor.org/rfc/rfc2367#section-2
# # version 2, lengths in units of 8 bytes, a reply has the request's sequence number and process
def decode(data: bytes, dialect: Dialect) -> Message:
    """Read one datagram as one message.

    Raises:
        Malformed: for anything that is not exactly one well-formed message; never another exception.
    """
    if len(data) < HEADER_BYTES:
        raise Malformed(dialect.short_errno, send_failed=True)
    version, kind, number, satype, length, reserved, seq, pid = HEADER.unpack_from(data)
    message_type = _MESSAGE_TYPES.get(kind)
    if version != PF_KEY_V2 or message_type is None or kind > dialect.last_message:
        raise Malformed(errno.EINVAL, send_failed=dialect.bad_header_fails_send)
    if length != len(data) // WORD_BYTES:
        raise Malformed(dialect.short_errno, send_failed=True)
    try:
        extensions = _extensions(data, dialect)
    except Refused as refused:
        raise Malformed(refused.errno, send_failed=dialect.bad_extension_fails_send) from None
    return Message(message_type, satype, number, seq, pid, reserved, extensions)


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.3
# # an extension twice, of no length, beyond the message or of an unknown kind: EINVAL, and nothing is changed
def _extensions(data: bytes, dialect: Dialect) -> dict[SadbExtType, Extension]:
    readers = readers_of(dialect)
    extensions: dict[SadbExtType, Extension] = {}
    at, end = HEADER_BYTES, len(data)
    while at < end:
        if end - at < WORD_BYTES:
            raise Refused
        length, number = EXT.unpack_from(data, at)
        size = length * WORD_BYTES
        if size == 0 or at + size > end or number == 0:
            raise Refused
        reader = readers.get(number)
        if reader is not None:
            kind, parse, exact = reader
            if kind in extensions or (exact and size != exact):
                raise Refused
            extensions[kind] = parse(data[at : at + size], dialect)
        elif not dialect.unknown_extension_ignored:
            raise Refused
        at += size
    return extensions


# = https://www.rfc-editor.org/rfc/rfc2367#section-2.2
# # what fills an extension up to 8 bytes is zero
def encode(message: Message, dialect: Dialect) -> bytes:
    """Write one message; all padding and reserved octets are zero.

    Raises:
        ValueError: for an extension that the dialect has no number for, or a field out of its range.
    """
    parts = [b""]
    total = HEADER_BYTES
    try:
        for kind, extension in message.extensions.items():
            body = EMITTERS[type(extension)](extension, dialect)
            size = words(4 + len(body)) * WORD_BYTES
            head = EXT.pack(size // WORD_BYTES, dialect.extension_numbers[kind])
            parts.append((head + body).ljust(size, b"\0"))
            total += size
        parts[0] = HEADER.pack(
            PF_KEY_V2,
            message.type,
            message.errno,
            message.satype,
            total // WORD_BYTES,
            message.reserved,
            message.seq,
            message.pid,
        )
    except KeyError as missing:
        raise ValueError(f"the dialect {dialect.name} has no extension {missing.args[0]!r}") from None
    except (OverflowError, StructError) as error:
        raise ValueError(f"a field of {message.type.name} is out of its range: {error}") from None
    return b"".join(parts)


# = https://www.rfc-editor.org/rfc/rfc2367#section-3.1.3
# # keys are for those who may see them: not for all listeners
def without_keys(data: bytes, dialect: Dialect) -> bytes:
    """Put zeros where a message has keys, and in place of all that cannot be read; lengths stay."""
    hidden = bytearray(data)
    at = HEADER_BYTES
    while len(data) > at and data[at - HEADER_BYTES + 1] == SadbMsgType.X_PROMISC:
        at += HEADER_BYTES
    keys = {dialect.extension_numbers[kind] for kind in _KEYS if kind in dialect.extension_numbers}
    while at + EXT.size <= len(data):
        length, number = EXT.unpack_from(data, at)
        end = at + length * WORD_BYTES
        if length == 0 or end > len(data):
            break
        if number in keys:
            hidden[at + _KEY_AT : end] = bytes(end - at - _KEY_AT)
        at = end
    hidden[at:] = bytes(max(len(data) - at, 0))
    return bytes(hidden)


def lengths(data: bytes) -> list[int]:
    """Return the length of a message and of each of its extensions, in words of 8 bytes."""
    found, at = [len(data) // WORD_BYTES], HEADER_BYTES
    while at + EXT.size <= len(data) and (size := EXT.unpack_from(data, at)[0]):
        found.append(size)
        at += size * WORD_BYTES
    return found


def datagrams(data: bytes) -> Iterator[bytes]:
    """Cut messages apart that stand one behind the other; what is left over is the last one."""
    at = 0
    while at < len(data):
        size = HEADER.unpack_from(data, at)[4] * WORD_BYTES if at + HEADER_BYTES <= len(data) else 0
        yield data[at : at + size] if size else data[at:]
        at += size or len(data)


def refusal(data: bytes, number: int) -> bytes:
    """Answer bytes with a bare 16-octet header: what could be read of theirs, and an errno."""
    header = bytearray(data[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0"))
    header[0] = PF_KEY_V2
    header[2] = number
    header[4:8] = EXT.pack(HEADER_BYTES // WORD_BYTES, 0)
    return bytes(header)


def unwrapped(data: bytes) -> bytes:
    """Return the message behind an X_PROMISC header, or the message itself where there is none."""
    wrapped = len(data) > HEADER_BYTES and data[1] == SadbMsgType.X_PROMISC
    return data[HEADER_BYTES:] if wrapped else data


def wrap_promiscuous(data: bytes, satype: int) -> bytes:
    """Put an X_PROMISC header before one whole message (RFC 2367 §3.1.11)."""
    length = (HEADER_BYTES + len(data)) // WORD_BYTES
    return HEADER.pack(PF_KEY_V2, SadbMsgType.X_PROMISC, 0, satype, min(length, 0xFFFF), 0, 0, 0) + data
