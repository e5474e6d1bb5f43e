"""Says what is wrong with a setkey file, in the words and on the stream of each form.

No decision about what to send may enter. Answers to setkey(8) of KAME (standard output, `line N: …`),
of ipsec-tools (`setkey: FILE,LINE: …`), and in form `sallet` to the rule: what, where, why, what next.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Final

from sallet.lang.forms import FORMS
from sallet.lang.lexer import SetkeyError, Where, excerpt, where_of_line
from sallet.lang.setkey_messages import Order
from sallet.lang.setkey_remarks import invalid
from sallet.lang.statements import Statement
from sallet.pfkey.constants import SadbMsgType
from sallet.pfkey.messages import Message

_WHY: Final[dict[tuple[int, int], tuple[str, str]]] = {
    (SadbMsgType.ADD, errno.EEXIST): (
        "an SA with this SPI, protocol and destination exists already",
        "delete it first, or choose another SPI",
    ),
    (SadbMsgType.ADD, errno.ENOSYS): (
        "the daemon does not provide this algorithm",
        "choose one that `sallet algorithms` lists",
    ),
    (SadbMsgType.ADD, errno.EPROTONOSUPPORT): (
        "the daemon does not provide this protocol",
        "write esp",
    ),
    (SadbMsgType.X_SPDADD, errno.EEXIST): (
        "a policy with this selector, direction and priority exists already",
        "write spdupdate to replace it, or delete it first",
    ),
}
_WHY_ANY: Final[dict[int, tuple[str, str]]] = {
    errno.ESRCH: ("nothing of that name exists", "`sallet setkey -D` and -DP list what does"),
    errno.ENOENT: ("nothing of that name exists", "`sallet setkey -D` and -DP list what does"),
    errno.EINVAL: (
        "the daemon takes none of the values of this statement together",
        "check algorithms, key lengths, mode and addresses",
    ),
    errno.EIO: ("the packet filter could not be changed, so the change was undone", "see the daemon's log"),
    errno.ENOBUFS: ("the daemon is full", "delete what is not needed"),
    errno.EPERM: ("not permitted", "run it as the user who started the daemon"),
}
_KAME_MISSING: Final = {
    SadbMsgType.GET: "No entry",
    SadbMsgType.DELETE: "No entry",
    SadbMsgType.DUMP: "No SAD entries",
    SadbMsgType.X_SPDDUMP: "No SPD entries",
}


class Reporter:
    """Prints the diagnostics of one file in one form."""

    def __init__(self, form: str, text: str, filename: str, program: str = "sallet setkey") -> None:
        self._style = FORMS[form].errors
        self._program = program
        self._text = text
        self._filename = filename

    def syntax(self, error: SetkeyError) -> None:
        """Report a statement that is none."""
        if self._style == "sallet":
            self._point(error.where, error.text, "", error.next_step)
        elif self._style == "ipsec-tools":
            if error.preface:
                _print(sys.stderr, error.preface)
            self._linux(error.line, f"{error.classic} at `{error.token}'")
            self._linux(error.line, "parse failed")
        else:
            _print(sys.stdout, f"line {error.line}: {error.classic} at [{error.token}]")
            _print(sys.stdout, f"parse failed, line {error.line}.")

    def refused(self, order: Order, reply: Message) -> None:
        """Report a statement that the daemon refused."""
        reason = os.strerror(reply.errno)
        line = order.statement.place.last_line
        if self._style == "ipsec-tools":
            self._linux(line, reason)
        elif self._style == "kame":
            if reply.errno == errno.ENOENT:
                reason = _KAME_MISSING.get(order.message.type, reason)
            _print(sys.stdout, f"The result of line {line}: {reason}.")
        else:
            key = (int(order.message.type), reply.errno)
            own = invalid(order.statement) if reply.errno == errno.EINVAL else None
            why, next_step = own or _WHY.get(key) or _WHY_ANY.get(reply.errno) or ("", "")
            if order.twin:
                why = (
                    f"it is about the fwd policy that goes with it; {why}"
                    if why
                    else "the fwd policy with it"
                )
                next_step = f"{next_step}; -k sends no fwd policy" if next_step else "-k sends no fwd policy"
            self._point(self._where(order.statement), f"refused: {reason}", why, next_step)

    def remark(self, statement: Statement, remark: str) -> None:
        """Report what is worth knowing about a statement that is carried out."""
        place = statement.place
        if self._style == "sallet":
            where = f"{self._filename}:{place.line}:{place.column}"
            _print(sys.stderr, f"{self._program}: {where}: note: {remark}")
        elif self._style == "ipsec-tools":
            self._linux(place.last_line, remark)
        else:
            _print(sys.stdout, f"line {place.last_line}: {remark}")

    def nothing_sent(self, errors: int) -> None:
        """Close the report of a file that was not even begun."""
        count = "1 error" if errors == 1 else f"{errors} errors"
        _print(sys.stderr, f"{self._program}: {self._filename}: {count}; nothing was sent")

    def interrupted(self, number: int) -> None:
        """Say that the run stops because of a signal."""
        name = signal.Signals(number).name
        _print(sys.stderr, f"{self._program}: {self._filename}: stopped by {name}")

    def taken_back(self, done: int, losses: list[str]) -> None:
        """Close the report of a file that was taken back."""
        count = "the 1 change" if done == 1 else f"all {done} changes"
        head = f"{self._program}: {self._filename}: nothing of it is in force"
        if done:
            head += f"; {count} made so far {'was' if done == 1 else 'were'} taken back"
        _print(sys.stderr, head)
        for loss in losses:
            _print(sys.stderr, f"  could not be restored: {loss}")

    def went_on(self, refused: int, done: int) -> None:
        """Close the report of a file that was carried out in spite of refusals."""
        _print(
            sys.stderr,
            f"{self._program}: {self._filename}: {refused} refused, {done} carried out (--keep-going)",
        )

    def _where(self, statement: Statement) -> Where:
        place = statement.place
        return where_of_line(self._text, self._filename, place.line, place.column, place.length)

    def _linux(self, line: int, words: str) -> None:
        _print(sys.stderr, f"setkey: {self._filename},{line}: {words}")

    def _point(self, where: Where, what: str, why: str, next_step: str) -> None:
        """Print what is wrong, the line with the place below it, why, and what to do."""
        _print(sys.stderr, f"{self._program}: {where.filename}:{where.line}:{where.column}: {what}")
        for line in excerpt(where):
            _print(sys.stderr, f"    {line}")
        for label, words in (("why", why), ("next", next_step)):
            if words:
                _print(sys.stderr, f"  {label}: {words}")


def _print(stream: object, line: str) -> None:
    """Print a line that may hold bytes that are no text; output keeps its order across both streams."""
    sys.stdout.flush()
    print(line.encode("utf-8", "backslashreplace").decode("utf-8"), file=stream)  # type: ignore[call-overload]
