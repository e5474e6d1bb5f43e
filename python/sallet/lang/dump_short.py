"""Prints associations as `setkey -Dl` does: one line each.

No socket and no clock may enter: the time is an argument. Answers to setkey(8) of KAME, option -l.
"""

from __future__ import annotations

import time
from typing import Final

from sallet.lang.dump_parts import part, word
from sallet.pfkey.constants import SadbExtType, SadbSaState, SadbSatype
from sallet.pfkey.messages import Address, Lifetime, Message, Sa

HEADER: Final = "time p   s spi      ltime   src -> dst\n"
_SATYPES: Final[dict[int, str]] = {SadbSatype.ESP: "esp", SadbSatype.AH: "ah", SadbSatype.X_IPCOMP: "ipc"}
_STATES: Final[dict[int, str]] = {
    SadbSaState.LARVAL: "L",
    SadbSaState.MATURE: "M",
    SadbSaState.DYING: "D",
    SadbSaState.DEAD: "d",
}


def line(message: Message, now: int) -> str:
    """Print one association out of a DUMP: minute and second, protocol, state, SPI, age, addresses."""
    sa = part(message, SadbExtType.SA, Sa) or Sa(0)
    ends = (part(message, kind, Address) for kind in (SadbExtType.ADDRESS_SRC, SadbExtType.ADDRESS_DST))
    source, destination = (str(end.address) if end else "?" for end in ends)
    moment = time.localtime(now)
    return (
        f"{moment.tm_min:02d}{moment.tm_sec:02d} {word(_SATYPES, message.satype):<3} "
        f"{word(_STATES, sa.state)} {sa.spi:08x} {_age(message, now):<7} {source} -> {destination}\n"
    )


def _age(message: Message, now: int) -> str:
    """Print how many seconds an association has lived, and how many it may; `-` for no limit."""
    current = part(message, SadbExtType.LIFETIME_CURRENT, Lifetime)
    hard = part(message, SadbExtType.LIFETIME_HARD, Lifetime) or Lifetime()
    age = str(now - current.addtime) if current and current.addtime else "?"
    return f"{age}/{hard.addtime or '-'}"
