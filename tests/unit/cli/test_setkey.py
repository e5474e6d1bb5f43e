"""`sallet setkey`: options, transactions, diagnostics and exit status."""

from __future__ import annotations

import errno
import io
import json
import signal
import sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from sallet import _core
from sallet.cli import setkey as command
from sallet.cli.host_names import HostNames
from sallet.cli.progress import progress
from sallet.cli.setkey_options import usage
from sallet.cli.setkey_sending import batches
from sallet.failure import Failure
from sallet.lang import setkey as language
from sallet.lang.statements import IpAddress
from sallet.pfkey.constants import SadbExtType as E
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.messages import Lifetime, Message, Sa
from unit.lang.engine_client import EngineClient
from unit.lang.fake_daemon import FakeDaemon, snapshot

KEY = "0x" + "5a" * 20
SA = f"add 192.0.2.1 192.0.2.2 esp 0x%x -m transport -E null -A hmac-sha1 {KEY};\n"
AEAD = f"add 192.0.2.1 192.0.2.2 esp 0x%x -m transport -E aes-gcm-16 {KEY};\n"
POLICY = "spdadd 10.0.%d.0/24 10.9.0.0/24 any -P out ipsec esp/transport//require;\n"


class Tool:
    """One tool in front of one daemon."""

    def __init__(self, daemon: FakeDaemon, directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.daemon = daemon
        self.path = directory / "f.conf"
        self._capfd = capfd
        self.out = self.err = ""

    def file(self, text: str, *options: str) -> int:
        self.path.write_text(text)
        return self(*options, "-f", str(self.path))

    def __call__(self, *argv: str) -> int:
        code = command.run_raw(list(argv))
        self.out, self.err = self._capfd.readouterr()
        return code


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Tool:
    tool = Tool(FakeDaemon(), tmp_path, capfd)
    monkeypatch.setattr(command, "PfkeyClient", lambda run_dir, dialect: tool.daemon)
    return tool


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["-q"],
        ["--frob"],
        ["-D", "-F"],
        ["-f"],
        ["--form", "solaris", "-D"],
        ["file"],
        ["-F", "file"],
        ["-D", "-c"],
        ["-l", "-F"],
        ["-lDP"],
        ["-H", "-D"],
        ["-tDP"],
        ["--save", "x", "-F"],
        ["-P"],
    ],
)
def test_a_command_line_without_sense_gives_the_usage(tool: Tool, argv: list[str]) -> None:
    assert tool(*argv) == 2
    assert "usage: sallet setkey" in tool.err
    assert not tool.out
    assert not tool.daemon.seen


def test_help_is_no_error(tool: Tool) -> None:
    assert tool("--help") == 0
    assert tool.out == usage("sallet setkey", "sallet")


def test_a_file_is_applied(tool: Tool) -> None:
    assert tool.file("flush; spdflush;\n" + SA % 0x1001 + POLICY % 1) == 0
    assert (len(tool.daemon.sas), len(tool.daemon.policies)) == (1, 1)
    assert (tool.out, tool.err) == ("", "")


def test_standard_input_is_a_file_too(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    for option in (["-c"], ["-f", "-"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((SA % 0x1001).encode())))
        tool.daemon.sas.clear()
        assert tool(*option) == 0
        assert len(tool.daemon.sas) == 1


class Typed(io.BytesIO):
    """Standard input, one piece at a time; how many SAs there were when it was asked for each."""

    def __init__(self, tool: Tool, pieces: list[str]) -> None:
        super().__init__()
        self.tool, self.pieces, self.seen = tool, pieces, list[int]()

    def read1(self, size: int | None = -1, /) -> bytes:
        self.seen.append(len(self.tool.daemon.sas))
        return self.pieces.pop(0).encode("utf-8", "surrogateescape") if self.pieces else b""


def test_the_old_tools_carry_out_what_is_typed_when_it_is_whole(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = SA % 0x1001, SA % 0x1002
    pieces = ["# a;\n" + first[:20], first[20:] + second[:-2], ";\n# b", "; c\n", "frob;", SA % 0x1003]
    typed = Typed(tool, pieces)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed))
    assert tool("--form", "kame", "-c") == 1
    assert typed.seen == [0, 0, 1, 2, 2]
    assert tool.out == "line 5: syntax error at [frob]\nparse failed, line 5.\n"
    typed = Typed(tool, ["flush; quit; frob", "frob;"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed))
    assert (tool("--form", "linux", "-c"), tool.out) == (0, "")
    typed = Typed(tool, [first, second[:-2]])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed))
    assert tool("--form", "kame", "-c") == 1
    assert "syntax error at []" in tool.out
    assert len(tool.daemon.sas) == 1


