"""libipsec and `sallet.ipsec` are one: the same strings, the same bytes, the same words for what is wrong.

Answers to: ipsec_set_policy(3); the table is tests/unit/lang/policy_vectors.toml.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netns import need
from sallet import native
from sallet.ipsec import SYNTAX, IpsecError, ipsec_dump_policy, ipsec_get_policylen, ipsec_set_policy
from unit.lang.policy_vectors import ACCEPTED, DIALECTS, REFUSED, Vector
from unit.native.c_compiler import LIBIPSEC, SANITIZERS, WARNINGS, compile_c, run_c

DRIVER: Final = Path(__file__).with_name("policy_driver.c")
SOURCES: Final = sorted(LIBIPSEC.glob("*.c"))


class Library:
    """The shared library of the wheel, called as a program that declares the calls itself would."""

    def __init__(self, path: Path) -> None:
        self._calls = ctypes.CDLL(str(path))
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]
        self._calls.ipsec_strerror.restype = ctypes.c_char_p

    def error(self) -> str:
        words: bytes = self._calls.ipsec_strerror()
        return words.decode("utf-8", "replace")

    def set_policy(self, text: str, dialect: str) -> bytes | str:
        """Give the bytes, or `! ` and the error."""
        call = self._calls[f"sallet_{dialect}_ipsec_set_policy"]
        call.restype = ctypes.c_void_p
        raw = text.encode("utf-8", "surrogatepass")
        made = call(raw, len(raw))
        if not made:
            return f"! {self.error()}"
        blob = ctypes.string_at(made, self._calls.ipsec_get_policylen(ctypes.c_void_p(made)))
        self._free(made)
        return blob

    def dump_policy(self, blob: bytes, delimiter: str | None, dialect: str, suffix: str = "") -> str:
        """Give the text, or `! ` and the error."""
        call = self._calls[f"sallet_{dialect}_ipsec_dump_policy{suffix}"]
        call.restype = ctypes.c_void_p
        made = call(blob, None if delimiter is None else delimiter.encode())
        if not made:
            return f"! {self.error()}"
        text = ctypes.string_at(made).decode()
        self._free(made)
        return text


@pytest.fixture(scope="module")
def library() -> Library:
    assert native.LIBIPSEC.exists(), "build it: make build, or make debug"
    return Library(native.LIBIPSEC)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library and its driver under the sanitizers."""
    need("gcc")
    program = tmp_path_factory.mktemp("driver") / "policy_driver"
    compile_c("-std=gnu11", *WARNINGS, *SANITIZERS, *SOURCES, DRIVER, "-pthread", "-o", program)
    return program


def in_python(text: str, dialect: str) -> bytes | str:
    """What `sallet.ipsec` makes of a string: bytes, or `! ` and the error."""
    try:
        return ipsec_set_policy(text, dialect=dialect)
    except IpsecError as error:
        return f"! {error.strerror}"


def same(of_c: bytes | str, of_python: bytes | str) -> bool:
    """Compare; a parser's own words are the parser's."""
    if isinstance(of_c, str) and of_c.startswith("! syntax error"):
        return of_python == "! syntax error"
    return of_c == of_python


@pytest.mark.parametrize("vector", ACCEPTED, ids=str)
def test_accepted(vector: Vector, library: Library) -> None:
    blob = ipsec_set_policy(vector.text, dialect=vector.dialect)
    assert len(blob) == ipsec_get_policylen(blob)
    assert library.set_policy(vector.text, vector.dialect) == blob
    text = ipsec_dump_policy(blob, "|", dialect=vector.dialect)
    assert library.dump_policy(blob, "|", vector.dialect) == text
    head, *rules = text.split("|")
    assert tuple(rules) == vector.rules
    assert (head.split()[0], head.split()[-1]) == tuple(vector.policy.split())
    again = ipsec_dump_policy(blob, dialect=vector.dialect)
    assert library.dump_policy(blob, None, vector.dialect) == again
    assert ipsec_set_policy(again, dialect=vector.dialect) == blob


