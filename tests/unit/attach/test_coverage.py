"""Coverage: ranges are merged without losing or gaining an address.

Answers to: sallet.attach.coverage.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from sallet.attach.coverage import Coverage, Range, is_whole_family, range_text

small = st.integers(0, 40)
ranges = st.lists(st.tuples(small, st.integers(0, 6)), max_size=12)


def made(pairs: list[tuple[int, int]]) -> list[Range]:
    base = int(IPv4Address("10.0.0.0"))
    return [(IPv4Address(base + first), IPv4Address(base + first + more)) for first, more in pairs]


@given(ranges)
def test_the_same_addresses_are_covered(pairs: list[tuple[int, int]]) -> None:
    coverage = Coverage.of(4, made(pairs))
    covered = {number for first, last in coverage.ranges for number in range(first, last + 1)}
    wanted = {number for first, last in made(pairs) for number in range(int(first), int(last) + 1)}
    assert covered == wanted
    gaps = zip(coverage.ranges, coverage.ranges[1:], strict=False)
    assert all(after[0] > before[1] + 1 for before, after in gaps), "nft refuses ranges that overlap"


@given(ranges)
def test_prefixes_cover_the_same(pairs: list[tuple[int, int]]) -> None:
    coverage = Coverage.of(4, made(pairs))
    covered = [int(address) for prefix in coverage.prefixes() for address in prefix]
    assert covered == [number for first, last in coverage.ranges for number in range(first, last + 1)]


def test_families_are_kept_apart() -> None:
    mixed: list[Range] = [
        (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.1")),
        (IPv6Address("::"), IPv6Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
    ]
    assert Coverage.of(4, mixed).elements() == ["10.0.0.1"]
    assert Coverage.of(6, mixed).is_everything
    assert Coverage.of(6, mixed[:1]).is_empty
    assert is_whole_family(mixed[1])
    assert not is_whole_family(mixed[0])


def test_everything_is_one_prefix() -> None:
    assert [str(prefix) for prefix in Coverage.everything(6).prefixes()] == ["::/0"]
    assert range_text((ip_address("10.0.0.1"), ip_address("10.0.0.9"))) == "10.0.0.1-10.0.0.9"
