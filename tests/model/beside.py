"""An engine and the reference model side by side: every request goes to both, every answer is compared.

No expectation may enter: the model says what is right, and whoever finds a difference decides by the RFC.
Answers to: RFC 4301 sections 4.4, 5.1 and 5.2; `sallet._core` for the engine's words.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from model import reference_model as model
from model.packets import SEED, SUITES, Wire, suite
from sallet import Engine, EngineError, Outcome, PolicyParams, SaParams, Selector, Template
from sallet import Limits as EngineLimits
from sallet._core import AcquireEvent, ExpireEvent, NewMappingEvent, PolicyAcquireEvent, PolicyExpireEvent

MATCHED = re.compile(r"SPD entry (\d+) \(\w+\) matched")
LARVAL_SECS = 30
SEALED = re.compile(r"(?:sealed|opened) by (\w+) 0x([0-9a-f]+) for ([0-9a-f.:]+),")


class Answer(NamedTuple):
    """What one of the two said about a packet."""

    verdict: str
    reason: str
    policy: int | None
    used: tuple[tuple[int, str, str], ...]


def selector(of: model.Selector) -> Selector:
    return Selector(of.source, of.destination, of.next_layer, of.source_ports, of.destination_ports)


def template(of: model.Template) -> Template:
    return Template(of.protocol, of.mode, of.level, of.reqid, of.endpoints)


def template_back(of: Template) -> model.Template:
    return model.Template(of.protocol, of.mode, of.level, of.reqid, of.endpoints)


def policy_params(of: model.Policy) -> PolicyParams:
    return PolicyParams(
        of.direction,
        selector(of.selector),
        of.action,
        [template(each) for each in of.templates],
        priority=of.priority,
        judges_forwarded=of.judges_forwarded,
        add_secs=of.add_secs,
        use_secs=of.use_secs,
    )


def limits(of: model.Limits) -> EngineLimits:
    return EngineLimits(**of._asdict())


def sa_params(of: model.Sa) -> SaParams:
    encryption, authentication = suite(of.spi)
    return SaParams(
        spi=of.spi,
        protocol=of.protocol,
        source=of.ends[0],
        destination=of.ends[1],
        mode=of.mode,
        reqid=of.reqid,
        encryption=encryption,
        authentication=authentication,
        replay_window=of.replay_window,
        soft=limits(of.soft),
        hard=limits(of.hard),
    )


class Beside:
    """The pair. Every method asserts that both answer the same."""

    def __init__(self, config: model.Config) -> None:
        self.config = config
        self.model = model.Model(config)
        self.engine = Engine(seed=SEED, clock="manual", configuration=configuration(config))
        self.log: list[object] = [config]
        self.packet: Wire | None = None

    # --- requests ------------------------------------------------------------------------------------

    def add_policy(self, policy: model.Policy) -> bool:
        """Adds an SPD entry, which both refuse if its list has this selector."""
        self.log.append(policy)
        return self._put_policy(self.model.add_policy(policy), self._spd("add", policy))

    def update_policy(self, policy: model.Policy) -> bool:
        """Replaces or adds an SPD entry."""
        self.log.append(("update", policy))
        return self._put_policy(self.model.update_policy(policy), self._spd("update", policy))

    def _spd(self, how: str, policy: model.Policy) -> int | None:
        request = self.engine.spd_add if how == "add" else self.engine.spd_update
        try:
            return request(policy_params(policy)).id
        except EngineError as error:
            self.same(error.kind, "exists")
            return None

    def _put_policy(self, ours: model.Policy | None, theirs: int | None) -> bool:
        self.same(theirs, ours.id if ours else None)
        return ours is not None

    def remove_policy(self, policy: model.Policy) -> None:
        """Takes out an SPD entry that is there."""
        self.log.append(("remove", policy.id))
        self.model.policies.remove(policy)
        self.same(self.engine.spd_delete(policy.direction, selector(policy.selector)).id, policy.id)

    def add_sa(self, sa: model.Sa) -> bool:
        """Adds an SA, or reserves its SPI if it is larval; both refuse a name that is taken."""
        sa = replace(sa, grows=SUITES[sa.spi % len(SUITES)][2])
        if sa.larval:
            sa = replace(sa, soft=model.Limits(), hard=model.Limits(add_secs=LARVAL_SECS))
        self.log.append(sa)
        ours = self.model.add_sa(sa)
        try:
            if sa.larval:
                asked = {"mode": sa.mode, "reqid": sa.reqid, "minimum": sa.spi, "maximum": sa.spi}
                self.engine.sad_getspi(sa.protocol, *sa.ends, **asked)  # type: ignore[arg-type]
            else:
                self.engine.sad_add(sa_params(sa))
        except EngineError as error:
            self.same(error.kind, "spi-exhausted" if sa.larval else "exists")
            self.same(ours, None)
        return ours is not None

    def update_sa(self, sa: model.Sa) -> None:
        """Gives a larval SA its keys, or a living one other lifetimes."""
        sa = replace(sa, grows=SUITES[sa.spi % len(SUITES)][2], larval=False)
        self.log.append(("update", sa))
        old = self.model.find_sa(sa.name)
        assert old is not None
        self.model.update_sa(sa)
        self.engine.sad_update(sa_params(sa))
        self.check_events()

    def remove_sa(self, sa: model.Sa) -> None:
        """Takes out an SA that is there."""
        self.log.append(("remove", sa.name))
        self.model.sas = [each for each in self.model.sas if each is not sa]
        self.same(self.engine.sad_delete(*sa.name).spi, sa.spi)

    def advance(self, secs: int) -> None:
        """Lets time pass for both."""
        self.log.append(("advance", secs))
        self.model.advance(secs)
        self.engine.advance(secs)
        self.check_events(in_order=False)

    # --- packets -------------------------------------------------------------------------------------

    def outbound(self, wire: Wire) -> model.Decision:
        """Sends one packet, after asking both what would happen."""
        self.packet = wire
        self.explain("out", wire)
        said = self.model.outbound(wire.packet)
        outcome = self.engine.outbound(wire.data, journey=True)
        verdict = "drop" if outcome.dropped else "bypass" if outcome.protected_by is None else "protect"
        self.same(answer(outcome, verdict), expected(said))
        if verdict == "bypass":
            self.same(outcome.transmitted, [wire.data])
        if verdict == "protect":
            self.same(outcome.protected_by, said.used[-1][0])
        self.check_events()
        return said

    def inbound(self, wire: Wire) -> model.Decision:
        """Receives one packet, in clear or sealed."""
        self.packet = wire
        if not wire.seals:
            direction = "in" if self.config.is_local(wire.packet.ends[1]) else "fwd"
            self.explain(direction, wire)
        said = self.model.inbound(wire.packet, wire.seals)
        outcome = self.engine.inbound(wire.data, journey=True)
        theirs = answer(outcome, "drop" if outcome.dropped else "deliver")
        # An SA that opened a packet and then refused it is in the journey, but not on the path.
        self.same(theirs._replace(used=theirs.used[: len(said.used)]), expected(said))
        if said.verdict == "deliver" and self.whole(wire, said):
            self.same(outcome.delivered, [wire.inner])
        self.check_events()
        return said

    def whole(self, wire: Wire, said: model.Decision) -> bool:
        """Whether every layer was undone, none as the mere payload of a transport SA."""
        opened = [self.model.find_sa(name) for name in said.used]
        return len(opened) == len(wire.seals) and all(
            sa is not None and sa.mode in ("any", seal.inside)
            for sa, seal in zip(opened, wire.seals, strict=True)
        )

    def explain(self, direction: str, wire: Wire) -> None:
        """Asks both what would become of a packet in clear."""
        verdict = self.engine.explain(direction, wire.data)
        theirs = verdict.action, verdict.policy, [(template_back(t), spi) for t, spi in verdict.templates]
        action, policy, shown = self.model.explain(direction, wire.packet)
        self.same(theirs, (action, policy, [(each, name[0] if name else None) for each, name in shown]))

    # --- comparisons ---------------------------------------------------------------------------------

    def check_events(self, *, in_order: bool = True) -> None:
        """Compares what key managers hear; both forget it then."""
        # The model has no wire: it cannot know that a peer has moved.
        events = self.engine.take_events()
        told = [event for event in events if not isinstance(event, NewMappingEvent | PolicyAcquireEvent)]
        theirs = [event_back(event) for event in told]
        ours, self.model.events = self.model.events, []
        if in_order:
            self.same(theirs, ours)
        else:
            self.same(sorted(map(repr, theirs)), sorted(map(repr, ours)))

    def check_databases(self) -> None:
        """Compares all that both remember about SAs and SPD entries."""
        theirs = [
            (
                (sa.spi, sa.protocol, sa.destination),
                sa.state,
                sa.bytes,
                sa.packets,
                sa.sequence,
                None if sa.first_used is None else sa.first_used - sa.created,
            )
            for sa in self.engine.sad_dump()
        ]
        self.same(theirs, [remembered(sa) for sa in self.model.sas])
        ids = sorted(policy.id for policy in self.model.policies)
        self.same([policy.id for policy in self.engine.spd_dump()], ids)

    def check_deadline(self) -> None:
        """The engine must ask to be woken, and not later than anything ends."""
        ends = [end for sa in self.model.sas for end in endings(sa)]
        for policy in self.model.policies:
            lives = ((policy.added, policy.add_secs), (policy.last_used, policy.use_secs))
            ends += [start + secs for start, secs in lives if secs]
        if ends:
            waits = self.engine.poll_timeout()
            self.same(waits is not None and waits <= max(0, min(ends) - self.model.now), True)

    def same(self, theirs: object, ours: object) -> None:
        """Fails with everything that led here."""
        if theirs != ours:
            told = "\n".join(f"  {each}" for each in [*self.log, self.packet])
            raise AssertionError(f"engine: {theirs}\nmodel:  {ours}\nafter:\n{told}")


def remembered(sa: model.Sa) -> tuple[object, ...]:
    sequence = max([sa.sent, *sa.seen])
    used = None if sa.first_used is None else sa.first_used - sa.added
    return sa.name, sa.state, sa.bytes, sa.packets, sequence, used


def endings(sa: model.Sa) -> list[int]:
    """The moments at which time alone ends something about an SA that was not reported yet."""
    waiting = {"": (sa.soft, sa.hard), "soft": (sa.hard,)}.get(sa.reported, ())
    ends = [sa.added + each.add_secs for each in waiting if each.add_secs]
    if sa.first_used is not None:
        ends += [sa.first_used + each.use_secs for each in waiting if each.use_secs]
    return ends


def answer(outcome: Outcome, verdict: str) -> Answer:
    """What the engine said: the verdict, and from the journey who decided and what was undone or done."""
    story = "\n".join(outcome.journey)
    matched = MATCHED.search(story)
    used = tuple((int(spi, 16), protocol, address) for protocol, spi, address in SEALED.findall(story))
    if verdict == "drop" and not outcome.transmitted and "(out)" in story:
        used = ()
    return Answer(verdict, outcome.reason or "", int(matched[1]) if matched else None, used)


def expected(said: model.Decision) -> Answer:
    used = tuple((spi, protocol, str(address)) for spi, protocol, address in said.used)
    return Answer(said.verdict, said.reason, said.policy, used)


def event_back(event: AcquireEvent | ExpireEvent | PolicyExpireEvent) -> tuple[object, ...]:
    """An event of the engine in the model's words."""
    if isinstance(event, AcquireEvent):
        return "acquire", event.policy, template_back(event.template)
    if isinstance(event, ExpireEvent):
        sa = event.sa
        return "expire", (sa.spi, sa.protocol, sa.destination), "hard" if event.hard else "soft"
    return "policy-expire", event.policy.id


def configuration(of: model.Config) -> dict[str, object]:
    """The engine's configuration; what the model knows nothing of is switched off."""
    made: dict[str, object] = {
        "default_policy": of.default_policy,
        "prefer_old_sa": of.prefer_old_sa,
        "local": None if of.local is None else list(of.local),
        "decrement_hop_limit": False,
        "encap_ports": [],
        "acquire_block_secs": 0,
        "larval_secs": LARVAL_SECS,
    }
    for (protocol, mode), level in of.levels.items():
        made[f"{protocol}_{mode}_level"] = level
    return made
