"""The fixed parts of the structures of PF_KEY, each as one `struct` format in host byte order.

No value and no variable part enters. Answers to RFC 2367 §2.3, <linux/pfkeyv2.h>, KAME's `net/pfkeyv2.h`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from sallet.pfkey.constants import WORD_BYTES

HEADER: Final = Struct("=BBBBHHII")
EXT: Final = Struct("=HH")
SA: Final = Struct("=4s4BI")
LIFETIME: Final = Struct("=IQQQ")
ADDRESS: Final = Struct("=BBxx")
KEY: Final = Struct("=Hxx")
IDENTITY: Final = Struct("=HxxQ")
COMB: Final = Struct("=BBHHHHHIIIQQQQQQ")
PROPOSAL: Final = Struct("=B3x")
ALGORITHM: Final = Struct("=BBHHxx")
SPIRANGE: Final = Struct("=IIxxxx")
POLICY: Final = Struct("=HBBII")
FILTER: Final = Struct("=16s16sHBB")
SA2: Final = Struct("=BxxxII")
REQUEST: Final = Struct("=HHBB")
WORD: Final = Struct("=I")
HALF: Final = Struct("=H")
ADDRESS_BYTES: Final = 8
INET_FAMILY: Final = 2
INET_BYTES: Final = 16
INET6_BYTES: Final = 28
WIDE_REQUEST_BYTES: Final = 16


def words(count: int) -> int:
    """Round octets up to whole 64-bit words."""
    return -(-count // WORD_BYTES)
