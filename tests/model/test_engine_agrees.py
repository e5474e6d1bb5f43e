"""The engine beside the reference model: random SPDs, SADs, packets and times, and never two opinions.

No expectation of its own may enter: whatever differs is decided by the RFC and put right in one of the two.
Answers to: RFC 4301 sections 4.4.1, 5.1 and 5.2, RFC 4303 section 3.4.3, RFC 2367 section 3.1.8.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from model.beside import Beside
from model.draw import Draw
from model.reference_model import Config, Sa

STATES, PACKETS = 1000, 40
LIVES, STEPS = 300, 60

REASONS = """OutNoPolicy OutPolicyDiscard OutNoSa InNoSa Replay AuthFailed BadPadding
    InExpired Dummy InPolicyDiscard InNoPolicy InPolicyViolation""".split()
COMMON = [f"drop {reason}" for reason in REASONS] + ["bypass", "deliver", "protect by 1", "protect by 2"]

generators = st.randoms(use_true_random=False)
Run = Callable[[random.Random], Counter[str]]


def seeded(run: Run, count: int) -> None:
    """Runs random cases, or the one that `SALLET_SEED` names; together they must show every verdict."""
    named = os.environ.get("SALLET_SEED")
    first = int(named) if named else random.randrange(1 << 32)
    seen: Counter[str] = Counter()
    for seed in range(first, first + (1 if named else count)):
        try:
            seen += run(random.Random(seed))
        except Exception as error:
            error.add_note(f"seed {seed}: SALLET_SEED={seed} replays it")
            raise
    missing = [each for each in COMMON if not seen[each]]
    assert named or not missing, f"seeds from {first} were too tame"


def fill(draw: Draw, both: Beside, *, mortal: bool = False) -> None:
    """Puts entries and SAs into both."""
    for _ in range(draw.random.randrange(13)):
        both.add_policy(draw.policy(mortal=mortal))
    for _ in range(draw.random.randrange(20)):
        both.add_sa(draw.sa(both.model, mortal=mortal))


def packet(draw: Draw, both: Beside, *, leaves: bool) -> str:
    """One packet through both, and what became of it."""
    if leaves:
        said = both.outbound(draw.departure(both.model))
    else:
        said = both.inbound(draw.arrival(both.model))
    if said.verdict == "drop":
        return f"drop {said.reason}"
    return f"protect by {len(said.used)}" if said.verdict == "protect" else said.verdict


def packets(generator: random.Random, count: int = PACKETS) -> Counter[str]:
    """One random state and packets both ways."""
    draw = Draw(generator)
    both = Beside(draw.config())
    fill(draw, both)
    seen = Counter(packet(draw, both, leaves=draw.maybe(45)) for _ in range(count))
    both.check_databases()
    return seen


def test_thousands_of_packets_get_the_verdict_of_the_model() -> None:
    seeded(packets, STATES)


@given(generators)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_smallest_difference_is_found(generator: random.Random) -> None:
    packets(generator, 8)


# --- time --------------------------------------------------------------------------------------------


class Life:
    """Everything that may happen to two databases in the course of time, one method each."""

    def __init__(self, config: Config, draw: Draw) -> None:
        self.both = Beside(config)
        self.draw = draw
        self.seen: Counter[str] = Counter()

    def policy_comes(self) -> None:
        self.both.add_policy(self.draw.policy(mortal=True))

    def policy_changes(self) -> None:
        policy = self.draw.policy(mortal=True)
        if self.both.model.policies and self.draw.maybe(80):
            old = self.draw.one(self.both.model.policies)
            policy = replace(policy, direction=old.direction, selector=old.selector)
        self.both.update_policy(policy)

    def policy_goes(self) -> None:
        if self.both.model.policies:
            self.both.remove_policy(self.draw.one(self.both.model.policies))

    def sa_comes(self) -> None:
        self.both.add_sa(self.draw.sa(self.both.model, mortal=True))

    def sa_changes(self) -> None:
        """A larval SA gets its keys, a living one other lifetimes."""
        if not self.both.model.sas:
            return
        larval = [sa for sa in self.both.model.sas if sa.larval]
        sa: Sa = self.draw.one(larval or self.both.model.sas)
        window = self.draw.one([0, 32, 100])
        self.both.update_sa(
            replace(sa, soft=self.draw.limits(), hard=self.draw.limits(), replay_window=window)
        )

    def sa_goes(self) -> None:
        if self.both.model.sas:
            self.both.remove_sa(self.draw.one(self.both.model.sas))

    def packet_leaves(self) -> None:
        self.seen[packet(self.draw, self.both, leaves=True)] += 1

    def packet_arrives(self) -> None:
        self.seen[packet(self.draw, self.both, leaves=False)] += 1

    def time_passes(self) -> None:
        self.both.advance(self.draw.one([0, 1, 1, 1, 2, 2, 3, 5, 31]))

    def check(self) -> None:
        self.both.check_databases()
        self.both.check_deadline()


HAPPENINGS = (
    [Life.policy_comes] * 3
    + [Life.policy_changes, Life.policy_goes]
    + [Life.sa_comes] * 5
    + [Life.sa_changes] * 2
    + [Life.sa_goes]
    + [Life.packet_leaves, Life.packet_arrives] * 6
    + [Life.time_passes] * 4
)


def life(generator: random.Random) -> Counter[str]:
    draw = Draw(generator)
    one = Life(draw.config(), draw)
    fill(draw, one.both, mortal=True)
    for _ in range(STEPS):
        draw.one(HAPPENINGS)(one)
        one.check()
    return one.seen


def test_lifetimes_and_their_events_are_those_of_the_model() -> None:
    seeded(life, LIVES)


class Machine(RuleBasedStateMachine):
    """The same by steps that hypothesis can leave out one by one."""

    one: Life | None = None

    @initialize(generator=generators)
    def start(self, generator: random.Random) -> None:
        draw = Draw(generator)
        self.one = Life(draw.config(), draw)

    @rule(generator=generators, happening=st.sampled_from(HAPPENINGS))
    @precondition(lambda self: self.one is not None)
    def happens(self, generator: random.Random, happening: Callable[[Life], None]) -> None:
        assert self.one is not None
        self.one.draw.random = generator
        happening(self.one)

    @invariant()
    def databases_are_equal(self) -> None:
        if self.one is not None:
            self.one.check()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
