"""`setkey -D` and `-DP` to the byte, where the reference of Linux has no example."""

from __future__ import annotations

import time
from ipaddress import ip_address

import pytest

from sallet.lang import dump
from sallet.pfkey.constants import SadbExtType as E
from sallet.pfkey.constants import SadbMsgType, SadbSaState, SadbSatype
from sallet.pfkey.messages import (
    Address,
    Extension,
    Key,
    Lifetime,
    Message,
    NatFragment,
    NatPort,
    NatType,
    Policy,
    Replay,
    Request,
    Sa,
    Sa2,
)

NOW = 1_704_067_210


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def host(text: str) -> Address:
    return Address(ip_address(text), 0, ip_address(text).max_prefixlen, 255)


def sa(satype: int = SadbSatype.ESP, **others: Extension) -> Message:
    extensions: dict[E, Extension] = {
        E.SA: Sa(4096, 4, SadbSaState.MATURE, 3, 12, 0x40),
        E.X_SA2: Sa2(1, 0, 0),
        E.ADDRESS_SRC: host("192.0.2.1"),
        E.ADDRESS_DST: host("192.0.2.2"),
        E.LIFETIME_CURRENT: Lifetime(0, 0, NOW - 10, 0),
        E.KEY_AUTH: Key(160, bytes(range(20))),
        E.KEY_ENCRYPT: Key(128, bytes(range(16))),
        **{E[name]: value for name, value in others.items()},
    }
    return Message(SadbMsgType.DUMP, satype, seq=0, pid=123, reserved=1, extensions=extensions)


def test_kame_prints_its_names_and_flags() -> None:
    assert dump.sad(sa(), "kame", NOW) == (
        "192.0.2.1 192.0.2.2 \n"
        "\tesp mode=transport spi=4096(0x00001000) reqid=0(0x00000000)\n"
        "\tE: rijndael-cbc  00010203 04050607 08090a0b 0c0d0e0f\n"
        "\tA: hmac-sha1  00010203 04050607 08090a0b 0c0d0e0f 10111213\n"
        "\tseq=0x00000000 replay=4 flags=0x00000040 state=mature \n"
        "\tcreated: Jan  1 00:00:00 2024\tcurrent: Jan  1 00:00:10 2024\n"
        "\tdiff: 10(s)\thard: 0(s)\tsoft: 0(s)\n"
        "\tlast:                     \thard: 0(s)\tsoft: 0(s)\n"
        "\tcurrent: 0(bytes)\thard: 0(bytes)\tsoft: 0(bytes)\n"
        "\tallocated: 0\thard: 0\tsoft: 0\n"
        "\tsadb_seq=0 pid=123 refcnt=1\n"
    )


@pytest.mark.parametrize(
    ("form", "number", "name"),
    [
        ("kame", 5, "hmac-sha2-256"),
        ("linux", 5, "hmac-sha256"),
        ("sallet", 5, "hmac-sha256"),
        ("kame", 249, "md5"),
        ("kame", 250, "sha"),
        ("linux", 9, "aes-xcbc-mac"),
        ("linux", 77, "77"),
    ],
)
def test_names_of_macs(form: str, number: int, name: str) -> None:
    text = dump.sad(sa(SA=Sa(4096, auth=number, encrypt=12)), form, NOW)
    assert f"\tA: {name}  00010203" in text


def test_a_newline_stands_behind_each_32_bytes_of_a_longer_key() -> None:
    text = dump.sad(sa(KEY_AUTH=Key(512, bytes(64))), "linux", NOW)
    words = " ".join(["00000000"] * 8)
    assert f"\tA: hmac-sha1  {words}\n {words}\n\tseq=" in text


def test_without_lifetimes_their_lines_are_left_out() -> None:
    message = sa()
    extensions = dict(message.extensions)
    del extensions[E.LIFETIME_CURRENT]
    text = dump.sad(Message(message.type, message.satype, extensions=extensions), "kame", NOW)
    assert "created" not in text
    assert text.endswith("state=mature \n\tsadb_seq=0 pid=0 refcnt=0\n")


def test_ipcomp_goes_on_behind_its_compression() -> None:
    text = dump.sad(sa(SadbSatype.X_IPCOMP, SA=Sa(2, encrypt=2)), "kame", NOW)
    assert "\tipcomp mode=transport spi=2(0x00000002) reqid=0(0x00000000)\n\tC: deflate \tseq=" in text


