"""Prints PF_KEY messages field by field, as `setkey -v` and `setkey -x` do.

No socket may enter, and no key: its length is all that is shown. Answers to setkey(8), options -v and -x.
"""

from __future__ import annotations

from dataclasses import fields

from sallet.pfkey.constants import SadbExtType
from sallet.pfkey.messages import Address, Extension, Key, Message, Opaque, Policy, Sa

_NAMES = {SadbExtType.X_SA2: "x_sa2", SadbExtType.X_POLICY: "x_policy"}


def text(message: Message) -> str:
    """Return a message as lines of `sadb_NAME{ field=value … }`."""
    lines = [
        f"sadb_msg{{ version=2 type={int(message.type)} errno={message.errno} satype={int(message.satype)}",
        f"  reserved={message.reserved} seq={message.seq} pid={message.pid} }}",
    ]
    for kind, extension in message.extensions.items():
        lines.append(f"sadb_{_NAMES.get(kind, kind.name.lower())}{{ {_fields(extension)} }}")
    return "\n".join(lines) + "\n"


def _fields(extension: Extension) -> str:
    """Return the fields of an extension as `name=value`."""
    if isinstance(extension, Key):
        return f"bits={extension.bits} key=({len(extension.data)} bytes, not shown)"
    if isinstance(extension, Opaque):
        return f"bytes={len(extension.data)}"
    if isinstance(extension, Sa):
        words = f"spi={extension.spi} replay={extension.replay} state={extension.state}"
        return f"{words} auth={extension.auth} encrypt={extension.encrypt} flags=0x{extension.flags:x}"
    if isinstance(extension, Policy):
        head = (
            f"type={extension.type} dir={extension.direction} id={extension.id} priority={extension.priority}"
        )
        return " ".join([head, *(f"{{ {_fields_of(request)} }}" for request in extension.requests)])
    return _fields_of(extension)


def _fields_of(value: object) -> str:
    """Return the fields of any of the message classes."""
    words = []
    for field in fields(value):  # type: ignore[arg-type]
        found = getattr(value, field.name)
        if isinstance(found, Address):
            found = f"{found.address}/{found.prefixlen}[{found.port}]"
        words.append(f"{field.name}={found}")
    return " ".join(words)
