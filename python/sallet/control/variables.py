"""The methods behind `sallet sysctl`: a personality's variables, and the databases that it offers by name.

No socket enters, and never a key: who wants keys asks by PF_KEY, where rights are looked at.
Answers to: `sysctl(8)`; BUGS of NetBSD's `ipsec(4)` (`net.key.dumpsa` and `net.key.dumpsp`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sallet.control import views
from sallet.failure import Failure
from sallet.pfkey import codec
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.handlers import Dump, Handlers
from sallet.pfkey.messages import Message
from sallet.sysctl import mib

if TYPE_CHECKING:
    from sallet._core import Engine
    from sallet.sysctl.personalities import Personality

DUMPED_ENTRIES_MAX: Final = 50_000
"""More do not fit into one answer; PF_KEY has no such limit."""
_MESSAGES: Final = {"sad": SadbMsgType.DUMP, "spd": SadbMsgType.X_SPDDUMP}

WRITES: Final = frozenset({"sysctl.write"})
"""Methods that need the right to write."""


class Variables:
    """The methods, bound to an engine and whose manual it follows."""

    def __init__(self, engine: Engine, personality: Personality) -> None:
        self._engine = engine
        self._personality = personality

    def table(self) -> dict[str, Callable[..., Any]]:
        """Name the methods as clients call them."""
        return {"sysctl.list": self.list, "sysctl.read": self.read, "sysctl.write": self.write}

    def list(self) -> views.Json:
        """Every variable with its value and meaning."""
        known = self._personality.variables
        rows = [
            {"name": name, "value": mib.read(self._engine, name, known), "meaning": row.meaning}
            for name, row in sorted(known.items())
        ]
        return views.document("sysctl-list", {"variables": rows, "dumps": sorted(self._personality.dumps)})

    def read(self, name: str) -> views.Json:
        """One variable, or one database as PF_KEY messages in hexadecimal."""
        if name in self._personality.dumps:
            return views.document("sysctl-dump", self._dump(name))
        value = mib.read(self._engine, name, self._personality.variables)
        return views.document("sysctl", {"name": name, "value": value})

    def write(self, name: str, value: str) -> views.Json:
        """Set one variable; tell what it was and what it is."""
        known = self._personality.variables
        if name in self._personality.dumps:
            why = os.strerror(errno.EPERM)
            raise Failure("this variable can only be read", where=name, why=why, kind="permission")
        before = mib.read(self._engine, name, known)
        mib.write(self._engine, name, value, known)
        after = mib.read(self._engine, name, known)
        return views.document("sysctl-change", {"name": name, "before": before, "value": after})

    def _dump(self, name: str) -> views.Json:
        which = self._personality.dumps[name]
        handlers = Handlers(self._engine, self._personality.dialect)
        answer = handlers.answer(Message(_MESSAGES[which]))
        found: list[bytes] = []
        if isinstance(answer, Dump):
            if len(answer) > DUMPED_ENTRIES_MAX:
                raise Failure(
                    "the database is too large for one answer",
                    where=name,
                    why=f"{len(answer)} entries, {os.strerror(errno.ENOMEM)}",
                    next_step="`sallet setkey -D` or `-DP`: PF_KEY has no limit",
                )
            found = answer.written(0, len(answer))
        dialect = handlers.dialect
        messages = [codec.without_keys(data, dialect).hex() for data in found]
        return {"name": name, "database": which, "dialect": dialect.name, "messages": messages}
