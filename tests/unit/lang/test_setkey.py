"""The grammar of setkey, and the messages that its statements become."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from sallet.lang import setkey
from sallet.lang.lexer import SetkeyError
from sallet.lang.statements import IpAddress
from sallet.pfkey.constants import (
    IpsecDirection,
    IpsecLevel,
    IpsecMode,
    IpsecPolicyType,
    SadbExtType,
    SadbMsgType,
    SadbSaFlags,
    SadbSatype,
)
from sallet.pfkey.messages import (
    Address,
    Key,
    Lifetime,
    Message,
    NatPort,
    NatType,
    Policy,
    Replay,
    Request,
    Sa,
    Sa2,
)

E = SadbExtType
AEAD = "0x" + "42" * 20
GCM = f"-E aes-gcm-16 {AEAD}"


def messages(text: str, form: str = "sallet") -> list[Message]:
    return [
        message
        for statement in setkey.parse(text, form=form)
        for message in setkey.to_messages(statement, form, form)
    ]


def only(text: str, form: str = "sallet") -> Message:
    (message,) = messages(text, form)
    return message


def complaint(text: str, form: str = "sallet") -> SetkeyError:
    with pytest.raises(SetkeyError) as caught:
        setkey.parse(text, form=form)
    return caught.value


class Names:
    """A host table of three lines."""

    def host(self, name: str, version: int | None) -> list[IpAddress]:
        table = {"a.example": ["192.0.2.1", "2001:db8::1"], "b.example": ["192.0.2.2", "2001:db8::2"]}
        found = [ip_address(text) for text in table.get(name, [])]
        return [address for address in found if version in (None, address.version)]

    def service(self, name: str) -> int | None:
        return {"https": 443}.get(name)

    def protocol(self, name: str) -> int | None:
        return {"eigrp": 88}.get(name)


def test_add_carries_everything_that_is_written() -> None:
    message = only(
        "add 192.0.2.1 192.0.2.2 esp 0x1001 -m tunnel -u 7 -r 64 -lh 3600 -ls 3000 -bh 9 -bs 8 "
        '-E aes-cbc "sixteen.byte.key" -A hmac-sha256 0x' + "ab" * 32 + ";"
    )
    assert (message.type, message.satype) == (SadbMsgType.ADD, SadbSatype.ESP)
    assert dict(message.extensions) == {
        E.SA: Sa(0x1001, replay=64, auth=5, encrypt=12),
        E.X_SA2: Sa2(IpsecMode.TUNNEL, 0, 7),
        E.ADDRESS_SRC: Address(IPv4Address("192.0.2.1"), 0, 32, 255),
        E.ADDRESS_DST: Address(IPv4Address("192.0.2.2"), 0, 32, 255),
        E.LIFETIME_HARD: Lifetime(0, 9, 3600, 0),
        E.LIFETIME_SOFT: Lifetime(0, 8, 3000, 0),
        E.KEY_AUTH: Key(256, b"\xab" * 32),
        E.KEY_ENCRYPT: Key(128, b"sixteen.byte.key"),
    }


def test_what_is_not_written_is_not_sent() -> None:
    message = only(f"add 2001:db8::1 2001:db8::2 esp 4096 {GCM};")
    assert message.get(E.SA) == Sa(4096, replay=0, auth=0, encrypt=20)
    assert message.get(E.X_SA2) == Sa2(IpsecMode.ANY, 0, 0)
    assert E.LIFETIME_HARD not in message.extensions
    assert E.KEY_AUTH not in message.extensions
    assert message.get(E.ADDRESS_SRC) == Address(IPv6Address("2001:db8::1"), 0, 128, 255)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ('"twenty.byte.key.here"', b"twenty.byte.key.here"),
        ("0x" + "0F" * 20, b"\x0f" * 20),
        ("0X" + "0f" * 20, b"\x0f" * 20),
        ("0xf" + "01" * 19, b"\x0f" + b"\x01" * 19),
    ],
)
def test_keys_are_quoted_or_hexadecimal_and_an_odd_digit_comes_first(written: str, key: bytes) -> None:
    message = only(f"add 192.0.2.1 192.0.2.2 ah 4096 -A hmac-sha1 {written};")
    assert message.get(E.KEY_AUTH) == Key(160, key)


def test_a_quoted_key_holds_the_bytes_of_the_file() -> None:
    text = b'add 192.0.2.1 192.0.2.2 esp 4096 -E aes-cbc "\xff\xfe\xe9 three+twelve";'
    message = only(text.decode("utf-8", "surrogateescape"))
    assert message.get(E.KEY_ENCRYPT) == Key(128, b"\xff\xfe\xe9 three+twelve")


@pytest.mark.parametrize("null", ["-E null", '-E null ""', "-E simple"])
def test_null_takes_no_key_and_sends_none(null: str) -> None:
    message = only(f"add 192.0.2.1 192.0.2.2 esp 4096 {null} -A hmac-sha1 0x{'01' * 20};")
    assert E.KEY_ENCRYPT not in message.extensions
    assert message.get(E.SA) == Sa(4096, auth=3, encrypt=11)


@pytest.mark.parametrize(
    ("words", "number", "key_bytes"),
    [
        ("-E aes-gcm-16", 20, 28),
        ("-E chacha20-poly1305", 28, 36),
        ("-E aes-ctr", 13, 36),
        ("-E rijndael-cbc", 12, 24),
        ("-E camellia-cbc", 22, 16),
        ("-E 3des-cbc", 3, 24),
        ("-E blowfish-cbc", 7, 5),
        ("-E cast128-cbc", 6, 16),
        ("-E aes-gcm-8", 18, 20),
        ("-E aes-gcm-12", 19, 36),
        ("-E aes-ccm-8", 14, 19),
        ("-E aes-ccm-12", 15, 27),
        ("-E aes-ccm-16", 16, 35),
        ("-E aes-gmac", 23, 20),
        ("-E des-cbc", 2, 8),
        ("-E des-deriv", 248, 8),
    ],
)
def test_ciphers_go_out_with_their_number_whether_or_not_the_daemon_has_them(
    words: str, number: int, key_bytes: int
) -> None:
    message = only(f"add 192.0.2.1 192.0.2.2 esp 4096 {words} 0x{'77' * key_bytes};")
    sa = message.get(E.SA)
    assert isinstance(sa, Sa)
    assert sa.encrypt == number


@pytest.mark.parametrize(
    ("word", "number", "key_bytes"),
    [
        ("hmac-md5", 2, 16),
        ("hmac-sha1", 3, 20),
        ("hmac-sha256", 5, 32),
        ("hmac-sha2-256", 5, 32),
        ("hmac-sha384", 6, 48),
        ("hmac-sha2-512", 7, 64),
        ("hmac-ripemd160", 8, 20),
        ("aes-xcbc-mac", 9, 16),
        ("hmac-sha2-256-96", 245, 32),
        ("aes-cmac", 246, 16),
        ("keyed-md5", 249, 16),
        ("keyed-sha1", 250, 20),
        ("aes-128-gmac", 11, 20),
        ("aes-256-gmac", 13, 36),
        ("null", 251, 0),
    ],
)
def test_macs_go_out_with_their_number(word: str, number: int, key_bytes: int) -> None:
    key = f" 0x{'77' * key_bytes}" if key_bytes else ""
    message = only(f"add 192.0.2.1 192.0.2.2 esp 4096 -E null -A {word}{key};")
    sa = message.get(E.SA)
    assert isinstance(sa, Sa)
    assert sa.auth == number


@pytest.mark.parametrize(
    ("statement", "says", "next_step"),
    [
        (
            "esp 4096 -E aes-gcm-16 0x" + "00" * 16,
            "needs 160 (128 and a salt of 32), 224 or 288",
            "append the 4 bytes of salt",
        ),
        ("esp 4096 -E aes-cbc 0x" + "00" * 8, "key is 64 bits, aes-cbc needs 128, 192 or 256", "length"),
        ("esp 4096 -E aes-cbc 0x" + "00" * 25, "key is 200 bits", "length"),
        (
            "esp 4096 -E chacha20-poly1305 0x" + "00" * 32,
            "key is 256 bits, chacha20-poly1305 needs 288 (256 and a salt of 32)",
            "append the 4",
        ),
        ("ah 4096 -A hmac-sha256 0x" + "00" * 31, "key is 248 bits, hmac-sha256 needs 256", "length"),
        ("esp 4096 -E aes-gcm 0x00", "no algorithm of -E", "aes-gcm-16"),
        ("esp 4096 -E hmac-sha1 0x00", "no algorithm of -E", "behind -A"),
        ("ah 4096 -E aes-cbc 0x00", "takes -A", "-A"),
        (f"esp 4096 {GCM} -A hmac-sha1 0x{'00' * 20}", "authenticates by itself", "remove -A"),
        ("esp 4096 -E aes-cbc zzz", "quotes, or in hexadecimal", "0x"),
        ("esp 4096 -E aes-cbc 0x", "quotes, or in hexadecimal", "0x"),
        ("esp 4096", "-E and its key", "-E"),
        ("esp 200 -E null", "reserved", "256"),
        ("esp 0x100000000 -E null", "at most 4294967295", "smaller"),
        ("esp-old 4096 -E des-cbc 0x0123456789abcdef -A hmac-md5 0x00", "no authentication", "write esp"),
        ("frob 4096 -E null", "protocol of an SA", "esp"),
        ("esp 4096 -m trnsport -E null", "transport, tunnel or any", "-m"),
        ("esp 4096 -r 70000 -E null", "at most 65536", "smaller"),
        ("esp 4096 -zz -E null", "no word of add", "-m"),
        ("esp 4096 -ctx 1 2 3 -E null", "SELinux", "remove"),
        ("esp 4096 -f wobble -E null", "-f takes", "-f"),
        ("esp 4096 -E des-32iv 0x0011223344556677", "belongs to esp-old", "des-cbc"),
        ("esp 4096 -E twofish-cbc 0x0011223344556677", "not provided by sallet", "another"),
        ("esp 4096 -E skipjack 0x00112233445566778899", "not provided by sallet", "another"),
        (f"esp 4096 -E aes-gcm-16-iiv 0x{'00' * 20}", "RFC 8750", "another"),
        (
            "esp 4096 -E aes-ccm-16 0x" + "00" * 16,
            "needs 152 (128 and a salt of 24), 216 or 280",
            "3 bytes of salt",
        ),
        ("esp 4096 -E blowfish-cbc 0x00112233", "takes 40 to 448", "length"),
        ("ipcomp 4096 -C lzs", "not provided by sallet", "deflate"),
        ("ipcomp 4096 -C oui", "not provided by sallet", "deflate"),
        ("esp 4096 -E null extra", "not expected", "semicolon"),
        ("tcp 4096 -A tcp-md5 0x00", "not provided by sallet", "another"),
    ],
)
def test_a_wrong_add_says_why_and_what_next(statement: str, says: str, next_step: str) -> None:
    error = complaint(f"add 192.0.2.1 192.0.2.2 {statement};")
    assert says in error.text
    assert next_step in error.next_step


def test_old_tools_take_every_length_between_the_shortest_and_the_longest() -> None:
    # They compare with the range that REGISTER lists; the kernel refuses the rest.
    text = f"add 192.0.2.1 192.0.2.2 esp 17 -E aes-cbc 0x{'00' * 25};"
    assert only(text, "linux").get(E.KEY_ENCRYPT) == Key(200, bytes(25))
    short = complaint(f"add 192.0.2.1 192.0.2.2 esp 17 -E aes-cbc 0x{'00' * 8};", "linux")
    assert (short.classic, short.preface) == ("Invalid key length", "64 128 256")


@pytest.mark.parametrize(
    ("form", "words", "flags"),
    [
        ("kame", "", SadbSaFlags.X_CYCSEQ),
        ("kame", "-f nocyclic-seq", 0),
        ("kame", "-f nocyclic-seq -f random-pad", SadbSaFlags.X_PRAND),
        ("kame", "-f zero-pad", SadbSaFlags.X_CYCSEQ | SadbSaFlags.X_PZERO),
        ("linux", "", 0),
        ("linux", "-f zero-pad", 0),
        ("sallet", "", 0),
        ("sallet", "-f cyclic-seq", SadbSaFlags.X_CYCSEQ),
        ("sallet", "-esn", SadbSaFlags.X_ESN),
    ],
)
def test_flags_follow_the_form(form: str, words: str, flags: int) -> None:
    message = only(f"add 192.0.2.1 192.0.2.2 esp 4096 {words} -E null -A hmac-sha1 0x{'01' * 20};", form)
    sa = message.get(E.SA)
    assert isinstance(sa, Sa)
    assert sa.flags == flags


def test_a_window_that_no_octet_holds_has_its_own_extension() -> None:
    message = only(f"add 192.0.2.1 192.0.2.2 esp 4096 -r 1024 {GCM};")
    assert message.get(E.X_SA_REPLAY) == Replay(1024)
    for form in ("linux", "netbsd"):
        assert "at most 255" in complaint("add 192.0.2.1 192.0.2.2 esp 4096 -r 1024 -E null;", form).text
    # FreeBSD's -r counts octets, its extension packets.
    message = only("add 192.0.2.1 192.0.2.2 esp 4096 -r 512 -E null -A null;", "freebsd")
    assert message.get(E.X_SA_REPLAY) == Replay(4096)
    assert message.get(E.SA) == Sa(4096, 255, auth=251, encrypt=11, flags=SadbSaFlags.X_CYCSEQ)


def test_where_no_list_is_for_forwarded_packets_fwd_is_in_or_nothing() -> None:
    text = "spdadd 10.0.0.0/8 10.1.0.0/16 any -P fwd ipsec esp/transport//require;"
    (message,) = messages(text, "netbsd")
    policy = message.get(E.X_POLICY)
    assert isinstance(policy, Policy)
    assert policy.direction == IpsecDirection.INBOUND
    assert "no list" in complaint(text, "freebsd").text


def test_esp_in_udp_has_ports() -> None:
    message = only(f"add 192.0.2.1[4501] 192.0.2.2 esp-udp 4096 -m tunnel {GCM};")
    assert message.satype == SadbSatype.ESP
    assert message.get(E.X_NAT_T_TYPE) == NatType(2)
    assert message.get(E.X_NAT_T_SPORT) == NatPort(4501)
    assert message.get(E.X_NAT_T_DPORT) == NatPort(4500)
    with_original = only(f"add 192.0.2.1[4501] 192.0.2.2[4500] esp-udp 10.0.0.1 4096 {GCM};")
    assert with_original.get(E.X_NAT_T_OAI) == Address(IPv4Address("10.0.0.1"), 0, 32, 255)
    assert "esp-udp" in complaint(f"add 192.0.2.1[1] 192.0.2.2[2] esp 4096 {GCM};").next_step
    assert "protocol of an SA" in complaint(f"add 192.0.2.1 192.0.2.2 esp-udp 4096 {GCM};", "kame").text


def test_ah_old_is_ah_with_a_flag() -> None:
    words = f"192.0.2.1 192.0.2.2 ah-old 4096 -A keyed-md5 0x{'42' * 16};"
    message = only(f"add {words}", "kame")
    assert message.satype == SadbSatype.AH
    assert message.get(E.SA) == Sa(4096, auth=249, flags=SadbSaFlags.X_OLD | SadbSaFlags.X_CYCSEQ)
    assert only("delete 192.0.2.1 192.0.2.2 ah-old 4096;", "kame").satype == SadbSatype.AH
    # Linux takes the word and makes something else of it.
    refused = complaint(f"add {words}".replace("keyed-md5", "hmac-md5"), "linux")
    assert ("RFC 1826" in refused.text, refused.next_step) == (True, "write ah")


def test_ipcomp_carries_its_compression_where_the_cipher_stands() -> None:
    message = only("add 192.0.2.1 192.0.2.2 ipcomp 4096 -C deflate -R;", "kame")
    assert message.satype == SadbSatype.X_IPCOMP
    assert message.get(E.SA) == Sa(4096, encrypt=2, flags=SadbSaFlags.X_RAWCPI | SadbSaFlags.X_CYCSEQ)


def test_ipcomp_needs_a_cpi() -> None:
    assert "-R" in complaint("add 192.0.2.1 192.0.2.2 ipcomp 0x10000 -C deflate;").next_step
    assert only("add 192.0.2.1 192.0.2.2 ipcomp 0x10000 -C deflate -R;").get(E.SA) == Sa(
        0x10000, encrypt=2, flags=SadbSaFlags.X_RAWCPI
    )
    # The classic forms leave it to the daemon.
    assert only("add 192.0.2.1 192.0.2.2 ipcomp 0x10000 -C deflate;", "kame").satype == SadbSatype.X_IPCOMP


def test_get_delete_and_deleteall_name_associations() -> None:
    get, delete, delete_all = messages(
        "get 192.0.2.1 192.0.2.2 esp 0x9999; delete 192.0.2.1 192.0.2.2 ah 9; deleteall ::1 ::2 ipcomp;"
    )
    assert (get.type, get.satype, get.get(E.SA)) == (SadbMsgType.GET, SadbSatype.ESP, Sa(0x9999))
    assert (delete.type, delete.satype, delete.get(E.SA)) == (SadbMsgType.DELETE, SadbSatype.AH, Sa(9))
    assert (delete_all.type, E.SA in delete_all.extensions) == (SadbMsgType.DELETE, False)


def test_a_mode_on_delete_is_obsolete_and_remarked() -> None:
    (statement,) = setkey.parse("delete 192.0.2.1 192.0.2.2 esp 9 -m tunnel;")
    assert setkey.remarks(statement, "linux") == ["WARNING: mode is obsolete."]


def test_whole_databases() -> None:
    found = messages("flush; flush esp; dump; dump ah; spdflush; spddump;")
    assert [(message.type, message.satype) for message in found] == [
        (SadbMsgType.FLUSH, SadbSatype.UNSPEC),
        (SadbMsgType.FLUSH, SadbSatype.ESP),
        (SadbMsgType.DUMP, SadbSatype.UNSPEC),
        (SadbMsgType.DUMP, SadbSatype.AH),
        (SadbMsgType.X_SPDFLUSH, SadbSatype.UNSPEC),
        (SadbMsgType.X_SPDDUMP, SadbSatype.UNSPEC),
    ]


@pytest.mark.parametrize("word", ["exit", "quit", "bye"])
def test_nothing_behind_exit_is_read(word: str) -> None:
    assert len(setkey.parse(f"flush; {word}; frob $$$;")) == 1
    assert complaint("quit;", "kame").text


def test_spdadd_carries_selector_and_policy() -> None:
    message = only(
        "spdadd 10.1.2.3/8[1000] 192.0.2.2[80] tcp -P out prio high -10 ipsec "
        "esp/tunnel/192.0.2.1-192.0.2.9/unique:77 ah/transport//use;"
    )
    assert (message.type, message.satype) == (SadbMsgType.X_SPDADD, SadbSatype.UNSPEC)
    ends = (
        Address(IPv4Address("192.0.2.1"), 0, 32, 0),
        Address(IPv4Address("192.0.2.9"), 0, 32, 0),
    )
    assert dict(message.extensions) == {
        E.X_POLICY: Policy(
            IpsecPolicyType.IPSEC,
            IpsecDirection.OUTBOUND,
            priority=0x4000000A,
            requests=(
                Request(50, IpsecMode.TUNNEL, IpsecLevel.UNIQUE, 77, *ends),
                Request(51, IpsecMode.TRANSPORT, IpsecLevel.USE),
            ),
        ),
        E.ADDRESS_SRC: Address(IPv4Address("10.1.2.3"), 1000, 8, 6),
        E.ADDRESS_DST: Address(IPv4Address("192.0.2.2"), 80, 32, 6),
    }


@pytest.mark.parametrize("verb", ["spdadd", "spdupdate", "spddelete"])
@pytest.mark.parametrize(("form", "count"), [("sallet", 2), ("linux", 2), ("kame", 1)])
def test_an_inbound_policy_also_judges_forwarded_packets(verb: str, form: str, count: int) -> None:
    if verb == "spdupdate" and form == "kame":
        assert "no verb" in complaint("spdupdate ::1 ::2 any -P in none;", form).text
        return
    action = "" if verb == "spddelete" else " none"
    found = messages(f"{verb} ::1 ::2 any -P in{action};", form)
    directions = [policy.direction for m in found if isinstance(policy := m.get(E.X_POLICY), Policy)]
    assert directions == [IpsecDirection.INBOUND, IpsecDirection.FORWARD][:count]


def test_a_plan_sends_no_twin_beside_a_fwd_policy_that_is_written() -> None:
    text = "spdadd ::1 ::2 any -P in none; spdadd ::1 ::2 any -P fwd discard; spdadd ::1 ::3 any -P in none;"
    planned = setkey.plan(setkey.parse(text), "sallet", "sallet")
    assert [order.twin for order in planned] == [False, False, False, True]


@pytest.mark.parametrize(
    ("upper", "number", "ports"),
    [
        ("any", 255, (0, 0)),
        ("tcp", 6, (0, 0)),
        ("17", 17, (0, 0)),
        ("ip4", 4, (0, 0)),
        ("icmp6", 58, (0, 0)),
        ("icmp6 135,1", 58, (135, 1)),
        ("ipv6-icmp 135,0", 58, (135, 0)),
        ("icmp 8,0", 1, (8, 0)),
        ("gre 65537", 47, (1, 1)),
        ("gre 1.2.3.4", 47, (0x0102, 0x0304)),
        ("eigrp", 88, (0, 0)),
    ],
)
def test_upper_layer_protocols(upper: str, number: int, ports: tuple[int, int]) -> None:
    (statement,) = setkey.parse(f"spdadd 10.0.0.1 10.0.0.2 {upper} -P out none;", resolve=Names())
    (message,) = setkey.to_messages(statement, "sallet", "sallet")
    source, destination = message.get(E.ADDRESS_SRC), message.get(E.ADDRESS_DST)
    assert isinstance(source, Address)
    assert isinstance(destination, Address)
    assert (source.proto, destination.proto) == (number, number)
    assert (source.port, destination.port) == ports


def test_names_of_hosts_give_a_message_for_every_pair_of_one_family() -> None:
    statements = setkey.parse(
        f"add a.example b.example esp 4096 {GCM}; add -4 a.example b.example esp 4097 {GCM};"
        "spdadd a.example[https] 192.0.2.9 tcp -P out none;",
        resolve=Names(),
    )
    first, second, third = ([*setkey.to_messages(s, "sallet", "sallet")] for s in statements)
    assert len(first) == 2
    assert [str(m.get(E.ADDRESS_DST).address) for m in first] == ["192.0.2.2", "2001:db8::2"]  # type: ignore[union-attr]
    assert len(second) == 1
    assert third[0].get(E.ADDRESS_SRC) == Address(IPv4Address("192.0.2.1"), 443, 32, 6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("add -n a.example b.example esp 4096 -E null;", "no address"),
        ("add nowhere.example 192.0.2.1 esp 4096 -E null;", "no address of `nowhere.example'"),
        ("add -6 192.0.2.1 192.0.2.2 esp 4096 -E null;", "not of IP version 6"),
        ("add fe80::1%eth0 fe80::2 esp 4096 -E null;", "scope"),
        ("add 192.0.2.1 ::1 esp 4096 -E null;", "different families"),
        ("spdadd 10.0.0.0/8 ::/0 any -P out none;", "different families"),
        ("spdadd 10.0.0.0/33 10.0.0.1 any -P out none;", "0 to 32 bits"),
        ("spdadd ::/129 ::1 any -P out none;", "0 to 128 bits"),
        ("spdadd ::/-1 ::1 any -P out none;", "0 to 128 bits"),
        ("spdadd ::1[70000] ::1 any -P out none;", "no port"),
        ("spdadd ::1[gopherd] ::1 any -P out none;", "no port"),
        ("spdadd ::1[80 ::1 any -P out none;", "bracket"),
        ("spdadd ::1 ::1 frob -P out none;", "no protocol"),
        ("spdadd ::1 ::1 256 -P out none;", "no protocol"),
        ("spdadd ::1 ::1 icmp6 1 -P out none;", "comma"),
        ("spdadd ::1 ::1 any out none;", "-P"),
        ("spdadd ::1 ::1 any -P out;", "no action"),
        ("spdadd ::1 ::1 any -P out bypass;", "socket"),
        ("spdadd ::1 ::1 any -P out entrust;", "socket"),
        ("spdadd ::1 ::1 any -P out ipsec;", "at least one rule"),
        ("spdadd ::1 ::1 any -P sideways none;", "direction"),
        ("spdadd tagged x -P out none;", "BSD"),
        ("spdadd ::1 ::1 any -ctx 1 1 x -P out none;", "SELinux"),
    ],
)
def test_a_wrong_address_or_selector_says_why(text: str, says: str) -> None:
    with pytest.raises(SetkeyError) as caught:
        setkey.parse(text, resolve=Names())
    assert says in caught.value.text


def test_without_names_only_numbers_are_understood() -> None:
    assert "in numbers" in complaint(f"add a.example b.example esp 4096 {GCM};").next_step


@pytest.mark.parametrize(
    "text",
    [
        "spdadd ::1 ::2 any -P fwd none;",
        "spdadd 10.0.0.1 10.0.0.2 icmp 8,0 -P out none;",
        "spdadd ::1 ::2 any -P out prio high none;",
        f"add ::1 ::2 esp 4096 -bh 5 {GCM};",
        f"add ::1 ::2 esp 4096 {GCM};",
    ],
)
def test_what_ipsec_tools_added_is_no_word_of_kame(text: str) -> None:
    assert setkey.parse(text, form="sallet")
    assert complaint(text, "kame").text


def test_check_goes_on_behind_an_error() -> None:
    good, bad = setkey.check("flush; frob; spdflush; add x; dump;")
    assert len(good) == 3
    assert [(error.line, error.column) for error in bad] == [(1, 8), (1, 28)]


def test_statements_are_yielded_up_to_the_error() -> None:
    found = setkey.statements("flush; spdflush; frob;")
    assert [next(found).place.column, next(found).place.column] == [1, 8]
    with pytest.raises(SetkeyError):
        next(found)


def test_a_cipher_without_a_mac_is_remarked() -> None:
    (statement,) = setkey.parse(f"add ::1 ::2 esp 4096 -f zero-pad -E aes-cbc 0x{'00' * 16};")
    padding, cipher = setkey.remarks(statement, "sallet")
    assert "no effect" in padding
    assert "does not notice" in cipher


def test_a_counter_mode_with_a_manual_key_is_remarked() -> None:
    (statement,) = setkey.parse(f"add ::1 ::2 esp 4096 {GCM};")
    (remark,) = setkey.remarks(statement, "sallet")
    assert "after a restart" in remark


def test_no_statement_shows_a_key() -> None:
    (statement,) = setkey.parse(f"add ::1 ::2 esp 4096 {GCM};")
    assert "42" not in repr(statement)
