"""What IPsec decides about a packet, written to be read: lists, loops and whole sets, no index and no ring.

Nothing of sallet, no cryptography and no packet bytes may enter: a packet is its addresses, protocol, ports.
Answers to: RFC 4301 sections 4.4.1, 5.1 and 5.2, RFC 4303 section 3.4.3, `ipsec(4)` (levels, def_policy).

Left out on purpose, to be kept out of the packets that drive it beside the engine: hop limits, path MTU,
UDP encapsulation, what ICMP errors quote (section 6.2), how much an algorithm adds (`Sa.grows` says it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import count
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Range = tuple[Address, Address]
Ends = tuple[Address, Address]  # source and destination
Ports = tuple[int, int]
Name = tuple[int, str, Address]
# bypass, discard or protect; the entry that says so; its templates, each with its SA if there is one
Explanation = tuple[str, int | None, list[tuple["Template", Name | None]]]

ANY_PORT: Ports = (0, 65535)
OUTER_BYTES = {4: 20, 6: 40}
NUMBERS = {"esp": 50, "ah": 51, "ipcomp": 108}
ICMPV6, NEIGHBOUR_DISCOVERY, IP_IN_IP = 58, range(133, 138), {4: 4, 6: 41}
PORTS, ICMP, OPAQUE, ABSENT = "ports", "icmp", "opaque", "absent"


def net(text: str) -> Range:
    """The range of a prefix."""
    whole = ip_network(text)
    return whole[0], whole[-1]


@dataclass(frozen=True)
class Packet:
    """One cleartext packet as the SPD sees it."""

    ends: Ends
    next_layer: int
    shows: str = ABSENT  # or PORTS, ICMP, OPAQUE (a later fragment, a cut header); ABSENT: has none
    values: Ports = (0, 0)  # the ports, or ICMP's type and code
    fragment: bool = False
    total_bytes: int = 100
    header_bytes: int = 20

    @property
    def is_neighbour_discovery(self) -> bool:
        """Whether IPv6 itself would stop without this packet; it is always in clear."""
        kind = (self.ends[0].version, self.next_layer, self.shows)
        return kind == (6, ICMPV6, ICMP) and self.values[0] in NEIGHBOUR_DISCOVERY


@dataclass(frozen=True)
class Selector:
    """Ranges that a packet is compared with; `next_layer` None is any protocol."""

    source: Range
    destination: Range
    next_layer: int | None = None
    source_ports: Ports = ANY_PORT
    destination_ports: Ports = ANY_PORT

    def matches(self, packet: Packet) -> bool:
        """Whether the packet lies in every range; ports that it does not show lie in ANY only."""
        if self.next_layer not in (None, packet.next_layer):
            return False
        source, destination = packet.ends
        if not (inside(source, self.source) and inside(destination, self.destination)):
            return False
        if packet.shows in (OPAQUE, ABSENT):
            return self.source_ports == self.destination_ports == ANY_PORT
        pairs = zip(packet.values, (self.source_ports, self.destination_ports), strict=True)
        return all(first <= value <= last for value, (first, last) in pairs)


def inside(address: Address, wanted: Range) -> bool:
    """Whether an address is of the range's family and in the range."""
    return address.version == wanted[0].version and int(wanted[0]) <= int(address) <= int(wanted[1])


class Template(NamedTuple):
    """What a policy asks of one SA; the first template of a policy is the innermost."""

    protocol: str = "esp"
    mode: str = "transport"
    level: str = "require"
    reqid: int = 0
    endpoints: Ends | None = None


