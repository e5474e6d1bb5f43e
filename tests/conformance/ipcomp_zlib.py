"""Datagrams of every size and kind between the engine's DEFLATE and zlib's, both ways: `make ipcomp-zlib`.

Each is compressed here and inflated by zlib with every window that a peer may have, and compressed by zlib
with every one of them and inflated here. Figures go into docs/ipcomp.md with `--write`.
Answers to: ipsec(4) (BUGS: IPComp "may occasionally error because of zlib(3) problems"), RFC 2394, RFC 1951.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from time import monotonic, strftime

from conformance import ipcomp_oracle as oracle
from conformance.test_ipcomp import ENDS, UDP, engine
from sallet import _core

WHOLE = 1_000_000
SHARE = 1_000
"""So many datagrams hang on one seed: the figures are the same whatever the number of processes."""
SEED = 20260101
LARGEST = 65_000
LONGEST_STREAM = 0xFFFF - 20 - oracle.HEADER_BYTES
WINDOWS = range(11, 16)
SHRINKING, SHRINKS_FROM_BYTES = {"text", "zeros"}, 200
PIECE_BYTES = 1000
"""Fed in such pieces, the window is all that zlib has to look back at."""
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ipcomp.md"
BEGIN = "<!-- measured: begin; `make ipcomp-zlib ARGS=--write` rewrites from here -->"
END = "<!-- measured: end -->"
_WORDS = (
    b"the of and to in is that it was for on are with as his they be at one have this from or had by"
).split()
_TEXT = b" ".join(random.Random(SEED).choices(_WORDS, k=200_000))
_COMPRESSED = zlib.compress(_TEXT)
_SAMPLE = oracle.packet(*ENDS[4], UDP, b"")
_EDGES = (1, 2, 89, 90, 91, 2047, 2048, 2049, 32_767, 32_768, 32_769, LARGEST)


@dataclass
class Kind:
    """What became of the datagrams of one kind."""

    datagrams: int = 0
    compressed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def add(self, other: Kind) -> None:
        """Count another share's in."""
        for name in ("datagrams", "compressed", "bytes_before", "bytes_after"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Figures:
    """What a trial, or a share of it, came to; whatever went wrong raised instead."""

    seed: int
    secs: float = 0.0
    kinds: dict[str, Kind] = field(default_factory=dict)
    checks: Counter[str] = field(default_factory=Counter)

    @property
    def datagrams(self) -> int:
        """How many datagrams there were."""
        return sum(kind.datagrams for kind in self.kinds.values())

    def add(self, other: Figures) -> None:
        """Count another share in."""
        for name, kind in other.kinds.items():
            self.kinds.setdefault(name, Kind()).add(kind)
        self.checks += other.checks


def text(rng: random.Random, size: int) -> bytes:
    """Words."""
    return _piece(rng, _TEXT, size)


def zeros(_: random.Random, size: int) -> bytes:
    """What shrinks most."""
    return bytes(size)


def noise(rng: random.Random, size: int) -> bytes:
    """What nothing shrinks."""
    return rng.randbytes(size)


def compressed(rng: random.Random, size: int) -> bytes:
    """What was compressed already."""
    return _piece(rng, _COMPRESSED, size)


def far(rng: random.Random, size: int) -> bytes:
    """Bytes that repeat only at a distance: a window is full or overrun just here."""
    distance = rng.choice((1500, 1786, 2048, 2049, 4096, 16_384, 32_768))
    return _piece(rng, rng.randbytes(min(size, distance)), size)


KINDS: tuple[Callable[[random.Random, int], bytes], ...] = (text, zeros, noise, compressed, far)


def _piece(rng: random.Random, whole: bytes, size: int) -> bytes:
    """Some `size` bytes in a row; what is too short for that is repeated."""
    whole = whole * (size // len(whole) + 1)
    at = rng.randrange(len(whole) - size + 1)
    return whole[at : at + size]


def datagrams(seed: int, share: int) -> Iterator[tuple[str, bytes]]:
    """Make one share's datagrams, of all magnitudes; in the first share the edges of each kind first."""
    rng = random.Random(f"{seed} {share}")
    edges = [(kind, size) for size in _EDGES for kind in KINDS] if share == 0 else []
    for number in range(SHARE):
        kind, size = KINDS[number % len(KINDS)], min(LARGEST, int(2 ** rng.uniform(0, 16)))
        if edges:
            kind, size = edges.pop(0)
        yield kind.__name__, kind(rng, size)


@cache
def _engine() -> _core.Engine:
    """Make the one engine of this process: what a datagram leaves behind in it would show in later ones."""
    made = engine(ENDS[4], ENDS[4], 0x1000, tunnel=False, raw=False)
    made.configure("ipcomp_back_off", 0)
    made.configure("ipcomp_threshold", 0)
    return made


def try_share(seed: int, share: int) -> Figures:
    """Send one share both ways.

    Raises:
        AssertionError: a datagram did not come back as it was; the message says which.
        zlib.error: zlib refused a stream of ours.
    """
    ours, figures = _engine(), Figures(seed)
    for number, (kind, data) in enumerate(datagrams(seed, share)):
        label = f"{kind}, {len(data)} bytes, seed {seed}, share {share}, number {number}"
        clear = oracle.behind(_SAMPLE, UDP, data)
        sent = ours.outbound(clear).packet
        assert sent is not None, label
        _to_zlib(figures, kind, data, sent, clear, label)
        assert ours.inbound(sent).packet == clear, label
        for window_bits in WINDOWS:
            level, strategy = (number + window_bits) % 10, STRATEGIES[number % 7 % len(STRATEGIES)]
            theirs = oracle.deflate(data, window_bits, level, strategy)
            if len(theirs) > LONGEST_STREAM:
                # Only what no peer may send, since it got longer: by the fixed codes, noise does.
                theirs = oracle.deflate(data, window_bits, level)
            header = bytes([UDP, 0, 0, oracle.DEFLATE_CPI])
            back = ours.inbound(oracle.behind(_SAMPLE, oracle.IPCOMP, header + theirs))
            assert back.packet == clear, f"{label}, window {window_bits}, level {level}, strategy {strategy}"
            figures.checks[f"streams of zlib, window 2^{window_bits}, inflated here"] += 1
    drops = {reason: count for reason, count in ours.stats().drops.items() if count}
    assert not drops, f"share {share}: {drops}"
    return figures


def _to_zlib(figures: Figures, kind: str, data: bytes, sent: bytes, clear: bytes, label: str) -> None:
    """Inflate what the engine sent with every window, or see that it is the packet as it was."""
    row = figures.kinds.setdefault(kind, Kind())
    row.datagrams += 1
    row.bytes_before += len(clear)
    row.bytes_after += len(sent)
    assert len(sent) <= len(clear), label
    parts = oracle.parse(sent)
    if parts.next_header != oracle.IPCOMP:
        assert sent == clear, label
        assert kind not in SHRINKING or len(data) < SHRINKS_FROM_BYTES, f"{label}: not compressed"
        figures.checks["datagrams left as they were"] += 1
        return
    row.compressed += 1
    for window_bits in WINDOWS:
        inflated = oracle.inflate(parts.payload[oracle.HEADER_BYTES :], window_bits, PIECE_BYTES)
        assert inflated == data, f"{label}, window {window_bits}"
        figures.checks[f"streams of ours inflated by zlib, window 2^{window_bits}"] += 1


def trial(
    count: int, seed: int, processes: int, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Figures:
    """Send `count` datagrams (rounded up to whole shares) both ways, and tell each time how far it is."""
    shares = -(-count // SHARE)
    whole, began = Figures(seed), monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for done, figures in enumerate(pool.imap_unordered(partial(try_share, seed), range(shares)), 1):
            whole.add(figures)
            progress(done, shares)
    whole.secs = monotonic() - began
    return whole


def described(figures: Figures) -> str:
    """Write the figures as the tables of the document."""
    lines = ["| datagrams | number | compressed | bytes before | bytes after |", "|---|---:|---:|---:|---:|"]
    for name in (kind.__name__ for kind in KINDS):
        row = figures.kinds[name]
        numbers = (row.datagrams, row.compressed, row.bytes_before, row.bytes_after)
        lines.append(" | ".join([f"| {name}", *(f"{number:,}" for number in numbers)]) + " |")
    lines += ["", "| checked | number | failed |", "|---|---:|---:|"]
    lines += [f"| {name} | {number:,} | 0 |" for name, number in sorted(figures.checks.items())]
    return "\n".join(lines)


def _bar(began: float, done: int, shares: int) -> None:
    """Draw the bar on a terminal, or a line each tenth of the way."""
    left = (monotonic() - began) / done * (shares - done)
    words = f"{done * SHARE:,} of {shares * SHARE:,} datagrams, {left / 60:.0f} min left"
    if sys.stderr.isatty():
        full = 40 * done // shares
        ending = "\n" if done == shares else ""
        print(f"\r[{'#' * full}{'.' * (40 - full)}] {words}   ", end=ending, file=sys.stderr, flush=True)
    elif done * 10 // shares != (done - 1) * 10 // shares or done == shares:
        print(f"ipcomp-zlib: {words}", file=sys.stderr, flush=True)


def _write(figures: Figures, processes: int) -> None:
    """Put the figures of a whole trial into the document."""
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    told = (
        f"{strftime('%Y-%m-%d')}, seed {figures.seed}, {figures.datagrams:,} datagrams in "
        f"{figures.secs / 60:.0f} minutes ({processes} processes), zlib {zlib.ZLIB_RUNTIME_VERSION}"
    )
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{told}\n\n{described(figures)}\n\n{END}{tail}")


def main(words: Sequence[str] | None = None) -> int:
    """Run a trial, print its figures, and write them down where asked."""
    parser = argparse.ArgumentParser(prog="make ipcomp-zlib", description=__doc__.partition("\n")[0])
    parser.add_argument("--datagrams", type=int, default=WHOLE, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--write", action="store_true", help="rewrite the figures in docs/ipcomp.md")
    arguments = parser.parse_args(words)
    if arguments.datagrams < 1 or arguments.processes < 1:
        parser.error("there must be a datagram and a process")
    if arguments.write and arguments.datagrams < WHOLE:
        parser.error(f"--write is for the whole trial of {WHOLE} datagrams")
    bar = partial(_bar, monotonic())
    figures = trial(arguments.datagrams, arguments.seed, arguments.processes, bar)
    print(described(figures))
    told = f"{figures.datagrams:,} datagrams, seed {figures.seed}, {figures.secs:.0f} s"
    print(f"\n{told}: every one came back as it was")
    if arguments.write:
        _write(figures, arguments.processes)
        print(f"{DOCUMENT} is rewritten")
    return 0


if __name__ == "__main__":
    sys.exit(main())
