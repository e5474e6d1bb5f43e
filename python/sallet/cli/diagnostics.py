"""How the command line says that something went wrong, and the numbers it leaves with.

No verb's own words may enter: what, where, why and the next step come from whoever failed.
Answers to: `sallet(1)`, exit status.
"""

from __future__ import annotations

import os
import sys

from sallet.failure import Failure, FailureKind

OK = 0
FAILED = 1
USAGE = 2
NOTHING_MATCHED = 3
PERMISSION = 4
UNREACHABLE = 5
PARTLY_APPLIED = 6

EXIT_CODES: dict[FailureKind, int] = {
    "failed": FAILED,
    "usage": USAGE,
    "nothing-matched": NOTHING_MATCHED,
    "permission": PERMISSION,
    "unreachable": UNREACHABLE,
    "partly-applied": PARTLY_APPLIED,
}


def fail(what: str, where: str = "", why: str = "", next_step: str = "", code: int = FAILED) -> int:
    """Print one problem to stderr and return `code`, so that a verb can `return fail(...)`."""
    lines = [f"sallet: {what}"]
    lines += [
        f"  {label}: {text}" for label, text in (("where", where), ("why", why), ("next", next_step)) if text
    ]
    print("\n".join(lines), file=sys.stderr)
    return code


def fail_with(failure: Failure) -> int:
    """Print a `Failure` and return the exit code of its kind."""
    return fail(
        failure.what, failure.where, failure.why, failure.next_step, EXIT_CODES.get(failure.kind, FAILED)
    )


def from_os_error(error: OSError) -> Failure:
    """Turn an operating system error that nobody expected into words."""
    permission = isinstance(error, PermissionError)
    return Failure(
        "not permitted" if permission else "the operating system refused",
        where=str(error.filename or ""),
        why=error.strerror or str(error),
        next_step="run it as a user who may, or inside `unshare -Urnm`" if permission else "",
        kind="permission" if permission else "failed",
    )


def debugging() -> bool:
    """Say whether tracebacks are wanted (`--debug`, or SALLET_DEBUG)."""
    return bool(os.environ.get("SALLET_DEBUG"))
