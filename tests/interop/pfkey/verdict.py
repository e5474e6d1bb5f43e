"""The verdict on a run: how much was equal, which row explains what, and what nobody explains.

No mask and no row enters. Answers to docs/pfkey-differences.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from interop.pfkey.compare import Difference, compare
from interop.pfkey.rows import ROWS, explain
from interop.pfkey.scenario import Outcome, Scenario


@dataclass(slots=True)
class Verdict:
    """What a run came to."""

    scenarios: int = 0
    equal_scenarios: int = 0
    steps: int = 0
    equal_steps: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    """Differences by the row that knows them."""
    followed: Counter[str] = field(default_factory=Counter)
    """Differences that only follow: the databases differ since a row's difference."""
    unexplained: list[Difference] = field(default_factory=list)

    def explain_all(self, differences: Sequence[Difference], lasting: set[str]) -> None:
        """Find the rows of one scenario's differences, in their order."""
        since: str | None = None
        for _, together in groupby(differences, key=lambda one: one.step):
            rows = [(one, explain(one)) for one in together]
            # What the sender is refused, the others do not hear.
            lasts = (row.name for _, row in rows if row is not None and row.name in lasting)
            since = next(lasts, since)
            for one, row in rows:
                if row is not None:
                    self.explained[row.name] += 1
                elif since is not None:
                    self.followed[since] += 1
                else:
                    self.unexplained.append(one)

    def summary(self) -> str:
        """Say it in one line."""
        known, followed = self.explained.total(), self.followed.total()
        return (
            f"equal/total: steps {self.equal_steps}/{self.steps}, "
            f"scenarios {self.equal_scenarios}/{self.scenarios}; "
            f"explained {known}, following from those {followed}, unexplained {len(self.unexplained)}"
        )

    def words(self) -> list[str]:
        """Say what nobody explains."""
        return [
            f"{one.scenario.name}, step {one.step}, socket {one.socket}:\n"
            f"  there {[data.hex() for data in one.theirs]}\n"
            f"  here  {[data.hex() for data in one.ours]}"
            for one in self.unexplained
        ]


def judge(
    scenarios: Sequence[Scenario], theirs: Sequence[Sequence[Outcome]], ours: Sequence[Sequence[Outcome]]
) -> Verdict:
    """Compare all, and explain what differs."""
    verdict = Verdict()
    lasting = {row.name for row in ROWS if row.lasts}
    for scenario, there, here in zip(scenarios, theirs, ours, strict=True):
        compared = compare(scenario, there, here)
        differing = {one.step for one in compared.differences}
        verdict.scenarios += 1
        verdict.equal_scenarios += not differing
        verdict.steps += compared.steps
        verdict.equal_steps += compared.steps - len(differing)
        verdict.explain_all(compared.differences, lasting)
    return verdict
