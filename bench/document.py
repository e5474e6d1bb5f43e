"""docs/benchmarks.md: replaces what stands between the two markers, and leaves the rest to people.

No measuring may enter.
Answers to: docs/benchmarks.md; CONTRIBUTING.md, "measure, then claim".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import table
from bench.figures import Section
from bench.machine import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- measured: begin; `python -m bench --write` rewrites from here -->"
END = "<!-- measured: end -->"


_READING = """### How to read it

Every figure is the median of the rounds, with the lowest and the highest round in brackets.
Absolute figures are this machine's and this hour's; only the ratios, taken in one run, say
something about another machine.

- *ESP in memory*: how much of the AEAD's speed is left after everything IPsec adds to a packet.
  1.00× would mean that policy, SA, replay window, framing and padding cost nothing.
- *TCP*: a whole path, two daemons and the load generator on the same cores. What is compared is
  what a user would run: sallet with AES-GCM, wireguard-go with the only cipher it has. Where cores
  are short, the CPU time per GB tells more than the speed. A row counts only if the tool's own link
  carried every byte that arrived.
- *One packet from Python*: what a script pays for each packet, beside the two ways it has without
  sallet.

### Not covered

Real network cards, and wires that cut segments (a veth pair passes large UDP segments whole, which
favours whoever sends them); IPv6; more than one stream; UDP; small packets through the namespaces;
latency, loss and reordering; other algorithms; many SAs and policies; more cores than this machine
has; strongSwan and others as peers."""


def write(sections: Sequence[Section], facts: Mapping[str, str], command: str, path: Path = DOCUMENT) -> None:
    """Put new figures between the markers.

    Raises:
        ValueError: the document has no such markers.
    """
    old = path.read_text(encoding="utf-8")
    path.write_text(replaced(old, measured(sections, facts, command)), encoding="utf-8")


def replaced(document: str, inside: str) -> str:
    """Return the document with another text between its markers.

    Raises:
        ValueError: it has no such markers, or not in this order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{inside.strip()}\n\n{END}{after}"


def measured(sections: Sequence[Section], facts: Mapping[str, str], command: str) -> str:
    """Write everything that comes from one run: machine, versions, command, tables."""
    about = [f"| {name} | {value} |" for name, value in facts.items()]
    parts = [f"Command: `{command}`", "\n".join(["| | |", "|---|---|", *about])]
    return "\n\n".join([*parts, *(table.markdown(section) for section in sections), _READING])