@pytest.mark.parametrize("vector", REFUSED, ids=str)
def test_refused(vector: Vector, library: Library) -> None:
    with pytest.raises(IpsecError) as caught:
        ipsec_set_policy(vector.text, dialect=vector.dialect)
    assert caught.value.strerror == vector.error
    assert (caught.value.code == SYNTAX) == (vector.error == "syntax error")
    assert same(library.set_policy(vector.text, vector.dialect), f"! {vector.error}")


# Sizes that kame.md gives for one rule: without ends, with two of IPv4, with two of IPv6.
@pytest.mark.parametrize(
    ("dialect", "sizes"),
    [("kame", (8, 40, 64)), ("netbsd", (8, 40, 64)), ("freebsd", (8, 40, 64)), ("linux", (16, 48, 72))],
)
def test_the_sizes_of_a_rule(dialect: str, sizes: tuple[int, int, int]) -> None:
    for ends, size in zip(("", "192.0.2.1-192.0.2.2", "2001:db8::1-2001:db8::2"), sizes, strict=True):
        blob = ipsec_set_policy(f"out ipsec esp/transport/{ends}/require", dialect=dialect)
        assert len(blob) == 16 + size
        assert int.from_bytes(blob[16:18], "little") == size


def test_a_policy_byte_by_byte() -> None:
    text = "out ipsec esp/tunnel/192.0.2.1-192.0.2.2/unique:7"
    kame = bytes.fromhex(
        "0700 1200 0200 02 00 00000000 00000000"  # 56 bytes, extension 18, ipsec, outbound
        "2800 3200 02 03 0700"  # 40 bytes, ESP, tunnel, unique, 7
        "10 02 0000 c0000201 0000000000000000"
        "10 02 0000 c0000202 0000000000000000"
    )
    linux = bytes.fromhex(
        "0800 1200 0200 02 00 00000000 00000080"
        "3000 3200 02 03 0000 07000000 00000000"
        "0200 0000 c0000201 0000000000000000"
        "0200 0000 c0000202 0000000000000000"
    )
    assert ipsec_set_policy(text, dialect="kame") == kame
    assert ipsec_set_policy(text, dialect="netbsd") == kame
    assert ipsec_set_policy(text, dialect="freebsd") == kame
    assert ipsec_set_policy(text) == linux


def test_every_port_on_request(library: Library) -> None:
    blob = ipsec_set_policy("in ipsec esp/tunnel/192.0.2.1[500]-192.0.2.2/use")
    assert library.dump_policy(blob, " ", "linux").endswith("esp/tunnel/192.0.2.1[500]-192.0.2.2/use")
    every = library.dump_policy(blob, " ", "linux", suffix="_withports")
    assert every.endswith("esp/tunnel/192.0.2.1[500]-192.0.2.2[0]/use")


WORDS: Final = st.sampled_from(
    "in out fwd any discard none ipsec entrust bypass esp ah ipcomp tcp transport tunnel use require unique "
    "unique: unique:7 unique:0 unique:40000 default me any me-any any-me 192.0.2.1-192.0.2.2 ::1-::2 ::1 - "
    '192.0.2.1 [ ] 500 [500] 70000 prio priority low def high high+1 + -1 +2 -3000000000 ; # " , 7 '
    "esp/transport//require esp/tunnel/::1-::2/unique:9 ah/transport ipcomp/transport/ / / / /".split()
)
BLANKS: Final = st.sampled_from(("", " ", " ", " ", "\t", "\n", "/", "/"))
STRINGS: Final = st.one_of(
    st.tuples(
        st.sampled_from(("", "in ", "out ", "out ipsec ", "in ipsec esp/", "out ipsec esp/transport/")),
        st.lists(st.tuples(WORDS, BLANKS), max_size=12),
    ).map(lambda parts: parts[0] + "".join(word + blank for word, blank in parts[1])),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40),
)


