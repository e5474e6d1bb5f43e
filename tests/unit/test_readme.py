"""The README's Python example runs as it stands, and the tests it names exist. No other test may enter."""

import re
import shlex
from pathlib import Path

from sallet.cli.main import VERBS, parser_for
from sallet.cli.setkey_options import read_options

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_python_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})  # noqa: S102


def test_the_tests_it_names_exist() -> None:
    named = re.findall(r"`((?:tests|rust)/[^`]*)`", README.read_text())
    assert len(named) > 10
    assert [name for name in named if not (README.parent / name).exists()] == []


def commands() -> list[list[str]]:
    """Every `sallet VERB …` of the README's shell blocks, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    words = [shlex.split(part, comments=True) for line in lines for part in re.split("[;&]", line)]
    return [each for each in words if each[:1] == ["sallet"]]


def test_the_commands_it_shows_are_understood() -> None:
    shown = [words for words in commands() if not VERBS[words[1]].raw]
    assert {words[1] for words in shown} >= {"up", "status", "sa", "policy", "explain", "drops"}
    for words in shown:
        parser_for(words[1]).parse_args(words[2:])
    for words in commands():
        if words[1] == "setkey":
            read_options(words[2:], "sallet", "sallet setkey")
