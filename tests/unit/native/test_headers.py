"""The headers of each dialect say what the Python tables say: every number, every size, every field's place.

Answers to: net/pfkeyv2.h and netipsec/ipsec.h of the systems; `sallet.pfkey` is what the daemon speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

from netns import need
from sallet import native
from sallet.pfkey import constants
from sallet.pfkey.constants import SadbExtType as Ext
from sallet.pfkey.dialect import Dialect
from sallet.pfkey.dialects import DIALECTS
from sallet.pfkey.messages import (
    Address,
    Algorithm,
    Comb,
    Extension,
    Identity,
    Key,
    Lifetime,
    NatPort,
    NatType,
    Policy,
    Proposal,
    Replay,
    Request,
    Sa,
    Sa2,
    SpiRange,
    Supported,
)
from sallet.pfkey.writers import EMITTERS
from unit.lang.policy_vectors import DIALECTS as NAMES
from unit.native.c_compiler import WARNINGS, compile_c, run_c

# C's name of an algorithm: the BSDs', and Linux' where it differs.
AUTH: Final = {
    "hmac-md5-96": ("SADB_AALG_MD5HMAC", ""),
    "hmac-sha1-96": ("SADB_AALG_SHA1HMAC", ""),
    "hmac-sha2-256-128": ("SADB_X_AALG_SHA2_256", "SADB_X_AALG_SHA2_256HMAC"),
    "hmac-sha2-384-192": ("SADB_X_AALG_SHA2_384", "SADB_X_AALG_SHA2_384HMAC"),
    "hmac-sha2-512-256": ("SADB_X_AALG_SHA2_512", "SADB_X_AALG_SHA2_512HMAC"),
    "hmac-ripemd160-96": ("SADB_X_AALG_RIPEMD160HMAC", ""),
    "aes-xcbc-mac-96": ("SADB_X_AALG_AES_XCBC_MAC", ""),
    "aes-128-gmac": ("SADB_X_AALG_AES128GMAC", ""),
    "aes-192-gmac": ("SADB_X_AALG_AES192GMAC", ""),
    "aes-256-gmac": ("SADB_X_AALG_AES256GMAC", ""),
    "keyed-md5": ("SADB_X_AALG_MD5", ""),
    "keyed-sha1": ("SADB_X_AALG_SHA", ""),
    "null-auth": ("SADB_X_AALG_NULL", ""),
}
ENCRYPT: Final = {
    "null": ("SADB_EALG_NULL", ""),
    "des-cbc": ("SADB_EALG_DESCBC", ""),
    "3des-cbc": ("SADB_EALG_3DESCBC", ""),
    "cast128-cbc": ("SADB_X_EALG_CAST128CBC", "SADB_X_EALG_CASTCBC"),
    "blowfish-cbc": ("SADB_X_EALG_BLOWFISHCBC", ""),
    "aes-cbc": ("SADB_X_EALG_AES", "SADB_X_EALG_AESCBC"),
    "aes-ctr": ("SADB_X_EALG_AESCTR", ""),
    "aes-gcm-16": ("SADB_X_EALG_AESGCM16", "SADB_X_EALG_AES_GCM_ICV16"),
    "camellia-cbc": ("SADB_X_EALG_CAMELLIACBC", ""),
    "aes-gmac": ("SADB_X_EALG_AESGMAC", "SADB_X_EALG_NULL_AES_GMAC"),
    "twofish-cbc": ("SADB_X_EALG_TWOFISHCBC", ""),
    "serpent-cbc": ("", "SADB_X_EALG_SERPENTCBC"),
}
# Extensions whose name in C is not their name here behind SADB_EXT_ or SADB_X_EXT_.
EXTENSIONS: Final = {
    Ext.X_NAT_T_OAI: ("SADB_X_EXT_NAT_T_OAI", "SADB_X_EXT_NAT_T_OA"),
    Ext.X_OAR_OR_SEC_CTX: ("SADB_X_EXT_NAT_T_OAR", "SADB_X_EXT_SEC_CTX"),
}
FLAGS_OF_BSD: Final = {
    "SADB_SAFLAGS_PFS": constants.SadbSaFlags.PFS,
    "SADB_X_EXT_OLD": constants.SadbSaFlags.X_OLD,
    "SADB_X_EXT_IV4B": constants.SadbSaFlags.X_IV4B,
    "SADB_X_EXT_DERIV": constants.SadbSaFlags.X_DERIV,
    "SADB_X_EXT_CYCSEQ": constants.SadbSaFlags.X_CYCSEQ,
    "SADB_X_EXT_RAWCPI": constants.SadbSaFlags.X_RAWCPI,
    "SADB_X_EXT_PRAND": constants.SadbSaFlags.X_PRAND,
    "SADB_X_EXT_PZERO": constants.SadbSaFlags.X_PZERO,
}
FLAGS_OF_LINUX: Final = {
    "SADB_SAFLAGS_PFS": constants.SadbSaFlags.PFS,
    "SADB_SAFLAGS_NOPMTUDISC": constants.SadbSaFlags.X_NOPMTUDISC,
    "SADB_SAFLAGS_DECAP_DSCP": constants.SadbSaFlags.X_DECAP_DSCP,
    "SADB_SAFLAGS_NOECN": constants.SadbSaFlags.X_NOECN,
}
SCOPES: Final = {
    "IPSEC_POLICYSCOPE_ANY": 0,
    "IPSEC_POLICYSCOPE_GLOBAL": 1,
    "IPSEC_POLICYSCOPE_IFNET": 2,
    "IPSEC_POLICYSCOPE_PCB": 4,
}


def choose(names: tuple[str, str], dialect: Dialect) -> str:
    """C's name in a dialect."""
    return (names[1] or names[0]) if dialect.name == "linux" else names[0]


