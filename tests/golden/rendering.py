"""Renders what a text in one of our languages means and what is wrong with it.

No comparison enters. A case is `NAME.in`; `NAME.ok` has its messages, `NAME.err` its diagnostics.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

from sallet.cli.setkey_report import Reporter
from sallet.lang import setkey, trace
from sallet.lang.forms import FORMS

ROOT = Path(__file__).parent


def setkey_case(text: str, name: str) -> tuple[str, str]:
    """Return the messages and the diagnostics of a setkey text in every form, without a daemon.

    Every statement is read for itself, in the forms that stop at the first error, too.
    """
    good: list[str] = []
    bad: list[str] = []
    for form in FORMS:
        statements, errors = setkey.check(text, filename=name, form=form)
        messages = [
            f"{order.statement.place.line}: {trace.text(order.message, form)}"
            for order in setkey.plan(statements, form, FORMS[form].dialect)
        ]
        reporter = Reporter(form, text, name)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            for statement in statements:
                for remark in setkey.remarks(statement, form):
                    reporter.remark(statement, remark)
            for error in errors:
                reporter.syntax(error)
        if messages:
            good += [f"== form {form}\n", *messages]
        if said.getvalue():
            bad += [f"== form {form}\n", said.getvalue()]
    return "".join(good), "".join(bad)


LANGUAGES: dict[str, Callable[[str, str], tuple[str, str]]] = {"setkey": setkey_case}
"""The languages, by the name of their directory."""


def cases() -> list[Path]:
    """Return every case of every language."""
    return [path for language in LANGUAGES for path in sorted((ROOT / language).glob("*.in"))]


def rendered(path: Path) -> dict[Path, str]:
    """Return what the files beside a case must hold; an empty one does not exist."""
    good, bad = LANGUAGES[path.parent.name](path.read_text(), path.name)
    return {path.with_suffix(".ok"): good, path.with_suffix(".err"): bad}


def regenerate() -> list[str]:
    """Write the files beside every case and return the names of those that changed."""
    changed = []
    for case in cases():
        for path, text in rendered(case).items():
            before = path.read_text() if path.exists() else ""
            if before == text:
                continue
            changed.append(str(path.relative_to(ROOT)))
            if text:
                path.write_text(text)
            else:
                path.unlink()
    return changed
