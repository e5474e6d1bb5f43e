"""Changes of the two databases, each with what must follow it; one that cannot be followed is undone.

No message and no dialect enters. Answers to RFC 4301 §4.4.1: the host never does other than the SPD says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from sallet import _core
from sallet.pfkey.constants import MANUAL_REQID_MAX

logger = logging.getLogger(__name__)

_Address: TypeAlias = IPv4Address | IPv6Address

_TURNING_LEVELS: Final = frozenset({"use", "default"})
"""Levels under which the presence of an SA decides whether a packet leaves in clear."""


class HookFailed(Exception):
    """What follows a change could not be done; the change was undone where it can be."""


def _again(view: _core.PolicyView, templates: Sequence[_core.Template] | None = None) -> _core.PolicyParams:
    """Make the params that would add an entry once more, with other templates if they are given."""
    return _core.PolicyParams(
        view.direction,
        view.selector,
        view.action,
        view.templates if templates is None else templates,
        priority=view.priority,
        judges_forwarded=view.judges_forwarded,
        owner=view.owner,
        connection=view.connection,
        add_secs=view.add_secs,
        use_secs=view.use_secs,
        awaited=view.action == "protect" and not view.templates,
    )


@dataclass(slots=True)
class _Undone:
    """What has to be done to have the SPD as it was before some changes, each entry by its id."""

    added: dict[int, _core.PolicyView] = field(default_factory=dict)
    replaced: dict[int, _core.PolicyView] = field(default_factory=dict)
    removed: list[_core.PolicyView] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.added or self.replaced or self.removed)

    def remove(self, view: _core.PolicyView) -> None:
        """Note a removal: of an entry that these changes added or replaced, or of one that was there."""
        if self.added.pop(view.id, None) is None:
            self.removed.append(self.replaced.pop(view.id, view))

    def replace(self, old: _core.PolicyView) -> None:
        """Note that an entry has changed; what counts is how it was at first."""
        if old.id not in self.added:
            self.replaced.setdefault(old.id, old)


@dataclass(frozen=True, slots=True)
class _Turning:
    """A rule of the SPD that protects if there is an SA for it, and lets pass in clear if there is none."""

    protocol: str
    mode: str
    reqid: int
    endpoints: tuple[_Address, _Address] | None
    source: tuple[_Address, _Address]
    destination: tuple[_Address, _Address]

    def could_be_served_by(self, view: _core.SaView) -> bool:
        """Say whether that SA could be the one."""
        if self.protocol != view.protocol or self.reqid not in (0, view.reqid):
            return False
        if "any" not in (self.mode, view.mode) and self.mode != view.mode:
            return False
        if self.endpoints is not None:
            return self.endpoints == (view.source, view.destination)
        return _within(view.source, self.source) and _within(view.destination, self.destination)


def _within(address: _Address, span: tuple[_Address, _Address]) -> bool:
    first, last = span
    return address.version == first.version and int(first) <= int(address) <= int(last)


class Changes:
    """The requests that change an engine's databases, shared by all dialects.

    `spd_changed` is called after each change of the SPD, or once for those between `begin` and `commit`, and
    after a change of the SAD that could turn a policy round that asks for an SA only if there is one. If it
    raises, the changes are undone and HookFailed raised. Nobody may be told of a change before.
    """

    def __init__(self, engine: _core.Engine, spd_changed: Callable[[], None] | None = None) -> None:
        """Take over an engine; policies that it has already are looked at once."""
        self.engine = engine
        self._spd_changed = spd_changed
        self._turning: dict[int, tuple[_Turning, ...]] = {}
        self._undone = _Undone()
        self._grouping = False
        self._events_dropped = 0
        self._rows = {row.name: row for row in _core.algorithms()}
        self._warned: set[str] = set()
        self._next_reqid = MANUAL_REQID_MAX + 1
        self._reqids_wrapped = False
        self._chosen: set[int] = set()
        """Request ids above the first automatic one that somebody chose: they are nobody else's."""
        for view in engine.spd_dump():
            self._note(view)

    def new_reqid(self, asked: int, highest_chosen: int, highest: int) -> int:
        """Return the id that a person chose, or allocate one that nobody did."""
        if 0 < asked <= highest_chosen:
            self._choose(asked)
            return asked
        taken = self._reqids_in_use() if self._reqids_wrapped else self._chosen
        for _ in range(highest):
            if self._next_reqid > highest:
                self._next_reqid, self._reqids_wrapped = MANUAL_REQID_MAX + 1, True
                taken = self._reqids_in_use()
            self._next_reqid += 1
            if self._next_reqid - 1 not in taken:
                break
        return self._next_reqid - 1

    def made_reqid(self, reqid: int) -> bool:
        """Say whether `new_reqid` allocated an id."""
        made = reqid > MANUAL_REQID_MAX and (self._reqids_wrapped or reqid < self._next_reqid)
        return made and reqid not in self._chosen

    def _choose(self, reqid: int) -> None:
        if reqid > MANUAL_REQID_MAX and not self.made_reqid(reqid):
            self._chosen.add(reqid)

    def _reqids_in_use(self) -> set[int]:
        policies = {template.reqid for view in self.engine.spd_dump() for template in view.templates}
        return policies | self._chosen

    # Several changes of the SPD with one hook.

    def begin(self) -> None:
        """Let the changes of the SPD from here on be followed together, by `commit`."""
        self._grouping = True

    def commit(self) -> None:
        """Follow what was changed. Raises HookFailed: all of it was undone."""
        undone, self._undone, self._grouping = self._undone, _Undone(), False
        if undone:
            self._follow(lambda: self._undo(undone))

    def _changed(self) -> None:
        if not self._grouping:
            self.commit()

    # The SPD.

    def spd_add(self, params: _core.PolicyParams) -> _core.PolicyView:
        """Add an entry. Raises EngineError, HookFailed."""
        view = self.engine.spd_add(params)
        self._note(view)
        self._undone.added[view.id] = view
        self._changed()
        return view

    def spd_update(
        self, params: _core.PolicyParams, direction: str, selector: _core.Selector
    ) -> _core.PolicyView:
        """Replace the entry of that direction and selector, or add one. Raises EngineError, HookFailed."""
        try:
            return self.spd_add(params)
        except _core.EngineError as error:
            if error.kind != "exists":
                raise
        old = self.find(direction, selector)
        view = self.engine.spd_update(params)
        self._note(view)
        if old is None:
            self._undone.added[view.id] = view
        else:
            self._undone.replace(old)
        self._changed()
        return view

    def spd_delete(self, direction: str, selector: _core.Selector) -> _core.PolicyView:
        """Remove the entry of that direction and selector. Raises EngineError, HookFailed."""
        view = self.engine.spd_delete(direction, selector)
        self._removed([view])
        return view

    def spd_delete_id(self, number: int) -> _core.PolicyView:
        """Remove the entry of that id. Raises EngineError, HookFailed."""
        view = self.engine.spd_delete_id(number)
        self._removed([view])
        return view

    def spd_move(self, view: _core.PolicyView, templates: Sequence[_core.Template]) -> _core.PolicyView:
        """Give an entry other templates. Raises EngineError, HookFailed."""
        moved = self.engine.spd_update(_again(view, templates))
        self._note(moved)
        self._undone.replace(view)
        self._changed()
        return moved

    def spd_flush(self) -> int:
        """Remove every entry and return how many there were. Raises HookFailed."""
        views = self.engine.spd_dump()
        count = self.engine.spd_flush()
        self._removed(views)
        return count

    def _removed(self, views: Iterable[_core.PolicyView]) -> None:
        for view in views:
            self._forget(view)
            self._undone.remove(view)
        self._changed()

    # The SAD. A removed SA is never put back: its counters would start again.

    def sad_add(self, params: _core.SaParams) -> _core.SaView:
        """Add an SA. Raises EngineError, HookFailed."""
        view = self.engine.sad_add(params)
        self._choose(view.reqid)
        self._sad_changed([view], lambda: self._drop_sa(view))
        self._warn(view)
        return view

    def sad_update(self, params: _core.SaParams) -> _core.SaView:
        """Complete or change an SA. Raises EngineError, HookFailed; a change stays where the hook fails."""
        view = self.engine.sad_update(params)
        self._sad_changed([view])
        self._warn(view)
        return view

    def sad_rekey(self, params: _core.SaParams) -> _core.SaView:
        """Give an SA other keys. Raises EngineError, HookFailed; it keeps them where the hook fails."""
        view = self.engine.sad_rekey(params)
        self._sad_changed([view])
        self._warn(view)
        return view

    def sad_move(
        self,
        view: _core.SaView,
        source: _Address,
        destination: _Address,
        encap: tuple[int, int] | None = None,
    ) -> _core.SaView:
        """Let an SA stand between other ends. Raises EngineError, HookFailed; the hook undoes no move."""
        moved = self.engine.sad_move(
            view.spi,
            view.protocol,
            view.destination,
            new_source=source,
            new_destination=destination,
            encap=encap or view.encap,
        )
        self._sad_changed([view, moved])
        return moved

    def sad_delete(
        self, spi: int, protocol: str, destination: _Address, source: _Address | None
    ) -> _core.SaView:
        """Remove an SA. Raises EngineError, HookFailed; it stays removed where the hook fails."""
        view = self.engine.sad_delete(spi, protocol, destination, source)
        self._sad_changed([view])
        return view

    def sad_delete_pair(self, protocol: str, source: _Address, destination: _Address) -> list[_core.SaView]:
        """Remove the SAs between two addresses. Raises HookFailed; they stay removed where the hook fails."""
        views = self.engine.sad_delete_pair(protocol, source, destination)
        self._sad_changed(views)
        return views

    def sad_flush(self, protocol: str | None) -> int:
        """Remove every SA (of one protocol). Raises HookFailed; they stay removed where the hook fails."""
        views = self.engine.sad_dump(protocol) if self._turning else []
        count = self.engine.sad_flush(protocol)
        self._sad_changed(views)
        return count

    def sa_expired(self, view: _core.SaView) -> None:
        """Follow an SA that the engine took out by itself; there is nobody to tell of a failure."""
        try:
            self._sad_changed([view])
        except HookFailed:
            logger.error("an SA expired, and the host's table could not follow")

    def policy_expired(self, view: _core.PolicyView) -> None:
        """Follow an entry that the engine took out by itself; there is nobody to tell of a failure."""
        self._forget(view)
        try:
            self._follow(None)
        except HookFailed:
            logger.error("a policy expired, and the host's table could not follow")

    def catch_up(self) -> None:
        """Follow SAs whose end was not told, as nobody took the events in time."""
        dropped = self.engine.stats().events_dropped
        if dropped == self._events_dropped:
            return
        self._events_dropped = dropped
        if self._turning:
            try:
                self._follow(None)
            except HookFailed:
                logger.error("events were lost, and the host's table could not follow")

    def reservations_end(self, connection: int) -> None:
        """Remove the SAs without keys that a connection made, which nobody will complete."""
        self.engine.sad_delete_of(connection, larval=True)

    def remove_of(self, connection: int) -> None:
        """Remove what a connection made; there is nobody to tell of a failure."""
        views = self.engine.sad_delete_of(connection)
        try:
            self._sad_changed(views)
            self._removed(self.engine.spd_delete_of(connection))
        except HookFailed:
            logger.error("a key manager left, and the host's table could not follow")

    def _warn(self, view: _core.SaView) -> None:
        """Say, once for each reason, that what an SA asks for protects little."""
        encryption = self._rows.get(view.encryption[0]) if view.encryption else None
        authentication = self._rows.get(view.authentication[0]) if view.authentication else None
        checked = bool(authentication and authentication.icv_bytes) or bool(
            encryption and encryption.icv_bytes
        )
        if not checked and encryption is not None and encryption.name == "null":
            self._warn_once("nothing", "an SA neither encrypts nor notices changes: it protects nothing")
        for row in (encryption, authentication):
            if row is None or not row.legacy or not (row.icv_bytes or row.block_bytes > 1):
                continue
            limit = f"; each of its SAs ends after {row.byte_limit >> 20} MiB" if row.byte_limit else ""
            self._warn_once(row.name, f"{row.name} is for peers that know nothing better{limit}")

    def _warn_once(self, reason: str, text: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            logger.warning(text)

    # What follows.

    def _note(self, view: _core.PolicyView) -> None:
        turning = tuple(
            _Turning(
                template.protocol,
                template.mode,
                template.reqid,
                template.endpoints,
                view.selector.source,
                view.selector.destination,
            )
            for template in view.templates
            if template.level in _TURNING_LEVELS
        )
        self._forget(view)
        if turning:
            self._turning[view.id] = turning

    def _forget(self, view: _core.PolicyView) -> None:
        self._turning.pop(view.id, None)

    def _follow(self, undo: Callable[[], None] | None) -> None:
        if self._spd_changed is None:
            return
        try:
            self._spd_changed()
        except Exception as error:
            logger.error("a change of the SPD could not be followed: %s", error)
            if undo is not None:
                undo()
            raise HookFailed from error

    def _sad_changed(self, views: Iterable[_core.SaView], undo: Callable[[], None] | None = None) -> None:
        if any(
            rule.could_be_served_by(view)
            for view in views
            for rules in self._turning.values()
            for rule in rules
        ):
            self._follow(undo)

    def _drop_sa(self, view: _core.SaView) -> None:
        self.engine.sad_delete(view.spi, view.protocol, view.destination, view.source)

    def find(self, direction: str, selector: _core.Selector) -> _core.PolicyView | None:
        """Look an entry up by direction and selector."""
        for view in self.engine.spd_dump():
            if view.direction == direction and view.selector == selector:
                return view
        return None

    def _undo(self, undone: _Undone) -> None:
        """Have the SPD as it was."""
        for view in undone.added.values():
            self._forget(self.engine.spd_delete_id(view.id))
        removed = list(undone.removed)
        for old in undone.replaced.values():
            now = self.engine.spd_lookup(old.id)
            if now is not None and now.serial != old.serial:
                # Another priority has put it elsewhere; it has to go back to its place.
                self._forget(self.engine.spd_delete_id(old.id))
                removed.append(old)
            else:
                self._note(self.engine.spd_update(_again(old)))
        if removed:
            self._put_back(removed)

    def _put_back(self, removed: list[_core.PolicyView]) -> None:
        """Add removed entries once more, and those behind them again, so that their order is as before."""
        first = min(view.serial for view in removed)
        behind = [view for view in self.engine.spd_dump() if view.serial > first]
        for view in behind:
            self._forget(self.engine.spd_delete_id(view.id))
        for view in sorted([*removed, *behind], key=lambda view: view.serial):
            self._note(self.engine.spd_add(_again(view)))
