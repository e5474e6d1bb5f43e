"""inetd.conf with the policy lines of the manuals: `#@ in ipsec esp/transport//require; out ipsec ...`.

No socket, no user database and no file may enter: what a machine knows (ports, its addresses) is an argument.
Answers to inetd(8) and inetd.conf(5) of the BSDs, and to ipsec(4), "Setting the policy", for the `#@` lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, TypeAlias

from sallet.lang.inetd_policies import (
    MARK,
    NO_POLICIES,
    IpAddress,
    IsLocal,
    Offence,
    PolicyLines,
    Severity,
    SocketPolicies,
    Token,
)
from sallet.lang.lexer import Where

Ports: TypeAlias = Callable[[str, str], int | None]
"""Finds the port of a service's name for `tcp` or `udp`; None where there is none."""

INTERNAL: Final = ("echo", "discard", "daytime")
"""The services that need no program."""
PROTOCOLS: Final[dict[str, tuple[str, int]]] = {
    "tcp": ("tcp", 4),
    "tcp4": ("tcp", 4),
    "tcp6": ("tcp", 6),
    "udp": ("udp", 4),
    "udp4": ("udp", 4),
    "udp6": ("udp", 6),
}
"""Transport and IP version by the protocol's word."""
_TYPES: Final = {"stream": "tcp", "dgram": "udp"}
_TOKEN: Final = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|[^\s]+')
_WAIT: Final = re.compile(r"(?P<word>wait|nowait)(?:\.(?P<minute>[0-9]{1,6})|/(?P<children>[0-9]{1,6}))?")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a file, and where."""

    where: Where
    severity: Severity
    text: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the file."""

    line: int
    address: IpAddress | None
    """The only address it listens on; None for every one."""
    name: str
    port: int
    transport: str
    """`tcp` or `udp`."""
    version: int
    """4 or 6."""
    wait: bool
    per_minute: int | None
    """How many programs are started in a minute at most, if the line says."""
    children_max: int | None
    """How many of its programs run at once at most, if the line says."""
    user: str
    group: str | None
    program: str | None
    """The program's path; None for an internal service."""
    arguments: tuple[str, ...]
    policies: SocketPolicies

    @property
    def key(self) -> tuple[str, int, int, str]:
        """Return what makes it the same service in another file."""
        return self.transport, self.version, self.port, str(self.address or "*")

    def __str__(self) -> str:
        where = f"{self.address}:" if self.address is not None else ""
        return f"{where}{self.name}/{self.transport}{self.version}"


@dataclass(slots=True)
class Configuration:
    """What a file says: its services, and what is wrong with it."""

    services: list[Service] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """Return what keeps the file from being used."""
        return [finding for finding in self.findings if finding.severity == "error"]


def parse(
    text: str,
    *,
    filename: str,
    dialect: str,
    unique: bool,
    ports: Ports,
    is_local: IsLocal | None = None,
) -> Configuration:
    """Read a file whole: every entry that can be used, and everything that is wrong.

    `dialect` is whose policy strings are read, `unique` whether its manual lets a socket ask for that level;
    `is_local` knows this machine's addresses; None where nobody does.
    """
    return _Reader(text, filename, dialect, unique, ports, is_local).read()