def test_a_file_with_errors_is_not_begun(tool: Tool) -> None:
    text = SA % 0x1001 + "add 192.0.2.1 192.0.2.2 esp 0x1002 -E aes-cbc 0x0011;\nfrob;\n" + SA % 0x1003
    assert tool.file(text) == 1
    assert not tool.daemon.seen
    path = tool.path
    assert tool.err == (
        f"sallet setkey: {path}:2:47: key is 16 bits, aes-cbc needs 128, 192 or 256\n"
        "    add 192.0.2.1 192.0.2.2 esp 0x1002 -E aes-cbc 0x0011;\n"
        "                                                  ^^^^^^\n"
        "  next: give a key of that length\n"
        f"sallet setkey: {path}:3:1: this is no verb of setkey\n"
        "    frob;\n"
        "    ^^^^\n"
        "  next: the verbs are add, get, delete, flush, dump, spdadd, spddelete …\n"
        f"sallet setkey: {path}: 2 errors; nothing was sent\n"
    )


def test_a_refusal_takes_everything_back(tool: Tool) -> None:
    tool.file(SA % 0x1005 + POLICY % 5)
    before = snapshot(tool.daemon)
    text = SA % 0x1001 + POLICY % 1 + SA % 0x1005 + SA % 0x1002
    assert tool.file(text) == 1
    assert snapshot(tool.daemon) == before
    assert f"{tool.path}:3:1: refused: File exists\n" in tool.err
    assert "why: an SA with this SPI, protocol and destination exists already\n" in tool.err
    assert "next: delete it first" in tool.err
    assert tool.err.endswith("nothing of it is in force; all 3 changes made so far were taken back\n")
    assert KEY[2:] not in tool.err


def test_what_was_flushed_deleted_and_replaced_comes_back(tool: Tool) -> None:
    tool.file(SA % 0x1001 + AEAD % 0x1002 + POLICY % 1 + POLICY % 2 + POLICY % 3)
    before = snapshot(tool.daemon)
    for removal in (
        "flush; spdflush;",
        "delete 192.0.2.1 192.0.2.2 esp 0x1002; spddelete 10.0.3.0/24 10.9.0.0/24 any -P out;",
        "deleteall 192.0.2.1 192.0.2.2 esp; spdupdate 10.0.2.0/24 10.9.0.0/24 any -P out discard;",
        f"flush; {SA % 0x1001} {AEAD % 0x1002} spdflush; {POLICY % 3}",
        f"{SA % 0x1009} delete 192.0.2.1 192.0.2.2 esp 0x1009; {POLICY % 9}"
        "spddelete 10.0.9.0/24 10.9.0.0/24 any -P out;",
    ):
        tool.daemon._additions, tool.daemon._refuse = 0, {removal.count("add 1") + 1: errno.EINVAL}
        code = tool.file(removal + SA % 0x2000)
        sas, policies = snapshot(tool.daemon)
        assert sas == before[0]
        assert sorted(map(repr, policies)) == sorted(map(repr, before[1]))  # type: ignore[call-overload]
        assert (code == 6) == ("could not be restored" in tool.err)
        if "spdflush" in removal or "spdupdate" in removal:
            assert policies == before[1]
            assert code == 1


def test_an_order_that_cannot_be_restored_is_named(tool: Tool) -> None:
    tool.file(POLICY % 1 + POLICY % 2)
    tool.daemon._additions, tool.daemon._refuse = 0, {1: errno.EINVAL}
    assert tool.file("spddelete 10.0.1.0/24 10.9.0.0/24 any -P out;" + SA % 0x1001) == 6
    assert (
        "could not be restored: policy 10.0.1.0/24[any] 10.9.0.0/24[any] out prio def ipsec: "
        "it stands last among the entries of its priority now" in tool.err
    )


