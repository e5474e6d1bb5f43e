"""What a person should know about a statement of setkey that is carried out all the same.

No message and no decision may enter: a remark changes nothing. Answers to setkey(8) for what the old tools
warn about, and to RFC 8221, RFC 4303 and the manuals' words on `unique` for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sallet.lang.forms import FORMS, Form
from sallet.lang.setkey_messages import pairs
from sallet.lang.statements import AddSa, Algorithm, IpAddress, NameSa, PolicyStatement, Statement
from sallet.lang.words import AUTHENTICATION, COMBINED, ENCRYPTION

_COUNTER_MODES: Final = ("aes-ctr", "aes-gcm", "aes-ccm", "aes-gmac", "chacha20")
"""One IV twice under one key gives these away (RFC 3686 section 2.1, RFC 4106 section 9)."""

_OBSOLETE: Final = "the words behind the SPI change nothing: an SA is named by addresses, protocol and SPI"
_WEAK_KEYS: Final = frozenset({"des-cbc", "3des-cbc", "des-deriv", "des-iv32", "des-iv64"})


def remarks(statement: Statement, form: str) -> list[str]:
    """Return what is worth knowing about a statement in this form."""
    row = FORMS[form]
    found: list[str] = []
    if isinstance(statement, NameSa):
        if statement.remark:
            found.append(_OBSOLETE if row.transaction else statement.remark)
        found += _several(statement.sources, statement.destinations, row)
    elif isinstance(statement, AddSa):
        found += _several(statement.sources, statement.destinations, row)
        if row.transaction:
            found += _association(statement)
    elif isinstance(statement, PolicyStatement):
        found += _several(statement.source.addresses, statement.destination.addresses, row)
        found += _renumbered(statement, row)
    return found


def invalid(statement: Statement) -> tuple[str, str] | None:
    """Return why a daemon finds an association invalid, and what to do; None where nobody can tell."""
    if not isinstance(statement, AddSa):
        return None
    cipher, mac = statement.encryption, statement.authentication
    if mac is None or mac.name == "null-auth":
        add_mac = "write for example -A hmac-sha256 and its key"
        if cipher is None or cipher.name == "null":
            return "it would protect nothing (RFC 4303 section 3.2)", add_mac
        if cipher.name == "aes-ctr":
            return "aes-ctr alone lets anybody change what it hides (RFC 3686 section 7)", add_mac
    if cipher is not None and cipher.name in _WEAK_KEYS:
        return f"this may be a weak key of {cipher.word} (RFC 2451 section 2.3)", "choose a random key"
    return None


def _several(sources: tuple[IpAddress, ...], destinations: tuple[IpAddress, ...], row: Form) -> Iterator[str]:
    """Say of names with several addresses which pairs they make; ipsec-tools on Linux says nothing."""
    if len(sources) == len(destinations) == 1 or row.errors == "ipsec-tools":
        return
    made = [f"{source} {destination}" for source, destination in pairs(sources, destinations)]
    yield f"the names stand for {len(made)} pairs of addresses, each with its message: {', '.join(made)}"


def _renumbered(statement: PolicyStatement, row: Form) -> Iterator[str]:
    """Say of a number that the system replaces that it does."""
    for request in statement.policy.requests:
        if row.renumbers_above and request.reqid > row.renumbers_above:
            yield (
                f"WARNING: unique:{request.reqid} is above {row.renumbers_above}; "
                "the system gives it another number, which -DP shows"
            )


def _association(statement: AddSa) -> Iterator[str]:
    """Say what an association protects less than it seems to."""
    padding = statement.extensions.padding
    if padding in ("random-pad", "zero-pad"):
        yield f"-f {padding} has no effect: padding is 1, 2, 3 … (RFC 4303 section 2.4)"
    cipher = statement.encryption
    if cipher and statement.authentication is None and cipher.name not in {*COMBINED, "null"}:
        yield f"{cipher.word} without -A does not notice changed packets"
    if cipher and cipher.name.startswith(_COUNTER_MODES):
        yield (
            f"{cipher.word} with a manual key: after a restart only its random IV epoch keeps IVs apart;"
            " give it a new key then (RFC 8221 section 3)"
        )
    yield from _legacy(cipher, statement.authentication)


def _legacy(cipher: Algorithm | None, mac: Algorithm | None) -> Iterator[str]:
    for words, algorithm in ((ENCRYPTION, cipher), (AUTHENTICATION, mac)):
        if algorithm and words[algorithm.word].legacy:
            yield f"{algorithm.word} is for peers that know nothing better (RFC 8221)"