@dataclass
class Policy:
    """One SPD entry. `id`, `serial` and times are the model's."""

    direction: str
    selector: Selector
    action: str
    templates: Sequence[Template] = ()
    priority: int = 0x80000000
    judges_forwarded: bool = False
    add_secs: int = 0
    use_secs: int = 0
    id: int = 0
    serial: int = 0
    added: int = 0
    last_used: int = 0

    def judges(self, direction: str) -> bool:
        """Whether it stands in this list, or is an `in` entry that also judges forwarded packets."""
        also = (self.direction, direction) == ("in", "fwd") and self.judges_forwarded
        return also or self.direction == direction

    def ended(self, now: int) -> bool:
        """Whether one of its two lifetimes is over: since it was added, or without use."""
        lives = ((self.added, self.add_secs), (self.last_used, self.use_secs))
        return any(secs and now >= start + secs for start, secs in lives)


class Limits(NamedTuple):
    """Four limits at once, 0 is none."""

    bytes: int = 0
    packets: int = 0
    add_secs: int = 0
    use_secs: int = 0


@dataclass
class Sa:
    """One security association with all that it remembers."""

    spi: int
    ends: Ends
    protocol: str = "esp"
    mode: str = "any"
    reqid: int = 0
    larval: bool = False
    replay_window: int = 0
    soft: Limits = field(default_factory=Limits)
    hard: Limits = field(default_factory=Limits)
    grows: Callable[[int], int] = lambda sealed: sealed
    serial: int = 0
    added: int = 0
    first_used: int | None = None
    bytes: int = 0
    packets: int = 0
    sent: int = 0
    seen: set[int] = field(default_factory=set)
    reported: str = ""

    @property
    def name(self) -> Name:
        """What it is found by, inbound."""
        return self.spi, self.protocol, self.ends[1]

    @property
    def state(self) -> str:
        """RFC 2367's word for how it is."""
        if self.reported == "hard":
            return "dead"
        return "larval" if self.larval else "dying" if self.reported == "soft" else "mature"

    @property
    def usable(self) -> bool:
        """Whether it may carry packets."""
        return self.state in ("mature", "dying")

    def reached(self, limits: Limits, now: int) -> bool:
        """Whether any of the limits is reached."""
        used_secs = 0 if self.first_used is None else now - self.first_used
        amounts = (self.bytes, self.packets, now - self.added, used_secs)
        return any(limit and amount >= limit for limit, amount in zip(limits, amounts, strict=True))

    def report(self, now: int) -> str:
        """The limit that was reached and not reported: hard before soft, each once, nothing after hard."""
        for word, limits, before in (("hard", self.hard, ("", "soft")), ("soft", self.soft, ("",))):
            if self.reported in before and self.reached(limits, now):
                self.reported = word
                return word
        return ""

    def is_new(self, sequence: int) -> bool:
        """Whether a sequence number may be accepted, by the set of all that were."""
        if self.replay_window == 0:
            return True
        top = max(self.seen, default=0)
        return sequence > 0 and sequence not in self.seen and sequence > top - self.replay_window


class Seal(NamedTuple):
    """One layer of a packet on the wire: the header that carries it and what is under it."""

    spi: int
    ends: Ends
    sequence: int
    inside: str = "transport"  # the rest of the same packet; or "tunnel", a whole one; or "dummy"
    protocol: str = "esp"
    authentic: bool = True
    fragment: bool = False
    carried_bytes: int = 100


class Hop(NamedTuple):
    """An SA that an inbound packet came through."""

    sa: Sa
    mode: str

    def serves(self, template: Template) -> bool:
        """Whether it is what a template asks for; only tunnels have ends of their own."""
        ends = None if self.mode == "transport" else template.endpoints
        return (
            self.sa.protocol == template.protocol
            and template.mode in ("any", self.mode)
            and template.reqid in (0, self.sa.reqid)
            and ends in (None, self.sa.ends)
        )


Link = tuple[Sa, str]  # an SA that will seal, and its mode


class Decision(NamedTuple):
    """What becomes of a packet, why, and by which SAs (in the order in which they are applied or undone)."""

    verdict: str  # bypass, protect, deliver or drop
    reason: str = ""
    policy: int | None = None
    used: tuple[Name, ...] = ()