def extension_name(kind: Ext, dialect: Dialect) -> str:
    """C's name of an extension."""
    if kind in EXTENSIONS:
        return choose(EXTENSIONS[kind], dialect)
    return f"SADB_X_EXT_{kind.name[2:]}" if kind.name.startswith("X_") else f"SADB_EXT_{kind.name}"


def numbers(dialect: Dialect) -> dict[str, int]:
    """Every number of the Python side by the name that C has for it."""
    found: dict[str, int] = {"PF_KEY_V2": constants.PF_KEY_V2, "SADB_MAX": dialect.last_message}
    of_one_system = {"X_NAT_T_NEW_MAPPING": ("netbsd", "linux"), "X_MIGRATE": ("kame", "linux")}
    for message in constants.SadbMsgType:
        if dialect.name in of_one_system.get(message.name, NAMES):
            found[f"SADB_{message.name}"] = message
    for kind, number in dialect.extension_numbers.items():
        found[extension_name(kind, dialect)] = number
    found["SADB_EXT_MAX"] = max(dialect.extension_numbers.values())
    for satype in constants.SadbSatype:
        if satype.name.startswith("X_"):
            found[f"SADB_X_SATYPE_{satype.name[2:]}"] = satype
        else:
            found[f"SADB_SATYPE_{satype.name}"] = satype
    found |= {f"SADB_SASTATE_{state.name}": state for state in constants.SadbSaState}
    found |= {f"SADB_IDENTTYPE_{kind.name}": kind for kind in constants.IdentityType}
    found |= {f"SADB_X_CALG_{calg.name}": calg for calg in constants.SadbCompression}
    found |= {choose(AUTH[name], dialect): number for name, number in dialect.auth_numbers.items()}
    found |= {choose(ENCRYPT[row.name], dialect): row.number for row in dialect.encrypt}
    found |= {f"IPSEC_MODE_{mode.name}": mode for mode in constants.IpsecMode}
    found |= {f"IPSEC_POLICY_{policy.name}": policy for policy in constants.IpsecPolicyType}
    found |= {f"IPSEC_LEVEL_{level.name}": level for level in constants.IpsecLevel}
    found |= {"IPSEC_DIR_ANY": 0, "IPSEC_DIR_INBOUND": 1, "IPSEC_DIR_OUTBOUND": 2}
    found |= {"IPSEC_ULPROTO_ANY": constants.ULPROTO_ANY, "IPSEC_PORT_ANY": constants.PORT_ANY}
    found |= {"IPSEC_MANUAL_REQID_MAX": constants.MANUAL_REQID_MAX}
    return found | differing(dialect)


