"""inetd.conf: what is read of a file, and that no text does harm. The texts of errors are golden files."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from sallet.lang.inetd import Configuration, Service, parse
from sallet.lang.inetd_policies import NO_POLICIES
from sallet.pfkey.constants import IpsecPolicyType

PORTS = {"echo": 7, "daytime": 13}
WORDS = st.sampled_from(
    "echo daytime 7 99999 stream dgram raw tcp udp tcp4 tcp6 udp6 wait nowait nowait.5 wait/2 root nobody:a "
    'root/class internal /bin/cat cat 192.0.2.1:echo [::1]:7 *:echo " \' "a b" in out ipsec bypass entrust '
    "discard esp/transport//require esp/tunnel/192.0.2.1-192.0.2.2/use unique ; # #@ #@in".split()
)
TEXTS = st.lists(
    st.tuples(WORDS, st.sampled_from((" ", "\t", "\n", "\n#@ ", "\n\t", ";"))).map("".join), max_size=40
).map("".join)


def read(text: str) -> Configuration:
    return parse(
        text,
        filename="inetd.conf",
        dialect="kame",
        unique=True,
        ports=lambda name, _transport: PORTS.get(name),
        is_local=lambda address: address == ip_address("192.0.2.1"),
    )


def services(text: str) -> list[Service]:
    found = read(text)
    assert found.findings == []
    return found.services


@given(text=st.one_of(TEXTS, st.text()))
def test_no_text_does_harm(text: str) -> None:
    found = read(text)
    lines = text.split("\n")
    for finding in found.findings:
        assert finding.where.source == lines[finding.where.line - 1]
        assert 1 <= finding.where.column <= len(finding.where.source) + 1
    if not found.errors:
        assert len({service.key for service in found.services}) == len(found.services)


def test_the_last_policy_of_a_direction_counts() -> None:
    (service,) = services(
        "#@ in ipsec esp/transport//require; out bypass; in bypass; out ipsec ah/transport//use\n"
        "echo stream tcp nowait root internal\n"
    )
    assert service.policies.inbound is not None
    assert service.policies.inbound.type == IpsecPolicyType.BYPASS
    assert service.policies.outbound is not None
    assert service.policies.outbound.type == IpsecPolicyType.IPSEC


def test_a_line_of_policies_replaces_the_one_before() -> None:
    first, second, third = services(
        "#@ in bypass; out bypass\n7 stream tcp nowait root /bin/cat\n"
        "#@ out entrust\n8 stream tcp nowait root /bin/cat\n"
        "#@\n9 stream tcp nowait root /bin/cat\n"
    )
    assert len(first.policies.both()) == 2
    assert [policy.type for policy in second.policies.both()] == [IpsecPolicyType.ENTRUST]
    assert third.policies == NO_POLICIES


def test_a_comment_is_no_policy() -> None:
    (service,) = services(
        "# @ in discard\n\t# nor this\n7 stream tcp\n\t# nor this\n\tnowait root /bin/cat\n"
    )
    assert service.policies == NO_POLICIES
    (error,) = read(" #@ in bypass\n7 stream tcp nowait root /bin/cat\n").errors
    assert "first column" in error.text
