"""Policy strings of ipsec_set_policy(3)."""

from __future__ import annotations

import pytest

from sallet.lang import dump, policy_string
from sallet.lang.lexer import SetkeyError
from sallet.pfkey.constants import IpsecDirection, IpsecPolicyType


@pytest.mark.parametrize(
    ("text", "head", "rules"),
    [
        ("in ipsec ah/transport", "in prio def ipsec", ["ah/transport//default"]),
        ("out ipsec ah/transport/", "out prio def ipsec", ["ah/transport//default"]),
        ("out ipsec esp / transport / / require", "out prio def ipsec", ["esp/transport//require"]),
        ("in ipsec esp/tunnel/::1-::2", "in prio def ipsec", ["esp/tunnel/::1-::2/default"]),
        (
            "in ipsec esp/transport/ ipcomp/transport//use ah/transport//unique:3",
            "in prio def ipsec",
            ["esp/transport//default", "ipcomp/transport//use", "ah/transport//unique:3"],
        ),
        (
            "out ipsec esp/tunnel/192.0.2.1[4500]-192.0.2.2[4500]/require",
            "out prio def ipsec",
            ["esp/tunnel/192.0.2.1[4500]-192.0.2.2[4500]/require"],
        ),
        (
            "out ipsec esp/tunnel/ 192.0.2.1 - 192.0.2.2 /unique",
            "out prio def ipsec",
            ["esp/tunnel/192.0.2.1-192.0.2.2/unique"],
        ),
        ("out ipsec", "out prio def ipsec", []),
        ("in entrust", "in prio def entrust", []),
        ("out bypass", "out prio def bypass", []),
        ("fwd discard", "fwd prio def discard", []),
        ("out prio 500 discard", "out prio def + 500 discard", []),
        ("out priority -7 none", "out prio def - 7 none", []),
        ("out -7 none", "out prio def - 7 none", []),
        ("out prio high none", "out prio high none", []),
        ("out prio high -10 none", "out prio high - 10 none", []),
        ("out prio low + 3 none", "out prio low + 3 none", []),
        ("out prio low+3 none", "out prio low + 3 none", []),
        ("out prio def - 1 none", "out prio def - 1 none", []),
    ],
)
def test_accepted(text: str, head: str, rules: list[str]) -> None:
    policy = policy_string.parse(text)
    assert dump.policy_head(policy, "linux") == head
    assert [dump.request_text(request) for request in policy.requests] == rules


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "direction"),
        ("ipsec esp/transport", 1, "direction"),
        ("sideways none", 1, "direction"),
        ("out", None, ""),
        ("out frob", 5, "what to do"),
        ("out ipsec esp", 14, "mode follows"),
        ("out ipsec ah/transport esp/use", 28, "transport or tunnel"),
        ("in ipsec ah/tunnel", 13, "two ends"),
        ("in ipsec esp/tunnel/::1-192.0.2.1/require", 21, "one family"),
        ("in ipsec esp/tunnel/a-b/require", 21, "no address"),
        ("in ipsec esp/tunnel/me-any/require", 21, "other direction"),
        ("out ipsec esp/tunnel/me-any/require", 15, "two ends"),
        ("in ipsec esp/transport/require", 24, "where the ends of the rule do"),
        ("in ipsec esp/transport/unique:7", 24, "where the ends of the rule do"),
        ("in ipsec esp/transport//often", 25, "default, use, require or unique"),
        ("in ipsec esp/transport//require:3", 25, "only unique"),
        ("in ipsec esp/transport//unique:x", 25, "only unique"),
        ("in ipsec esp/transport//unique:0", 25, "1 to 32767"),
        ("in ipsec esp/transport//unique:32768", 25, "1 to 32767"),
        ("in ipsec esp/transport//unique: 32768", 33, "1 to 32767"),
        ("in ipsec esp/transport//unique: x", 25, "only unique"),
        ("in ipsec esp/transport//use: 3", 30, "only unique"),
        ("in none esp/transport//use", 9, "nothing may follow"),
        ("out prio", 9, "priority is a number"),
        ("out prio often none", 10, "priority is a number"),
        ("out prio high + none", 17, "number follows"),
        ("out prio 3000000000 none", 5, "out of range"),
        ("in none; out none", 8, "one policy"),
        ("in ipsec esp/tunnel/192.0.2.1[99999]-192.0.2.2/require", 21, "port 99999"),
    ],
)
def test_refused(text: str, column: int | None, says: str) -> None:
    if column is None:
        policy = policy_string.parse(text)
        assert (policy.type, policy.direction) == (IpsecPolicyType.DISCARD, IpsecDirection.OUTBOUND)
        return
    with pytest.raises(SetkeyError) as caught:
        policy_string.parse(text)
    assert says in caught.value.text
    assert caught.value.column == column


def test_a_reader_without_priorities_says_so() -> None:
    with pytest.raises(SetkeyError) as caught:
        policy_string.parse("out prio high none", priority=False)
    assert "no priority" in caught.value.text
    assert policy_string.parse("out none", priority=False).priority == 0