def differing(dialect: Dialect) -> dict[str, int]:
    """The numbers that only Linux or only the BSDs have, or that belong to no table of PF_KEY."""
    if dialect.name == "linux":
        options = {"IP_IPSEC_POLICY": 16, "IPV6_IPSEC_POLICY": 34, "IPSEC_DIR_FWD": 3}
        gone = {"SADB_X_SATYPE_TCPSIGNATURE"}
        return {**FLAGS_OF_LINUX, **options} | dict.fromkeys(gone, -1)
    found = {**FLAGS_OF_BSD, "SALLET_AF_INET6": dialect.inet6_family, "IPV6_IPSEC_POLICY": 28}
    found["IP_IPSEC_POLICY"] = 21 if dialect.policy_has_scope else 22
    return found | (SCOPES if dialect.policy_has_scope else {})


@pytest.mark.parametrize("name", NAMES)
def test_every_number(name: str, tmp_path: Path) -> None:
    need("gcc")
    wanted = {word: int(number) for word, number in numbers(DIALECTS[name]).items() if number >= 0}
    assert len(wanted) > 90
    lines = "".join(f'\tprintf("{word} %lld\\n", (long long){word});\n' for word in wanted)
    printed = print_from_c(name, lines, tmp_path)
    assert {word: int(number) for word, number in map(str.split, printed)} == wanted


SOURCE, DESTINATION = Address(ip_address("192.0.2.1"), 500), Address(ip_address("192.0.2.2"), 4500)
SIX: Final = Address(ip_address("2001:db8::7"), 9, 64, 17)
HARD, SOFT = Lifetime(0x11, 0x12, 0x13, 0x14), Lifetime(0x21, 0x22, 0x23, 0x24)
# One value of each kind with a number of its own in every field, and the fields of C that must show them.
SHAPES: Final[tuple[tuple[Ext, Extension, str, int, Mapping[str, int]], ...]] = (
    (
        Ext.SA,
        Sa(0x01020304, 5, 3, 6, 7, 0x40),
        *("sadb_sa", 0, {"spi": 0x04030201, "replay": 5, "state": 3, "auth": 6, "encrypt": 7, "flags": 0x40}),
    ),
    (
        Ext.LIFETIME_HARD,
        Lifetime(1, 2, 3, 4),
        *("sadb_lifetime", 0, {"allocations": 1, "bytes": 2, "addtime": 3, "usetime": 4}),
    ),
    (Ext.ADDRESS_SRC, SIX, "sadb_address", 0, {"proto": 17, "prefixlen": 64, "reserved": 0}),
    (Ext.KEY_AUTH, Key(128, bytes(16)), "sadb_key", 0, {"bits": 128, "reserved": 0}),
    (Ext.IDENTITY_SRC, Identity(2, 9, "a"), "sadb_ident", 0, {"type": 2, "reserved": 0, "id": 9}),
    (Ext.PROPOSAL, Proposal(32, ()), "sadb_prop", 0, {"replay": 32}),
    (
        Ext.PROPOSAL,
        Proposal(32, (Comb(1, 2, 3, 4, 5, 6, 7, SOFT, HARD),)),
        "sadb_comb",
        8,
        {
            **{"auth": 1, "encrypt": 2, "flags": 3, "auth_minbits": 4, "auth_maxbits": 5},
            **{"encrypt_minbits": 6, "encrypt_maxbits": 7, "reserved": 0},
            **{"soft_allocations": 0x21, "soft_bytes": 0x22, "soft_addtime": 0x23, "soft_usetime": 0x24},
            **{"hard_allocations": 0x11, "hard_bytes": 0x12, "hard_addtime": 0x13, "hard_usetime": 0x14},
        },
    ),
    (
        Ext.SUPPORTED_AUTH,
        Supported((Algorithm(3, 8, 160, 256),)),
        *("sadb_alg", 8, {"id": 3, "ivlen": 8, "minbits": 160, "maxbits": 256, "reserved": 0}),
    ),
    (Ext.SPIRANGE, SpiRange(256, 512), "sadb_spirange", 0, {"min": 256, "max": 512, "reserved": 0}),
    (Ext.X_SA2, Sa2(2, 77, 16384), "sadb_x_sa2", 0, {"mode": 2, "sequence": 77, "reqid": 16384}),
    (
        Ext.X_POLICY,
        Policy(2, 1, 99),
        *("sadb_x_policy", 0, {"type": 2, "dir": 1, "id": 99, "len": 2, "exttype": 18}),
    ),
    (
        Ext.X_POLICY,
        Policy(2, 1, 99, 0, (Request(50, 2, 3, 7, SOURCE, DESTINATION),)),
        *("sadb_x_ipsecrequest", 16, {"proto": 50, "mode": 2, "level": 3, "reqid": 7}),
    ),
    (Ext.X_NAT_T_TYPE, NatType(2), "sadb_x_nat_t_type", 0, {"type": 2}),
    (Ext.X_NAT_T_SPORT, NatPort(0x1194), "sadb_x_nat_t_port", 0, {"port": 0x9411, "reserved": 0}),
    (Ext.X_SA_REPLAY, Replay(4096), "sadb_x_sa_replay", 0, {"replay": 4096}),
)
PRIORITIES: Final = {"freebsd": {"scope": 4, "priority": 0x8001}, "linux": {"priority": 0x8001}}