@pytest.mark.parametrize(
    ("statement", "says", "restored"),
    [
        (AEAD % 0x1001, "its cipher counts, and would count the same numbers again", False),
        (SA % 0x1001, "its counters, its sequence number and its replay window begin anew", True),
    ],
)
def test_a_used_sa_does_not_come_back_as_it_was(
    tool: Tool, statement: str, says: str, restored: bool
) -> None:
    tool.file(statement)
    for key, message in tool.daemon.sas.items():
        used = {**message.extensions, E.LIFETIME_CURRENT: Lifetime(3, 300, 1_700_000_000, 1_700_000_001)}
        tool.daemon.sas[key] = replace(message, extensions=used)
    tool.daemon._additions, tool.daemon._refuse = 0, {1: errno.ENOSYS}
    assert tool.file("flush;" + SA % 0x1002) == 6
    assert f"could not be restored: esp 0x00001001 192.0.2.1 -> 192.0.2.2: {says}"[:40] in tool.err
    assert says in tool.err
    assert len(tool.daemon.sas) == restored


def test_keep_going_goes_on_and_says_how_far(tool: Tool) -> None:
    text = SA % 0x1001 + SA % 0x1001 + SA % 0x1002
    assert tool.file(text, "--keep-going") == 6
    assert len(tool.daemon.sas) == 2
    assert "1 refused, 2 carried out (--keep-going)" in tool.err
    assert SadbMsgType.DUMP not in [message.type for message in tool.daemon.seen]
    assert tool.file("delete 192.0.2.1 192.0.2.2 esp 9;", "--keep-going") == 1


def test_a_twin_that_never_was_need_not_be_deleted(tool: Tool) -> None:
    inbound = "spdadd ::1 ::2 any -P in none;"
    assert tool.file(inbound, "-k") == 0
    assert len(tool.daemon.policies) == 1
    assert tool.file("spddelete ::1 ::2 any -P in;") == 0
    assert tool.file(inbound) == 0
    assert len(tool.daemon.policies) == 2
    assert tool.file("spddelete ::1 ::2 any -P in;") == 0
    assert not tool.daemon.policies


def test_a_refused_twin_names_itself(tool: Tool) -> None:
    tool.file("spdadd ::1 ::2 any -P fwd none;")
    assert tool.file("spdadd ::1 ::2 any -P in none;") == 1
    assert "the fwd policy that goes with it" in tool.err
    assert "-k sends no fwd policy" in tool.err
    assert len(tool.daemon.policies) == 1


def test_a_fwd_policy_that_the_file_writes_wins(tool: Tool) -> None:
    assert tool.file("spdadd ::1 ::2 any -P in none; spdadd ::1 ::2 any -P fwd discard;") == 0
    assert len(tool.daemon.policies) == 2


def test_check_only_sends_nothing(tool: Tool) -> None:
    for form in ("sallet", "linux", "netbsd"):
        assert tool.file(SA % 0x1001, "-n", "--form", form) == 0
        assert tool.file("frob;", "-n", "--form", form) == 1
    assert not tool.daemon.seen


def test_the_form_kame_prints_everything_to_standard_output(tool: Tool) -> None:
    text = SA % 0x1001 + SA % 0x1001 + "delete 192.0.2.1 192.0.2.2 esp 9;\ndump ah;\nfrob;\n" + SA % 0x1002
    assert tool.file(text, "--form", "kame") == 1
    assert tool.out == (
        "The result of line 2: File exists.\n"
        "The result of line 3: No such process.\n"
        "The result of line 4: No SAD entries.\n"
        "line 5: syntax error at [frob]\n"
        "parse failed, line 5.\n"
    )
    assert not tool.err
    assert len(tool.daemon.sas) == 1


def test_get_and_dump_print_where_they_stand(tool: Tool) -> None:
    text = SA % 0x1001 + "get 192.0.2.1 192.0.2.2 esp 0x1001;" + SA % 0x1002 + "dump esp; spddump;"
    assert tool.file(text) == 0
    assert tool.out.count("spi=4097(") == 2
    assert tool.out.count("spi=4098(") == 1
    assert tool.out.endswith("No SPD entries.\n")


def test_dead_sas_show_with_a(tool: Tool) -> None:
    tool.file(SA % 0x1001)
    for key, message in tool.daemon.sas.items():
        sa = message.get(E.SA)
        assert isinstance(sa, Sa)
        dead = replace(sa, state=3)
        tool.daemon.sas[key] = replace(message, extensions={**message.extensions, E.SA: dead})
    assert tool("-D") == 0
    assert tool.out == "No SAD entries.\n"
    assert tool("-Da") == 0
    assert "state=dead" in tool.out