class _Reader:
    """Walks over the lines of one file."""

    def __init__(
        self,
        text: str,
        filename: str,
        dialect: str,
        unique: bool,
        ports: Ports,
        is_local: IsLocal | None,
    ) -> None:
        self.lines = text.split("\n")
        self.filename = filename
        self.ports = ports
        self.policy_lines = PolicyLines(dialect, unique, is_local, self._note)
        self.policies = NO_POLICIES
        self.seen: dict[tuple[str, int, int, str], int] = {}
        self.found = Configuration()

    def read(self) -> Configuration:
        """Read the whole file."""
        entry: list[Token] = []
        for number, line in enumerate(self.lines, 1):
            words = [Token(each.group(), number, each.start() + 1) for each in _TOKEN.finditer(line)]
            indented = line[:1] in (" ", "\t") and words != []
            if not indented:
                self._entry(entry)
                entry = []
            if line.startswith(MARK):
                self.policies = self.policy_lines.read(line, number)
            elif indented and words[0].text.startswith(MARK):
                # As a comment it would leave in clear what somebody meant to protect.
                self._note(
                    "error", words[0], "a line of policies begins in the first column", "indent nothing"
                )
            elif words and not words[0].text.startswith("#"):
                entry += words
        self._entry(entry)
        return self.found

    def _note(self, severity: Severity, token: Token, text: str, next_step: str) -> None:
        where = Where(self.filename, token.line, token.column, len(token.text), self.lines[token.line - 1])
        self.found.findings.append(Finding(where, severity, text, next_step))

    def _entry(self, tokens: list[Token]) -> None:
        """Read one service, from however many lines."""
        if not tokens:
            return
        try:
            service = self._service(tokens)
            before = self.seen.setdefault(service.key, service.line)
            if before != service.line:
                raise Offence(tokens[0], f"line {before} has this service already", "remove one of them")
        except Offence as offence:
            self._note("error", offence.token, offence.text, offence.next_step)
            return
        self.found.services.append(service)

    def _service(self, tokens: list[Token]) -> Service:
        fields = ("type", "protocol", "wait or nowait", "user", "program")
        if len(tokens) < len(fields) + 1:
            last = tokens[-1]
            raise Offence(
                Token(" ", last.line, last.column + len(last.text)),
                f"the entry ends before its {fields[len(tokens) - 1]}",
                "write NAME TYPE PROTOCOL WAIT USER PROGRAM ARGUMENTS",
            )
        transport, version = self._protocol(tokens[1], tokens[2])
        address, name = _name(tokens[0], version)
        wait, per_minute, children_max = _waiting(tokens[3])
        user, group, login_class = _user(tokens[4])
        if login_class:
            self._note("warning", tokens[4], "nothing here has classes of login", "remove it")
        program = None if tokens[5].text == "internal" else _unquoted(tokens[5].text)
        self._judge_program(tokens, name, program)
        return Service(
            tokens[0].line,
            address,
            name,
            self._port(tokens[0], name, transport),
            transport,
            version,
            wait,
            per_minute,
            children_max,
            user,
            group,
            program,
            tuple(_unquoted(token.text) for token in tokens[6:]),
            self.policies,
        )

    @staticmethod
    def _protocol(kind: Token, protocol: Token) -> tuple[str, int]:
        if kind.text not in _TYPES:
            raise Offence(kind, "the type of a service is stream or dgram", "write stream for tcp")
        if protocol.text not in PROTOCOLS:
            raise Offence(protocol, "this protocol is not served", f"write one of {', '.join(PROTOCOLS)}")
        transport, version = PROTOCOLS[protocol.text]
        if _TYPES[kind.text] != transport:
            raise Offence(
                protocol, f"{kind.text} is not {transport}", "stream goes with tcp and dgram with udp"
            )
        return transport, version

    def _port(self, token: Token, name: str, transport: str) -> int:
        port = int(name) if name.isascii() and name.isdigit() else self.ports(name, transport)
        if port is None or not 0 < port < 65536:
            raise Offence(
                token, f"no port is known for {name}/{transport}", "write a number, or add it to services(5)"
            )
        return port

    @staticmethod
    def _judge_program(tokens: list[Token], name: str, program: str | None) -> None:
        if program is None and name not in INTERNAL:
            raise Offence(
                tokens[0], f"there is no internal service {name}", f"these are: {', '.join(INTERNAL)}"
            )
        if program is not None and not program.startswith("/"):
            raise Offence(tokens[5], "the program is no absolute path", "write it from / on, or `internal'")


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0] else text


def _name(token: Token, version: int) -> tuple[IpAddress | None, str]:
    """Read `NAME`, `ADDRESS:NAME` or `[ADDRESS]:NAME`; the address may be `*`."""
    before, colon, name = token.text.rpartition(":")
    if not colon or before == "*":
        return None, name
    try:
        address = ip_address(before.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise Offence(token, f"`{before}' is no address", "write ADDRESS:SERVICE, in numbers") from None
    if address.version != version:
        raise Offence(token, f"{address} is not an address of IPv{version}", "choose the other protocol")
    return address, name


def _waiting(token: Token) -> tuple[bool, int | None, int | None]:
    found = _WAIT.fullmatch(token.text)
    if found is None:
        raise Offence(token, "here stands wait or nowait", "nowait.N bounds a minute, nowait/N the children")
    minute, children = found["minute"], found["children"]
    return found["word"] == "wait", int(minute) if minute else None, int(children) if children else None


def _user(token: Token) -> tuple[str, str | None, str]:
    """Read `USER[:GROUP][/CLASS]`."""
    names, _, login_class = token.text.partition("/")
    user, _, group = names.partition(":")
    if not user:
        raise Offence(token, "the user is missing", "write USER or USER:GROUP")
    return user, group or None, login_class
