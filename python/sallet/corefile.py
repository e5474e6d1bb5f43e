"""Keeps this process, and the keys in it, out of core files and away from debuggers of the same user.

No key and no socket enters. Answers to: prctl(2) (PR_SET_DUMPABLE), getrlimit(2) (RLIMIT_CORE), core(5).
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid() -> None:
    """Write no core file from now on, be it to a path or to a program that collects them.

    The limit alone would not do: what `core_pattern` pipes to a program is not held by it.

    Raises:
        OSError: the system refused.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
