"""What programs really write into the policy options of their sockets. No socket enters.

Answers to: sallet.pcb.policies, `struct sadb_x_policy`.
"""

from __future__ import annotations

import struct

import pytest

from sallet.pcb import policies

OPENIKED = {
    direction: struct.pack("=HHHBBII", 2, 12, 4, number, 0, 0, 0)
    for direction, number in (("in", 1), ("out", 2))
}
"""As iked 7.2 sets it: the extension's number is that of SENSITIVITY, at which no kernel looks."""


@pytest.mark.parametrize("direction", ["in", "out"])
def test_openiked_may_bypass(direction: str) -> None:
    said = OPENIKED[direction]
    taken = policies.read(said, "linux", privileged=True, new_reqid=lambda asked, *_: asked)
    assert (taken.direction, taken.action, taken.templates, taken.said) == (direction, "bypass", (), said)


def test_not_without_privilege() -> None:
    with pytest.raises(policies.NotTaken, match="EPERM"):
        policies.read(OPENIKED["in"], "linux", privileged=False, new_reqid=lambda asked, *_: asked)
