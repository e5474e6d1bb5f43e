"""What an import drags in, seen from a fresh interpreter. No test of behaviour may enter.

Answers to: ARCHITECTURE.md section B; the static twin is the list of import contracts in pyproject.toml.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def loaded_by(statement: str) -> set[str]:
    """Names of the modules a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import sallet", ("sallet._core", "sallet.lang", "sallet.pfkey")),
        ("import sallet.lang.setkey", ("sallet._core", "sallet.pfkey.codec", "sallet.client", "socket")),
        ("import sallet.ipsec", ("sallet._core", "sallet.client", "socket")),
        ("import sallet.inetd.server", ("sallet._core", "sallet.client", "pyroute2")),
        ("import sallet.client", ("sallet._core", "sallet.lang", "sallet.daemon", "pyroute2", "rich")),
        ("import sallet.attach.guard", ("sallet._core", "socket", "subprocess", "pyroute2")),
        ("import sallet.pfkey.codec", ("sallet._core", "socket")),
        ("import sallet.cli.main", ("sallet._core", "sallet.daemon", "pyroute2", "rich", "textual")),
    ],
)
def test_an_import_drags_in_no_upper_layer(statement: str, forbidden: tuple[str, ...]) -> None:
    loaded = loaded_by(statement)
    dragged = [
        name for name in forbidden if any(each == name or each.startswith(name + ".") for each in loaded)
    ]
    assert not dragged


def module_files() -> list[Path]:
    return sorted(path for path in (ROOT / "python" / "sallet").rglob("*.py") if path.stat().st_size)


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(ROOT / "python")))
def test_a_module_says_what_it_holds_and_stays_short(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('"""'), "the head says what the room holds"
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(code) <= 500, "past the hard limit: split it"
