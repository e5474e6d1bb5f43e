"""Every golden case means what it meant, and every diagnostic reads as it read."""

from __future__ import annotations

from pathlib import Path

import pytest

from golden import rendering


@pytest.mark.parametrize("case", rendering.cases(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden(case: Path) -> None:
    for path, text in rendering.rendered(case).items():
        assert (path.read_text() if path.exists() else "") == text, f"{path.name}: see `make golden`"


def test_no_golden_file_stands_without_its_case() -> None:
    stems = {path.with_suffix("") for path in rendering.cases()}
    found = [path for suffix in ("*.ok", "*.err") for path in rendering.ROOT.rglob(suffix)]
    assert [path for path in found if path.with_suffix("") not in stems] == []