def test_json_hides_keys_unless_they_are_asked_for(tool: Tool) -> None:
    tool.file(SA % 0x1001 + POLICY % 1)
    assert tool("-D", "--json") == 0
    (record,) = json.loads(tool.out)
    assert record["authentication"] == {"name": "hmac-sha1-96", "key_bits": 160}
    assert record["encryption"] == {"name": "null", "key_bits": 0}
    assert (record["spi"], record["mode"], record["protocol"]) == (0x1001, "transport", "esp")
    assert "5a5a" not in tool.out
    assert tool("-D", "--json", "--show-keys") == 0
    assert json.loads(tool.out)[0]["authentication"]["key"] == "5a" * 20
    assert tool("-DP", "--json") == 0
    (record,) = json.loads(tool.out)
    assert record["rules"] == ["esp/transport//require"]
    assert record["source"] == {"network": "10.0.1.0/24", "port": 0}
    assert (record["direction"], record["action"], record["priority"]) == ("out", "ipsec", 0x80000000)


def test_flush_from_the_command_line(tool: Tool) -> None:
    tool.file(SA % 0x1001 + POLICY % 1)
    assert tool("-F") == 0
    assert (len(tool.daemon.sas), len(tool.daemon.policies)) == (0, 1)
    assert tool("-FP") == 0
    assert not tool.daemon.policies


def test_verbose_prints_messages_and_no_key(tool: Tool) -> None:
    for form, head in (("sallet", "type=3(ADD) errno=0 satype=3(ESP)"), ("kame", "type=3 errno=0 satype=3")):
        tool.daemon.sas.clear()
        assert tool.file(SA % 0x1001, "-v", "--form", form) == 0
        assert f"sadb_msg{{ version=2 {head}\n" in tool.out
        assert "sadb_sa{ spi=4097 " in tool.out
        assert "5a5a" not in tool.out


def test_a_file_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be read"):
        command.run_raw(["-f", str(tmp_path / "missing.conf")])


def test_many_statements_go_out_in_batches_in_their_order(tool: Tool) -> None:
    text = "".join(SA % spi for spi in range(0x1000, 0x1400)) + "dump;" + SA % 0x2000
    assert tool.file(text) == 0
    planned = language.plan(language.parse(text), "sallet", "sallet")
    sizes = [len(batch) for batch in batches(planned)]
    assert sizes == [256, 256, 256, 256, 1, 1]
    kinds = [message.type for message in tool.daemon.seen]
    assert kinds == [SadbMsgType.ADD] * 0x400 + [SadbMsgType.DUMP, SadbMsgType.ADD]


def test_an_interrupt_takes_back_what_was_done(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    sending = tool.daemon.pipeline
    before = signal.getsignal(signal.SIGINT)

    def interrupted(messages: list[Message]) -> list[Message]:
        if len(tool.daemon.sas) == 256:
            signal.raise_signal(signal.SIGINT)
        return sending(messages)

    monkeypatch.setattr(tool.daemon, "pipeline", interrupted)
    assert tool.file("".join(SA % spi for spi in range(0x1000, 0x1400))) == 130
    assert not tool.daemon.sas
    assert "stopped by SIGINT" in tool.err
    assert "all 512 changes made so far were taken back" in tool.err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_long_file_has_a_progress_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(progress("setkey", 10_000)).__name__ == "nullcontext"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("setkey", 5_001) as bar:
        assert bar is not None
        bar.advance(3)
    assert type(progress("setkey", 5_000)).__name__ == "nullcontext"


def test_a_daemon_that_goes_away_takes_everything_with_it(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = tool.daemon.pipeline

    def gone(messages: list[Message]) -> list[Message]:
        if len(tool.daemon.sas) == 256:
            raise Failure("no daemon answers", kind="unreachable")
        return sending(messages)

    monkeypatch.setattr(tool.daemon, "pipeline", gone)
    with pytest.raises(Failure) as caught:
        tool.file("".join(SA % spi for spi in range(0x1000, 0x1400)))
    assert caught.value.kind == "unreachable"
    assert caught.value.where == str(tool.path)
    assert "256 of 1024 messages were answered" in caught.value.why
    assert "carry out the whole file again" in caught.value.next_step


class TwoAddresses(HostNames):
    """A name with three addresses, and one with two."""

    def host(self, name: str, version: int | None) -> list[IpAddress]:
        table = {"a.example": ["192.0.2.1", "192.0.2.3", "2001:db8::1"], "b.example": ["192.0.2.2", "::2"]}
        found = [ip_address(text) for text in table.get(name, [])]
        return [address for address in found if version in (None, address.version)]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a.example b.example", "192.0.2.1 192.0.2.2, 192.0.2.3 192.0.2.2, 2001:db8::1 ::2"),
        ("-4 a.example b.example", "192.0.2.1 192.0.2.2, 192.0.2.3 192.0.2.2"),
        ("a.example -6 b.example", "2001:db8::1 ::2"),
    ],
)
def test_names_with_several_addresses_are_told_pair_by_pair(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, text: str, pairs: str
) -> None:
    monkeypatch.setattr(command, "HostNames", TwoAddresses)
    count = pairs.count(",") + 1
    for form, head in (("sallet", "sallet setkey: "), ("kame", "line 1: ")):
        tool.daemon.sas.clear()
        tool.daemon.policies.clear()
        for statement in (
            f"add {text} esp 0x1001 -E null -A hmac-sha1 {KEY};",
            f"spdadd {text} any -P out none;",
        ):
            assert tool.file(statement, "--form", form) == 0
            said = f"the names stand for {count} pairs of addresses, each with its message: {pairs}\n"
            assert (tool.out + tool.err).startswith(head)
            assert said in tool.out + tool.err
        assert (len(tool.daemon.sas), len(tool.daemon.policies)) == (count, count)
    assert tool.file(f"add -n {text} esp 0x1001 -E null -A hmac-sha1 {KEY};") == 1
    assert "write it in numbers" in tool.err


