"""A policy's id as a dialect tells it, and back: Linux puts the list that an entry stands in into three bits.

No database is asked. Answers to <linux/xfrm.h> (the index of a policy), measured on a real kernel.
"""

from __future__ import annotations

from typing import Final

from sallet.pfkey.convert.fields import Refusal
from sallet.pfkey.dialects import Dialect

_LISTS: Final = ("in", "out", "fwd")
"""The lists of the SPD in Linux' order; those of sockets follow in the same order."""
_ROOM: Final = 8


def told(number: int, direction: str, dialect: Dialect, *, of_socket: bool = False) -> int:
    """Tell the engine's id of an entry of a list."""
    if not dialect.policy_ids_have_list:
        return number
    return number * _ROOM + _LISTS.index(direction) + of_socket * len(_LISTS)


def meant(number: int, dialect: Dialect) -> tuple[int, str | None]:
    """Read an id: the engine's, and the list that the entry has to stand in, if the dialect says.

    Raises:
        Refusal: no list of the SPD has this number (out-of-range).
    """
    if not dialect.policy_ids_have_list:
        return number, None
    own, which = divmod(number, _ROOM)
    if which >= len(_LISTS):
        raise Refusal("out-of-range")
    return own, _LISTS[which]
