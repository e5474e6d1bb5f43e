"""Who may do what over the daemon's sockets: three rights, who has them, and which one each message needs.

No socket, no database of users and no message's content enters; `sockets` learns who is there.
Answers to RFC 2367 §1 (privileged processes only) and §3.1 (which messages read, which change).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sallet.pfkey.constants import SadbMsgType

_T: Final = SadbMsgType


@dataclass(frozen=True, slots=True)
class Rights:
    """What a program may do."""

    read: bool = False
    """See the SAD and the SPD, without keys, and hear what everybody hears."""
    write: bool = False
    """Change them, and be a key manager."""
    see_keys: bool = False
    """See keys in GET and DUMP; zeros stand there otherwise."""


ALL: Final = Rights(read=True, write=True, see_keys=True)
NONE: Final = Rights()


@dataclass(frozen=True, slots=True)
class Access:
    """Whom a daemon serves: root and its own user wholly, members of groups as far as the groups reach."""

    owner: int = 0
    """The daemon's own user."""
    group: int | None = None
    """Its members may read; the sockets belong to it."""
    write_group: int | None = None
    """Those of them who are in this group, too, may write."""
    keys_group: int | None = None
    """Those of them who are in this group, too, see keys."""

    def privileged(self, uid: int) -> bool:
        """Say whether a user is root or the daemon's own."""
        return uid in (0, self.owner)

    # = https://www.rfc-editor.org/rfc/rfc2367#section-1
    # # only a privileged process may speak, and a full listener loses its own messages only
    def rights(self, uid: int, groups: Collection[int]) -> Rights:
        """Tell the rights of a user who is in these groups."""
        if self.privileged(uid):
            return ALL
        if self.group is None or self.group not in groups:
            return NONE
        return Rights(
            read=True,
            write=self.write_group is not None and self.write_group in groups,
            see_keys=self.keys_group is not None and self.keys_group in groups,
        )


READS: Final = frozenset({_T.GET, _T.DUMP, _T.X_PROMISC, _T.X_SPDGET, _T.X_SPDDUMP})
"""Messages that need the right to read; every other needs the right to write.

REGISTER is among the others: who registers is asked for keys, and packets wait for the answer.
"""


def permitted(kind: int, rights: Rights) -> bool:
    """Say whether a program with these rights may send a message of this type, be it a known one or not."""
    return rights.read if kind in READS else rights.write