def test_a_larval_sa_and_its_update_are_taken_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = _core.Engine()
    monkeypatch.setattr(command, "PfkeyClient", lambda run_dir, dialect: EngineClient(engine, dialect))
    path = tmp_path / "f.conf"
    larval = "getspi 192.0.2.1 192.0.2.2 esp 0x1001 -u 7;\n"
    update = f"update 192.0.2.1 192.0.2.2 esp 0x1001 -u 7 -E aes-cbc 0x{'5b' * 16} -A hmac-sha1 {KEY};\n"
    wrong = "delete 192.0.2.1 192.0.2.2 esp 0x9999;\n"
    path.write_text(larval + update + wrong)
    assert command.run_raw(["-f", str(path)]) == 1
    assert "all 2 changes made so far were taken back" in capfd.readouterr().err
    assert not engine.sad_dump()
    path.write_text(larval)
    assert command.run_raw(["-f", str(path)]) == 0
    assert capfd.readouterr().out == "192.0.2.1 192.0.2.2 esp spi=4097(0x00001001) state=larval\n"
    path.write_text(update + wrong)
    assert command.run_raw(["-f", str(path)]) == 6
    assert "not restored: it had no keys yet" in capfd.readouterr().err
    assert not engine.sad_dump()
    path.write_text(larval + update)
    assert command.run_raw(["-f", str(path)]) == 0
    assert [(view.spi, view.state, view.reqid) for view in engine.sad_dump()] == [(0x1001, "mature", 7)]


def test_bytes_that_are_no_text_bring_no_traceback(tool: Tool) -> None:
    tool.path.write_bytes(bytes(range(256)))
    for form in ("sallet", "linux", "kame"):
        assert tool("--form", form, "-f", str(tool.path)) == 1
        assert tool.out + tool.err


def test_a_transaction_against_the_engine_leaves_it_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = _core.Engine()
    monkeypatch.setattr(command, "PfkeyClient", lambda run_dir, dialect: EngineClient(engine, dialect))
    path = tmp_path / "f.conf"
    path.write_text(SA % 0x1001 + AEAD % 0x1002 + POLICY % 1 + POLICY % 2 + "spdadd ::1 ::2 any -P in none;")
    assert command.run_raw(["-f", str(path)]) == 0

    def shown() -> list[str]:
        capfd.readouterr()
        assert command.run_raw(["-D", "--json", "--show-keys"]) == 0
        assert command.run_raw(["-DP", "--json"]) == 0
        lines = capfd.readouterr().out.splitlines()
        return [line for line in lines if '"id"' not in line and "_secs" not in line]

    before = shown()
    path.write_text(
        "flush; spdflush;"
        + POLICY % 1
        + SA % 0x1001
        + SA % 0x1003
        + "deleteall 192.0.2.1 192.0.2.2 esp;"
        + "spdupdate ::1 ::3 any -P in discard;"
        + f"add 192.0.2.1 192.0.2.2 ah 0x1004 -A hmac-sha1 {KEY};" * 2
    )
    assert command.run_raw(["-f", str(path)]) == 1
    said = capfd.readouterr().err
    assert f"{path}:" in said
    assert "taken back" in said
    assert shown() == before
