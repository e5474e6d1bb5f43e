"""`setkey -x`: prints every PF_KEY message that passes, with its time.

No field's name may enter (`sallet.lang.trace`). Answers to setkey(8), -x, -xx and -H, and to RFC 2367
section 3.1.11 for X_PROMISC, whose copies stand behind a header of their own in some dialects.
"""

from __future__ import annotations

import sys
import time

from sallet.cli import diagnostics
from sallet.cli.setkey_options import Options
from sallet.client import PfkeyClient, PfkeyError
from sallet.lang import trace
from sallet.pfkey import codec
from sallet.pfkey.constants import HEADER_BYTES, SadbMsgType
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import Message

_ROW_BYTES = 16
_ON = 1


def run(options: Options, client: PfkeyClient) -> int:
    """Listen until the daemon goes or somebody interrupts."""
    # Not as a request: what comes with its answer would be read away.
    client.send(Message(SadbMsgType.X_PROMISC, _ON))
    dialect = DIALECTS[options.row.dialect]
    last = b""
    while True:
        data = client.receive_bytes()
        inner = codec.unwrapped(data)
        # A message to everybody comes once for all sockets and once for those that hear everything.
        if options.faithful or inner != last:
            _print(options, data, inner, dialect)
        last = inner
        _check(data, dialect)
    return diagnostics.OK


def _check(data: bytes, dialect: Dialect) -> None:
    """Stop where the daemon refuses to be listened to.

    # Errors
    `PfkeyError` with its errno.
    """
    if len(data) == HEADER_BYTES:
        message = codec.decode(data, dialect)
        if message.type is SadbMsgType.X_PROMISC and message.errno:
            raise PfkeyError(message.errno, message)


def _print(options: Options, data: bytes, inner: bytes, dialect: Dialect) -> None:
    sys.stdout.write(stamp(time.time(), raw=options.monitor > 1))
    if options.hex_dump:
        sys.stdout.write("\n" + hex_dump(data))
    sys.stdout.write(_record(options, inner, dialect) + "\n")
    sys.stdout.flush()


def _record(options: Options, data: bytes, dialect: Dialect) -> str:
    try:
        message = codec.decode(data, dialect)
    except codec.Malformed as error:
        return f"({len(data)} bytes that are no message of the dialect {dialect.name}: {error})\n"
    return trace.text(message, options.form, codec.lengths(data))


def stamp(moment: float, *, raw: bool) -> str:
    """Return the time of day, or the seconds since 1970, with microseconds and a blank."""
    seconds, micros = divmod(int(moment * 1_000_000), 1_000_000)
    head = str(seconds) if raw else time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{head}.{micros:06d} "


def hex_dump(data: bytes) -> str:
    """Return bytes as rows of sixteen, each behind its offset."""
    rows = (
        f"{at:08x}: " + "".join(f"{octet:02x} " for octet in data[at : at + _ROW_BYTES])
        for at in range(0, len(data), _ROW_BYTES)
    )
    return "".join(row.rstrip() + "\n" for row in rows)