def test_ports_are_shown_for_udp_and_on_request() -> None:
    encapsulated = sa(X_NAT_T_TYPE=NatType(2), X_NAT_T_SPORT=NatPort(4500), X_NAT_T_DPORT=NatPort(4501))
    assert dump.sad(encapsulated, "linux", NOW).startswith(
        "192.0.2.1[4500] 192.0.2.2[4501] \n\tesp-udp mode=transport "
    )
    assert dump.sad(sa(), "linux", NOW, ports=True).startswith("192.0.2.1[0] 192.0.2.2[0] \n\tesp mode=")


def test_a_large_window_is_shown_as_it_is() -> None:
    assert " replay=1024 " in dump.sad(sa(X_SA_REPLAY=Replay(1024)), "sallet", NOW)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (SadbSaState.LARVAL, "larval"),
        (SadbSaState.DYING, "dying"),
        (SadbSaState.DEAD, "dead"),
        (9, "9"),
    ],
)
def test_states(state: int, word: str) -> None:
    assert f" state={word} \n" in dump.sad(sa(SA=Sa(4096, state=state)), "linux", NOW)


def policy(policy: Policy, upper: int = 255, ports: tuple[int, int] = (0, 0)) -> Message:
    return Message(
        SadbMsgType.X_SPDDUMP,
        seq=0,
        pid=123,
        reserved=1,
        extensions={
            E.X_POLICY: policy,
            E.LIFETIME_CURRENT: Lifetime(0, 0, NOW, NOW),
            E.LIFETIME_HARD: Lifetime(0, 0, 60, 30),
            E.ADDRESS_SRC: Address(ip_address("10.0.0.0"), ports[0], 24, upper),
            E.ADDRESS_DST: Address(ip_address("10.1.0.1"), ports[1], 32, upper),
        },
    )


def test_kame_prints_a_policy() -> None:
    request = Request(50, 2, 3, 1, host("192.0.2.1"), host("192.0.2.2"))
    assert dump.spd(policy(Policy(2, 2, id=1, requests=(request,))), "kame") == (
        "10.0.0.0/24[any] 10.1.0.1[any] any\n"
        "\tout ipsec\n"
        "\tesp/tunnel/192.0.2.1-192.0.2.2/unique:1\n"
        "\tcreated: Jan  1 00:00:10 2024  lastused: Jan  1 00:00:10 2024\n"
        "\tlifetime: 60(s) validtime: 30(s)\n"
        "\tspid=1 seq=0 pid=123\n"
        "\trefcnt=1\n"
    )


@pytest.mark.parametrize(
    ("form", "upper", "ports", "line"),
    [
        ("kame", 255, (0, 0), "10.0.0.0/24[any] 10.1.0.1[any] any"),
        ("linux", 255, (0, 0), "10.0.0.0/24[any] 10.1.0.1[any] 255"),
        ("sallet", 255, (0, 0), "10.0.0.0/24[any] 10.1.0.1[any] any"),
        ("kame", 4, (0, 0), "10.0.0.0/24[any] 10.1.0.1[any] ip4"),
        ("kame", 6, (0, 80), "10.0.0.0/24[any] 10.1.0.1[80] tcp"),
        ("kame", 58, (135, 0), "10.0.0.0/24 10.1.0.1 icmp6 135,0"),
        ("kame", 58, (0, 0), "10.0.0.0/24 10.1.0.1 icmp6"),
        ("kame", 1, (8, 0), "10.0.0.0/24[8] 10.1.0.1[any] icmp"),
        ("linux", 58, (135, 0), "10.0.0.0/24 10.1.0.1 ipv6-icmp 135,0"),
        ("linux", 47, (1, 1), "10.0.0.0/24 10.1.0.1 gre 65537"),
        ("linux", 222, (0, 0), "10.0.0.0/24[any] 10.1.0.1[any] 222"),
    ],
)
def test_selectors(form: str, upper: int, ports: tuple[int, int], line: str) -> None:
    assert dump.spd(policy(Policy(1, 1), upper, ports), form).split("\n")[0] == line


def test_a_policy_without_a_selector_belongs_to_a_socket() -> None:
    message = Message(SadbMsgType.X_SPDDUMP, extensions={E.X_POLICY: Policy(4, 1)})
    assert dump.spd(message, "kame").startswith("(no selector, probably per-socket policy) \n\tin bypass\n")


