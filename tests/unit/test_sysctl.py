"""Sysctl names set what they name, within their ranges.

Answers to: sallet.sysctl.mib; `ipsec(4)`.
"""

from __future__ import annotations

import pytest

from sallet.failure import Failure
from sallet.sysctl import mib

_core = pytest.importorskip("sallet._core")


@pytest.mark.parametrize("name", mib.VARIABLES)
def test_every_value_can_be_written_and_read(name: str) -> None:
    engine = _core.Engine()
    variable = mib.VARIABLES[name]
    for number in variable.words or (variable.low, variable.low + 77):
        mib.write(engine, name, str(number))
        assert mib.read(engine, name) == number
        assert engine.config()[variable.setting] == (variable.words or {}).get(number, number)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.inet.ipsec.def_policy", "2"),
        ("net.inet.ipsec.def_policy", "none"),
        ("net.key.larval_lifetime", "0"),
        ("net.key.larval_lifetime", "-1"),
        ("net.key.blockacq_lifetime", "4294967296"),
        ("net.nothing", "1"),
    ],
)
def test_other_values_are_refused_and_change_nothing(name: str, value: str) -> None:
    engine = _core.Engine()
    before = engine.config()
    with pytest.raises(Failure) as caught:
        mib.write(engine, name, value)
    assert caught.value.kind == "usage"
    assert engine.config() == before
