"""`sallet algorithms` says what REGISTER answers, and nothing that the registry does not have.

No daemon is started. Answers to: `sallet(1)`, algorithms.
"""

from __future__ import annotations

import json

import pytest

from sallet import _core
from sallet.cli.main import main
from sallet.pfkey.constants import SadbExtType, SadbMsgType, SadbSatype
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.handlers import Handlers
from sallet.pfkey.messages import Message, Supported


def test_the_numbers_are_those_that_register_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["algorithms", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "sallet.algorithms/1"
    assert [row["name"] for row in document["algorithms"]] == [row.name for row in _core.algorithms()]
    for dialect in DIALECTS:
        (reply,) = Handlers(_core.Engine(), dialect).handle(
            Message(SadbMsgType.REGISTER, int(SadbSatype.ESP))
        )
        for kind, auth in ((SadbExtType.SUPPORTED_AUTH, True), (SadbExtType.SUPPORTED_ENCRYPT, False)):
            supported = reply.extensions[kind]
            assert isinstance(supported, Supported)
            said = {
                row["pfkey_numbers"][dialect]
                for row in document["algorithms"]
                if (row["kind"] == "auth") is auth and row["manual_keys"] and dialect in row["pfkey_numbers"]
            }
            assert {algorithm.id for algorithm in supported.algorithms} == said


def test_the_table_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["algorithms"]) == 0
    text = capsys.readouterr().out
    for row in _core.algorithms():
        mark = "* " if row.legacy else "  " if row.manual_keys else "+ "
        assert f"{mark}{row.name} " in text
    assert "+ for key exchanges only" in text
    assert "40-448" in text
    assert main(["algorithms", "--kind", "auth"]) == 0
    text = capsys.readouterr().out
    assert "aes-cbc" not in text
    assert "+ for key" not in text