def test_netbsd_and_freebsd_print_their_own_names_and_ends() -> None:
    netbsd, freebsd = dump.sad(sa(), "netbsd", NOW), dump.sad(sa(), "freebsd", NOW)
    assert netbsd.startswith("192.0.2.1 192.0.2.2 \n")
    assert freebsd.startswith("192.0.2.1 192.0.2.2\n")
    assert "\tE: aes-cbc  0001" in netbsd
    assert "\tE: rijndael-cbc  0001" in freebsd
    with_sha256 = sa(SA=Sa(4096, 4, SadbSaState.MATURE, 5, 12), KEY_AUTH=Key(256, bytes(32)))
    assert "\tA: hmac-sha256  " in dump.sad(with_sha256, "netbsd", NOW)
    assert "\tA: hmac-sha2-256  " in dump.sad(with_sha256, "freebsd", NOW)
    # A window counted in packets is printed in the octets that -r takes.
    assert "replay=512 " in dump.sad(sa(X_SA_REPLAY=Replay(4096)), "freebsd", NOW)


def test_a_policy_of_freebsd_has_a_scope_and_one_of_netbsd_a_reserved_protocol() -> None:
    any_to_any: dict[E, Extension] = {
        E.X_POLICY: Policy(1, 2, 1, scope=1),
        E.ADDRESS_SRC: Address(ip_address("10.0.0.0"), 0, 24, 255),
        E.ADDRESS_DST: Address(ip_address("10.1.0.0"), 0, 24, 255),
    }
    entry = Message(SadbMsgType.X_SPDDUMP, pid=123, reserved=1, extensions=any_to_any)
    head = "10.0.0.0/24[any] 10.1.0.0/24[any] "
    assert dump.spd(entry, "freebsd") == (
        f"{head}any\n\tout none\n\tspid=1 seq=0 pid=123 scope=global \n\trefcnt=1\n"
    )
    assert dump.spd(entry, "netbsd") == (f"{head}reserved\n\tout none\n\tspid=1 seq=0 pid=123\n\trefcnt=1\n")


def test_what_is_cut_before_it_goes_into_udp_is_told_where_setkey_can_say_it() -> None:
    cut = sa(X_NAT_T_TYPE=NatType(2), X_NAT_T_FRAG=NatFragment(552))
    assert "\tNAT-T esp_frag=552\n" in dump.sad(cut, "netbsd", NOW)
    assert "esp_frag" not in dump.sad(cut, "freebsd", NOW)


@pytest.mark.parametrize(
    ("form", "direction", "priority", "head"),
    [
        ("linux", 4, 0, "(per-socket policy) \n\tin(socket) none\n"),
        ("linux", 5, 0, "(per-socket policy) \n\tout(socket) none\n"),
        ("sallet", 5, 0x80000000, "(per-socket policy) \n\tout(socket) prio def none\n"),
        ("kame", 4, 0, "10.0.0.0/24[any] 10.1.0.1[any] any\n\t4 none\n"),
    ],
)
def test_policies_of_sockets_have_directions_of_their_own(
    form: str, direction: int, priority: int, head: str
) -> None:
    assert dump.spd(policy(Policy(1, direction, 1, priority)), form).startswith(head)


@pytest.mark.parametrize(
    ("reqid", "made", "level"),
    [
        (16383, None, "unique:16383"),
        (16384, None, "unique#16384"),
        (16384, False, "unique:16384"),
        (16384, True, "unique#16384"),
        (0, None, "unique"),
    ],
)
def test_an_id_that_nobody_chose_has_its_mark(reqid: int, made: bool | None, level: str) -> None:
    assert dump.request_text(Request(50, 1, 3, reqid, made=made)) == f"esp/transport//{level}"


@pytest.mark.parametrize(
    ("form", "kind", "word"), [("netbsd", 1, "natt+esp"), ("netbsd", 2, "esp-udp"), ("freebsd", 1, "esp-udp")]
)
def test_the_drafts_encapsulation_has_its_own_word(form: str, kind: int, word: str) -> None:
    assert f"\n\t{word} mode=" in dump.sad(sa(X_NAT_T_TYPE=NatType(kind)), form, NOW)