def show_fields(structure: str, at: int, prefix: str, blob: bytes, fields: Mapping[str, int]) -> str:
    """Write C that reads the bytes as the structure and prints fields."""
    octets = ",".join(map(str, blob))
    reads = "".join(
        f'\t\tprintf("{structure} {field} %llu\\n", (unsigned long long)value.{prefix}{field});\n'
        for field in fields
    )
    return (
        f"\t{{\n\t\tstatic const unsigned char blob[] = {{{octets}}};\n\t\tstruct {structure} value;\n"
        f"\t\tmemcpy(&value, blob + {at}, sizeof(value));\n{reads}\t}}\n"
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_field_stands_where_the_daemon_writes_it(name: str, tmp_path: Path) -> None:
    need("gcc")
    dialect = DIALECTS[name]
    shapes = [shape for shape in SHAPES if shape[0] in dialect.extension_numbers]
    scoped = Policy(2, 1, 5, 0x8001, (), 4)
    shapes.append((Ext.X_POLICY, scoped, "sadb_x_policy", 0, PRIORITIES.get(name, {"reserved2": 0})))
    code, wanted = "", []
    for kind, value, structure, at, fields in shapes:
        body = EMITTERS[type(value)](value, dialect)
        number = dialect.extension_numbers[kind]
        size = (4 + len(body) + 7) // 8
        blob = size.to_bytes(2, "little") + number.to_bytes(2, "little") + body
        code += show_fields(structure, at, f"{structure}_", blob.ljust(size * 8, b"\0"), fields)
        wanted += [f"{structure} {field} {number}" for field, number in fields.items()]
    if dialect.sockaddr_has_length:
        address = EMITTERS[Address](SIX, dialect)[4:]
        ends = {"len": 28, "family": dialect.inet6_family, "port": 9 << 8, "scope_id": 0}
        code += show_fields("sallet_sockaddr_in6", 0, "sin6_", address, ends)
        wanted += [f"sallet_sockaddr_in6 {field} {number}" for field, number in ends.items()]
    assert print_from_c(name, code, tmp_path) == wanted


def print_from_c(name: str, code: str, folder: Path) -> list[str]:
    """Compile statements against a dialect's headers, run them, and give the lines that they print."""
    source = folder / "program.c"
    source.write_text(
        "#include <stdio.h>\n#include <string.h>\n#include <netipsec/ipsec.h>\n"
        f"int main(void)\n{{\n{code}\treturn 0;\n}}\n"
    )
    compile_c("-std=c11", *WARNINGS, f"-I{native.INCLUDE / name}", source, "-o", folder / "program")
    done = run_c(folder / "program")
    assert done.returncode == 0
    return done.stdout.splitlines()
