"""The README's Python example runs as it stands, and the tests it names exist. No other test may enter."""

import re
from pathlib import Path

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
