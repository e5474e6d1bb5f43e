"""Where the wheel keeps what C programs load and include: the preload library, libipsec, headers.

No socket and no engine may enter: this room only knows paths.
Answers to: ARCHITECTURE.md, "Libraries for C programs".
"""

from pathlib import Path

HERE = Path(__file__).resolve().parent
PRELOAD = HERE / "libsallet_preload.so"
LIBIPSEC = HERE / "libipsec.so"
INCLUDE = HERE / "include"
