"""What people read: cells, tables, reasons, the document between its markers, and the arguments.

No measurement and no namespace may enter.
Answers to: docs/benchmarks.md.
"""

from __future__ import annotations

import pytest
from bench import __main__ as command
from bench import document, load, namespaces, table, tunnels, wireguard
from bench.figures import Column, Row, Section
from bench.machine import section_names
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import sallet
from netns import need

SPEED = Column("speed", "Gbit/s", 2)
TIMES = Column("times", "against the peer", 2, is_ratio=True)


def section() -> Section:
    """One row measured, one not."""
    ours = Row("ours", {"speed": [3.0, 1.0, 2.0]}, {"times": 1.5})
    return Section(
        "tcp", "TCP", "How it was done.", (SPEED, TIMES), [ours, Row("peer", reason="not installed")]
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], "–"), ([1.5], "1.50"), ([3.0, 1.0, 2.0], "2.00 (1.00 to 3.00)"), ([1234567.0], "1,234,567")],
)
def test_a_cell_says_the_median_and_the_range(values: list[float], expected: str) -> None:
    assert table.cell(Row("ours", {"speed": values}), SPEED) == expected


def test_a_terminal_table() -> None:
    lines = table.text(section()).splitlines()
    assert lines[0] == "TCP"
    assert lines[3].split() == ["ours", "2.00", "(1.00", "to", "3.00)", "1.50×"]
    assert lines[4].split() == ["peer", "–", "–"]
    assert lines[5] == "peer: not measured: not installed"


def test_a_markdown_table_has_as_many_cells_in_every_line() -> None:
    text = table.markdown(section())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {row.count("|") for row in rows} == {4}
    assert "not measured: not installed" in text


def test_the_document_changes_between_its_markers_only() -> None:
    old = f"# Before\n\n{document.BEGIN}\nold figures\n{document.END}\n\nAfter.\n"
    new = document.replaced(old, "new figures")
    assert new == f"# Before\n\n{document.BEGIN}\n\nnew figures\n\n{document.END}\n\nAfter.\n"
    assert document.replaced(new, "new figures") == new


@pytest.mark.parametrize("text", ["", document.BEGIN, f"{document.END}{document.BEGIN}"])
def test_a_document_without_markers_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        document.replaced(text, "figures")


def test_the_document_of_the_repository_has_the_markers() -> None:
    assert "new figures" in document.replaced(document.DOCUMENT.read_text(encoding="utf-8"), "new figures")


def test_what_is_measured_names_machine_command_and_limits() -> None:
    text = document.measured([section()], {"kernel": "Linux 1.0"}, "python -m bench")
    for words in ("`python -m bench`", "| kernel | Linux 1.0 |", "### TCP", "How to read it", "Not covered"):
        assert words in text


def test_iperf3_s_report() -> None:
    done = load.iperf3_result('{"end": {"sum_received": {"bytes": 250000000, "seconds": 2.0}}}')
    assert done.gigabits_per_sec == 1.0
    for text, words in (
        ("", "no JSON"),
        ('{"error": "refused"}', "refused"),
        ('{"end": {}}', "sum_received"),
    ):
        with pytest.raises(RuntimeError, match=words):
            load.iperf3_result(text)


def test_the_configuration_of_wireguard_go() -> None:
    own, peer = (X25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
    text = wireguard.settings(own, peer, "192.0.2.2", "10.77.0.2")
    lines = text.splitlines()
    assert text.endswith("\n\n")
    assert lines[0] == "set=1"
    assert f"private_key={'01' * 32}" in lines
    assert f"public_key={peer.public_key().public_bytes_raw().hex()}" in lines
    assert lines.index("endpoint=192.0.2.2:51820") > lines.index(lines[4])


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("in_udp", [False, True])
def test_both_ends_of_a_protection_understand_each_other(tunnel: bool, in_udp: bool) -> None:
    need("engine")
    protection = tunnels.Protection("host", tunnel=tunnel, in_udp=in_udp)
    left, right = sallet.Engine(), sallet.Engine()
    for end, engine in enumerate((left, right)):
        sallet.configure(engine, protection.setkey(end))
    right.configure("encap_ports", [tunnels.UDP_PORT])
    ends = namespaces.INNER if tunnel else namespaces.OUTER
    packet = sallet.udp_packet(*ends, 1000, 53, b"a question")
    sealed = left.outbound(packet).packet
    assert sealed is not None
    assert sealed[9] == (17 if in_udp else 50)
    assert right.inbound(sealed).packet == packet


@pytest.mark.parametrize(
    "words",
    [["--only", "network"], ["--only", ""], ["--rounds", "0"], ["--rounds", "1.5"], ["--seconds", "nan"]],
)
def test_wrong_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(words)
    assert "error" in capsys.readouterr().err


def test_a_part_of_the_figures_does_not_rewrite_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    need("engine")
    assert command.main(["--only", "memory", "--write"]) == 2
    assert "--only" in capsys.readouterr().err


def test_bytes_that_are_no_elf_file_have_no_sections() -> None:
    assert section_names(b"") == set()
    assert section_names(b"\x7fELF\x01" + bytes(60)) == set()