@settings(max_examples=int(os.environ.get("SALLET_POLICY_STRINGS", "600")), deadline=None)
@given(text=STRINGS, dialect=st.sampled_from(DIALECTS))
def test_both_read_any_string_alike(library: Library, text: str, dialect: str) -> None:
    of_python = in_python(text, dialect)
    assert same(library.set_policy(text, dialect), of_python)
    if isinstance(of_python, bytes):
        shown = ipsec_dump_policy(of_python, dialect=dialect)
        assert library.dump_policy(of_python, " ", dialect) == shown
        assert ipsec_set_policy(shown, dialect=dialect) == of_python


@settings(max_examples=300, deadline=None)
@given(data=st.data(), dialect=st.sampled_from(DIALECTS))
def test_both_read_any_bytes_alike(library: Library, data: st.DataObject, dialect: str) -> None:
    vectors = [vector for vector in ACCEPTED if vector.dialect == dialect]
    blob = bytearray(ipsec_set_policy(data.draw(st.sampled_from(vectors)).text, dialect=dialect))
    places, octets = st.integers(4, len(blob) - 1), st.integers(0, 255)
    for at, value in data.draw(st.lists(st.tuples(places, octets), max_size=4)):
        blob[at] = value
    try:
        shown = ipsec_dump_policy(bytes(blob), dialect=dialect)
    except IpsecError as error:
        shown = f"! {error.strerror}"
    # Python writes addresses that are mapped from IPv4 in either way, by its version.
    if "::ffff:" not in shown:
        assert library.dump_policy(bytes(blob), " ", dialect) == shown


@pytest.mark.parametrize(
    "text", ["::", "::1", "1::", "1:0:2::", "0:1::", "1:0:0:2::3", "2001:db8::8:0:1", "::1.0.0.2"]
)
def test_both_write_any_address_alike(library: Library, text: str) -> None:
    blob = ipsec_set_policy(f"in ipsec esp/tunnel/{text}-1:2:3:4:5:6:7:8/use", dialect="freebsd")
    assert library.dump_policy(blob, " ", "freebsd") == ipsec_dump_policy(blob, dialect="freebsd")


def questions() -> Iterator[str]:
    """Everything in the table, every one of its strings cut short, and every policy with a byte changed."""
    for vector in (*ACCEPTED, *REFUSED):
        raw = vector.text.encode()
        for length in range(len(raw) + 1):
            yield f"S {vector.dialect} {raw[:length].hex()}"
    for vector in ACCEPTED:
        blob = ipsec_set_policy(vector.text, dialect=vector.dialect)
        for at in range(4, len(blob)):
            for value in (0, 7, 255):
                yield f"D {vector.dialect} {(blob[:at] + bytes((value,)) + blob[at + 1 :]).hex()}"


def test_no_step_past_an_end(driver: Path) -> None:
    asked = list(questions())
    done = run_c(driver, text="".join(f"{line}\n" for line in asked))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split("\n")) == len(asked) + 1


def test_every_thread_has_its_own_error(driver: Path, tmp_path: Path) -> None:
    done = run_c(driver, "--threads", "16")
    assert (done.returncode, done.stderr) == (0, "")
    racing = tmp_path / "racing"
    compile_c("-std=gnu11", "-g", "-O1", "-fsanitize=thread", *SOURCES, DRIVER, "-pthread", "-o", racing)
    # Where addresses are random in many bits, this sanitizer starts only without.
    done = run_c(Path("setarch"), "-R", str(racing), "--threads", "4")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_analyzer_finds_nothing(tmp_path: Path) -> None:
    need("gcc")
    words = ("-std=gnu11", *WARNINGS, "-Wconversion", "-fanalyzer", "-O2", "-fPIC", "-shared")
    compile_c(*words, *SOURCES, "-o", tmp_path / "libipsec.so")