@dataclass
class Config:
    """What the model may be told."""

    default_policy: str = "bypass"
    levels: dict[tuple[str, str], str] = field(default_factory=dict)  # by protocol and mode; else "use"
    prefer_old_sa: bool = False
    local: Sequence[Range] | None = None

    def level(self, template: Template) -> str:
        """The level that counts: `default` is looked up, and mode `any` counts as transport there."""
        mode = "tunnel" if template.mode == "tunnel" else "transport"
        default = self.levels.get((template.protocol, mode), "use")
        return default if template.level == "default" else template.level

    def is_local(self, address: Address) -> bool:
        """Whether an address is this host's; without a list every one is."""
        return self.local is None or any(inside(address, each) for each in self.local)


class Model:
    """A host's SPD and SAD, the time, and what was reported to key managers (`events`)."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.now = 0
        self.policies: list[Policy] = []
        self.sas: list[Sa] = []
        self.events: list[tuple[object, ...]] = []
        self._ids, self._serials = count(1), count(1)

    def add_policy(self, policy: Policy) -> Policy | None:
        """Adds an entry behind those of its priority; None if its list has this selector."""
        if self.find_policy(policy.direction, policy.selector):
            return None
        return self._put_policy(policy, next(self._ids), next(self._serials))

    def update_policy(self, policy: Policy) -> Policy | None:
        """Replaces the entry with this selector, or adds one; id stays, and place if priority does."""
        old = self.find_policy(policy.direction, policy.selector)
        if old is None:
            return self.add_policy(policy)
        self.policies.remove(old)
        stays = old.priority == policy.priority
        return self._put_policy(policy, old.id, old.serial if stays else next(self._serials))

    def _put_policy(self, policy: Policy, number: int, serial: int) -> Policy:
        new = replace(policy, id=number, serial=serial, added=self.now, last_used=self.now)
        self.policies.append(new)
        return new

    def find_policy(self, direction: str, selector: Selector) -> Policy | None:
        """The entry with exactly this selector."""
        return next((p for p in self.policies if (p.direction, p.selector) == (direction, selector)), None)

    def add_sa(self, sa: Sa) -> Sa | None:
        """Adds an SA (a larval one, too); None if its name is taken."""
        if self.find_sa(sa.name):
            return None
        new = replace(sa, serial=next(self._serials), added=self.now, seen=set())
        self.sas.append(new)
        return new

    def update_sa(self, sa: Sa) -> Sa | None:
        """Gives a larval SA its life, a living one other lifetimes; None without such an SA."""
        old = self.find_sa(sa.name)
        if old is None:
            return None
        new = replace(old, soft=sa.soft, hard=sa.hard, reported="")
        if old.larval:
            new = replace(sa, larval=False, serial=old.serial, added=self.now, seen=set())
        self.sas[self.sas.index(old)] = new
        self._expire(new)
        return new

    def find_sa(self, name: Name, among: Sequence[Sa] | None = None) -> Sa | None:
        """The SA with this name."""
        return next((each for each in (self.sas if among is None else among) if each.name == name), None)

    def advance(self, secs: int) -> None:
        """Lets time pass, then reports what ended and takes it out."""
        self.now += secs
        for sa in list(self.sas):
            self._expire(sa)
        for policy in [each for each in self.policies if each.ended(self.now)]:
            self.policies.remove(policy)
            self.events.append(("policy-expire", policy.id))

    def _expire(self, sa: Sa) -> None:
        limit = sa.report(self.now)
        if limit:
            self.events.append(("expire", sa.name, limit))
        if limit == "hard":
            self.sas = [each for each in self.sas if each is not sa]

    def _account(self, sa: Sa, carried: int) -> None:
        sa.bytes, sa.packets = sa.bytes + carried, sa.packets + 1
        sa.first_used = self.now if sa.first_used is None else sa.first_used
        self._expire(sa)

    def lookup(self, direction: str, packet: Packet) -> Policy | None:
        """The first entry that matches, by priority, then age."""
        judging = [each for each in self.policies if each.judges(direction)]
        matching = [each for each in judging if each.selector.matches(packet)]
        return min(matching, key=lambda each: (each.priority, each.serial), default=None)

    def choose_sa(self, template: Template, ends: Ends) -> Link | None:
        """The SA for a template and the mode it will have, for a packet with these ends."""
        wanted = ends if template.mode == "transport" else template.endpoints or ends
        candidates = []
        for sa in self.sas:
            mode = mode_together(template.mode, sa.mode, wanted == ends)
            fits = (sa.protocol, sa.ends) == (template.protocol, wanted) and template.reqid in (0, sa.reqid)
            if mode and fits and sa.usable:
                candidates.append((sa, mode))
        if self.config.prefer_old_sa:
            return min(candidates, key=lambda each: each[0].serial, default=None)
        return max(candidates, key=lambda each: (each[0].state == "mature", each[0].serial), default=None)

    def chain(self, policy: Policy, packet: Packet) -> Iterator[tuple[Template, Link | None]]:
        """The templates that apply, innermost first, each with its SA; `use` without an SA does not apply."""
        ends = packet.ends
        for template in policy.templates:
            found = self.choose_sa(template, ends)
            if found is None and self.config.level(template) == "use":
                continue
            yield template, found
            if found and found[1] == "tunnel":
                ends = found[0].ends

    def outbound(self, packet: Packet) -> Decision:
        """Decides about a packet that leaves, and counts it."""
        if packet.is_neighbour_discovery:
            return Decision("bypass")
        policy = self.lookup("out", packet)
        if policy is None:
            discards = self.config.default_policy == "discard"
            return Decision("drop", "OutNoPolicy") if discards else Decision("bypass")
        policy.last_used = self.now
        if policy.action == "discard":
            return Decision("drop", "OutPolicyDiscard", policy.id)
        links: list[Link] = []
        for template, found in self.chain(policy, packet):
            if found is None:
                self.events.append(("acquire", policy.id, template))
                return Decision("drop", "OutNoSa", policy.id)
            if not links and found[1] == "transport" and packet.fragment:
                return Decision("drop", "OutFragment", policy.id)
            links.append(found)
        return self._seal(policy, packet, links) if links else Decision("bypass", policy=policy.id)

    def _seal(self, policy: Policy, packet: Packet, links: list[Link]) -> Decision:
        total, header = packet.total_bytes, packet.header_bytes
        for sa, mode in links:
            self._expire(sa)
            if not sa.usable:  # one SA may serve two templates, and have ended in between
                return Decision("drop", "OutExpired", policy.id)
            sa.sent += 1
            carried = total if mode == "tunnel" else total - header
            header = header if mode == "transport" else OUTER_BYTES[sa.ends[1].version]
            total = header + sa.grows(carried)
            self._account(sa, carried)
        return Decision("protect", policy=policy.id, used=tuple(sa.name for sa, _ in links))

    def inbound(self, packet: Packet, seals: Sequence[Seal] = ()) -> Decision:
        """Decides about a packet that arrives under these seals, outermost first, and counts it."""
        path, held = list[Hop](), list(self.sas)  # an SA that ends here leaves when the packet is through
        for seal, ends in zip(seals, [*(seal.ends for seal in seals[1:]), packet.ends], strict=False):
            if not self.config.is_local(seal.ends[1]):
                return self._check(Packet(seal.ends, NUMBERS[seal.protocol]), path)
            found = self._unseal(seal, held)
            if isinstance(found, str):
                return Decision("drop", found, used=tuple(hop.sa.name for hop in path))
            path.append(found)
            if found.mode != seal.inside:  # a whole packet is mere payload to a transport SA
                return self._check(Packet(seal.ends, IP_IN_IP[ends[1].version]), path)
            if found.mode == "tunnel" and self.config.local and self.config.is_local(ends[0]):
                return Decision("drop", "InPolicyViolation", used=tuple(hop.sa.name for hop in path))
        return self._check(packet, path)

    def _unseal(self, seal: Seal, held: Sequence[Sa]) -> Hop | str:
        """Undoes one seal: what is left to believe of it, or the reason to drop the packet."""
        if seal.fragment:
            return "InFragment"
        sa = self.find_sa((seal.spi, seal.protocol, seal.ends[1]), held)
        if sa is None:
            return "InNoSa"
        self._expire(sa)
        if not sa.usable:
            return "InExpired"
        if not sa.is_new(seal.sequence):
            return "Replay"
        if not seal.authentic:
            return "AuthFailed"
        sa.seen.add(seal.sequence)
        self._account(sa, seal.carried_bytes)
        if seal.inside == "dummy":
            return "Dummy"
        mode = seal.inside if sa.mode == "any" else sa.mode
        if mode == "tunnel" and seal.inside == "transport":
            return "BadPadding"
        if mode == "transport" and seal.ends != sa.ends:
            return "InPolicyViolation"
        return Hop(sa, mode)

    def _check(self, packet: Packet, path: Sequence[Hop]) -> Decision:
        """Compares what is left with policy, and policy with the SAs it came through."""
        if packet.is_neighbour_discovery and not path:
            return Decision("deliver")
        policy = self.lookup("in" if self.config.is_local(packet.ends[1]) else "fwd", packet)
        number, used = policy.id if policy else None, tuple(hop.sa.name for hop in path)
        action = policy.action if policy else self.config.default_policy
        if policy:
            policy.last_used = self.now
        if action == "discard":
            return Decision("drop", "InPolicyDiscard" if policy else "InNoPolicy", number, used)
        # Without templates no tunnel is accounted for, so a peer cannot speak for addresses not its own.
        if self.accounts_for(policy.templates if policy else (), path):
            return Decision("deliver", "", number, used)
        return Decision("drop", "InPolicyViolation", number, used)

    def accounts_for(self, templates: Sequence[Template], path: Sequence[Hop]) -> bool:
        """Whether hops and templates can be paired from the innermost out.

        A template stays alone only if it is `use` (or IPComp, which packets that do not shrink lack),
        a hop only if it is transport: more protection than asked for does no harm.
        """
        if not templates and not path:
            return True
        both = templates and path and path[-1].serves(templates[0])
        lax = templates and (self.config.level(templates[0]) == "use" or templates[0].protocol == "ipcomp")
        harmless = path and path[-1].mode == "transport"
        return bool(
            (both and self.accounts_for(templates[1:], path[:-1]))
            or (harmless and self.accounts_for(templates, path[:-1]))
            or (lax and self.accounts_for(templates[1:], path))
        )

    def explain(self, direction: str, packet: Packet) -> Explanation:
        """What would become of a cleartext packet; nothing is counted."""
        if packet.is_neighbour_discovery:
            return "bypass", None, []
        policy = self.lookup(direction, packet)
        if policy is None:
            return self.config.default_policy, None, []
        if policy.action != "protect" or direction != "out":
            refused = policy.action == "discard" or not self.accounts_for(policy.templates, ())
            return "discard" if refused else "bypass", policy.id, []
        chain = list(self.chain(policy, packet))
        first = chain[0][1] if chain else None
        if packet.fragment and first and first[1] == "transport":
            return "discard", policy.id, []
        shown = [(template, found[0].name if found else None) for template, found in chain]
        return "protect" if chain else "bypass", policy.id, shown


def mode_together(asked: str, offered: str, own_ends: bool) -> str:
    """The mode in which an SA serves a template, "" if it cannot; transport needs the packet's own ends."""
    if asked == offered == "any":
        return "transport" if own_ends else "tunnel"
    if "any" not in (asked, offered) and asked != offered:
        return ""
    mode = offered if asked == "any" else asked
    return mode if own_ends or mode == "tunnel" else ""
