"""The sockets that have policies, the rules that follow, and the moment when both databases have them.

No message and no descriptor enters. Answers to `ipsec(4)`: one policy for each direction and socket, before
every entry of the SPD; RFC 4301 §4.4.1: the host never does other than the SPD says.

Changes are staged, and `commit` makes them together: the engine first, then the guard, so that no packet is
let to an engine that does not know its rule; what goes, goes the other way round.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from sallet import _core
from sallet.attach.socket_maps import ALLOWS, INSISTS, Direction, Flow, Maps, map_name
from sallet.pcb.policies import NotTaken, SocketPolicy

SOCKETS_MAX: Final = 65536
SOCKETS_OF_A_USER_MAX: Final = 4096
"""For users other than root."""
CONNECTION_LINGERS_SECS: Final = 61.0
"""So long the kernel answers for an ended connection (TIME_WAIT), and its answers are protected, too."""
OTHERS_LINGER_SECS: Final = 1.0
"""What was sent last may still be on its way to the engine."""

Key: TypeAlias = tuple[Direction, Flow]
Group: TypeAlias = tuple[Direction, int, int, int]
"""Direction, family, protocol, local port: rules that can stand for each other."""
Insists: TypeAlias = Callable[[_core.Template, str], bool]


@dataclass(frozen=True, slots=True)
class Pcb:
    """One socket with a policy."""

    cookie: int
    uid: int
    policies: Mapping[Direction, SocketPolicy] = field(default_factory=dict)
    """Without those that follow the SPD."""
    flows: tuple[Flow, ...] = ()
    """None until it has a port."""
    ended: bool = False

    def keys(self) -> list[Key]:
        """Give what it has rules for."""
        return [(direction, flow) for direction in self.policies for flow in self.flows]


@dataclass(slots=True)
class _Staged:
    """How the sockets were that have changed since the last commit."""

    before: dict[int, Pcb | None] = field(default_factory=dict)


class SocketTable:
    """Sockets by id, and their rules in the engine and in the guard."""

    def __init__(self, engine: _core.Engine, insists: Insists, follow: Callable[[Maps], None]) -> None:
        """Serve an engine; `follow` makes the guard agree with the maps, or raises."""
        self._engine = engine
        self._insists = insists
        self._follow = follow
        self._sockets: dict[int, Pcb] = {}
        self._holders: dict[Key, dict[int, None]] = {}
        self._groups: dict[Group, dict[Key, None]] = {}
        self._users: dict[int, int] = {}
        self._installed: dict[Key, SocketPolicy] = {}
        self._maps: dict[str, dict[str, str]] = {}
        self._due: list[tuple[float, int]] = []
        self._staged = _Staged()

    def __len__(self) -> int:
        return len(self._sockets)

    def find(self, cookie: int) -> Pcb | None:
        """Return the socket with that id, if it has a policy."""
        return self._sockets.get(cookie)

    @property
    def rules(self) -> int:
        """How many rules stand."""
        return len(self._installed)

    # Changes.

    def put(self, pcb: Pcb) -> None:
        """Stage a socket as it shall be.

        Raises:
            NotTaken: there are too many, or another socket asks something else for the same flow.
        """
        if pcb.cookie not in self._sockets:
            self._admit(pcb.uid)
        for key in pcb.keys():
            self._make_way(key, pcb)
        self._set(pcb.cookie, pcb)

    def forget(self, cookie: int) -> None:
        """Stage that a socket has no policy any more."""
        if cookie in self._sockets:
            self._set(cookie, None)

    def end(self, cookies: Iterable[int], now: float) -> None:
        """Note that sockets have ended; their rules stay for what is still on its way."""
        for cookie in cookies:
            pcb = self._sockets.get(cookie)
            if pcb is None or pcb.ended:
                continue
            connected = any(flow.remote is not None for flow in pcb.flows)
            lingers = CONNECTION_LINGERS_SECS if connected else OTHERS_LINGER_SECS
            self._sockets[cookie] = replace(pcb, ended=True)
            heapq.heappush(self._due, (now + lingers, cookie))

    def end_all_but(self, living: set[int], now: float) -> None:
        """Note that every socket has ended that had a port and is not among the living."""
        self.end([c for c, pcb in self._sockets.items() if pcb.flows and c not in living], now)

    def deadline(self) -> float | None:
        """Say when the next rule of an ended socket goes."""
        return self._due[0][0] if self._due else None

    def stage_due(self, now: float) -> bool:
        """Stage the removal of what has lingered long enough, and say whether there is any."""
        found = False
        while self._due and self._due[0][0] <= now:
            _, cookie = heapq.heappop(self._due)
            pcb = self._sockets.get(cookie)
            if pcb is not None and pcb.ended:
                self._set(cookie, None)
                found = True
        return found

    def commit(self) -> None:
        """Make what was staged.

        Raises:
            Exception: whatever the guard's refusal is; nothing of it was made.
        """
        staged, self._staged = self._staged, _Staged()
        keys = self._touched(staged)
        if not keys:
            return
        added = [key for key in keys if self._wanted(key) not in (None, self._installed.get(key))]
        try:
            for direction, flow in added:
                self._engine.pcb_put(_params(direction, flow, self._holder_policy((direction, flow))))
            maps = self._new_maps(keys)
            if maps != self._maps:
                self._follow(maps)
        except Exception:
            self._restore(staged, added)
            raise
        self._maps = maps
        for key in keys:
            self._settle(key)

    # Inside.

    def _admit(self, uid: int) -> None:
        count = self._users.get(uid, 0)
        if len(self._sockets) >= SOCKETS_MAX or (uid != 0 and count >= SOCKETS_OF_A_USER_MAX):
            raise NotTaken(errno.ENOBUFS)

    def _make_way(self, key: Key, pcb: Pcb) -> None:
        """See that nobody who lives asks otherwise; who has ended gives way."""
        wanted = pcb.policies[key[0]]
        for cookie in list(self._holders.get(key, ())):
            other = self._sockets[cookie]
            if cookie == pcb.cookie or _same(other.policies[key[0]], wanted):
                continue
            if not other.ended:
                raise NotTaken(errno.EADDRINUSE)
            self._set(cookie, None)

    def _set(self, cookie: int, pcb: Pcb | None) -> None:
        before = self._sockets.get(cookie)
        self._staged.before.setdefault(cookie, before)
        self._replace(cookie, before, pcb)

    def _replace(self, cookie: int, before: Pcb | None, after: Pcb | None) -> None:
        if before is not None:
            for key in before.keys():
                self._release(key, cookie)
            self._count(before.uid, -1)
        if after is None:
            self._sockets.pop(cookie, None)
            return
        for key in after.keys():
            self._holders.setdefault(key, {})[cookie] = None
            self._groups.setdefault(_group(key), {})[key] = None
        self._sockets[cookie] = after
        self._count(after.uid, 1)

    def _release(self, key: Key, cookie: int) -> None:
        holders = self._holders[key]
        del holders[cookie]
        if holders:
            return
        del self._holders[key]
        members = self._groups[_group(key)]
        del members[key]
        if not members:
            del self._groups[_group(key)]

    def _count(self, uid: int, change: int) -> None:
        self._users[uid] = self._users.get(uid, 0) + change
        if not self._users[uid]:
            del self._users[uid]

    def _touched(self, staged: _Staged) -> list[Key]:
        keys: dict[Key, None] = {}
        for cookie, before in staged.before.items():
            for pcb in (before, self._sockets.get(cookie)):
                if pcb is not None:
                    keys.update(dict.fromkeys(pcb.keys()))
        return list(keys)

    def _wanted(self, key: Key) -> SocketPolicy | None:
        holders = self._holders.get(key)
        return None if not holders else self._sockets[next(iter(holders))].policies[key[0]]

    def _holder_policy(self, key: Key) -> SocketPolicy:
        return self._sockets[next(iter(self._holders[key]))].policies[key[0]]

    def _settle(self, key: Key) -> None:
        """Book what stands now; the engine lets go of a rule after the guard has."""
        wanted = self._wanted(key)
        if wanted is not None:
            self._installed[key] = wanted
        elif self._installed.pop(key, None) is not None:
            self._engine.pcb_remove(key[0], _selector(*key))

    def _restore(self, staged: _Staged, added: list[Key]) -> None:
        for cookie, before in staged.before.items():
            self._replace(cookie, self._sockets.get(cookie), before)
        for key in added:
            old = self._installed.get(key)
            if old is None:
                self._engine.pcb_remove(key[0], _selector(*key))
            else:
                self._engine.pcb_put(_params(*key, old))

    def _new_maps(self, keys: list[Key]) -> dict[str, dict[str, str]]:
        maps = dict(self._maps)
        copied: set[str] = set()
        for key in self._with_dependants(keys):
            name, place = map_name(*key), key[1].key()
            verdict = self._element(key)
            if maps.get(name, {}).get(place) == verdict:
                continue
            if name not in copied:
                maps[name] = dict(maps.get(name, {}))
                copied.add(name)
            if verdict is None:
                del maps[name][place]
            else:
                maps[name][place] = verdict
        return {name: verdicts for name, verdicts in maps.items() if verdicts}

    def _with_dependants(self, keys: list[Key]) -> dict[Key, None]:
        """Add the connections of ports whose own rule has changed: they may need an element now, or none."""
        found = dict.fromkeys(keys)
        for key in keys:
            if key[1].remote is None:
                found.update(self._groups.get(_group(key), {}))
        return found

    def _element(self, key: Key) -> str | None:
        """Say what stands in the guard for a rule; None if nothing has to."""
        direction, flow = key
        verdict = self._verdict(key) if key in self._holders else None
        if verdict is None or flow.remote is None:
            return verdict
        # What an element that is asked later says already needs no element of its own: a server's accepted
        # connections mostly do as the server's own socket does.
        for wide in flow.wider():
            if (direction, wide) in self._holders and (said := self._verdict((direction, wide))) is not None:
                return None if said == verdict else verdict
        return verdict

    def _verdict(self, key: Key) -> str | None:
        """Say what the guard does with the packets; None: the mark of the socket says it all."""
        direction, policy = key[0], self._holder_policy(key)
        if policy.action == "bypass":
            return ALLOWS["in"] if direction == "in" else None
        side = "In" if direction == "in" else "Out"
        insists = any(self._insists(template, side) for template in policy.templates)
        return (INSISTS if insists else ALLOWS)[direction]


def _same(one: SocketPolicy, other: SocketPolicy) -> bool:
    return (one.action, one.templates) == (other.action, other.templates)


def _group(key: Key) -> Group:
    direction, flow = key
    return direction, flow.family, flow.protocol, flow.local_port


def _selector(direction: Direction, flow: Flow) -> _core.Selector:
    everything = "0.0.0.0/0" if flow.family == 4 else "::/0"
    bits = 32 if flow.family == 4 else 128
    local = everything if flow.local is None else f"{flow.local}/{bits}"
    remote = everything if flow.remote is None else f"{flow.remote}/{bits}"
    local_ports = (flow.local_port, flow.local_port)
    remote_ports = (0, 0xFFFF) if flow.remote is None else (flow.remote_port, flow.remote_port)
    if direction == "out":
        return _core.Selector(local, remote, flow.protocol, local_ports, remote_ports)
    return _core.Selector(remote, local, flow.protocol, remote_ports, local_ports)


def _params(direction: Direction, flow: Flow, policy: SocketPolicy) -> _core.PolicyParams:
    return _core.PolicyParams(direction, _selector(direction, flow), policy.action, list(policy.templates))
