"""Renders what a text in one of our languages means and what is wrong with it.

No comparison enters. A case is `NAME.in`; `NAME.ok` has its messages, `NAME.err` its diagnostics.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from sallet.cli import inetd as inetd_verb
from sallet.cli.setkey_report import Reporter
from sallet.inetd.configuration import policy_texts
from sallet.lang import inetd, setkey, trace
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


_PORTS = {"echo": 7, "discard": 9, "daytime": 13, "ftp": 21, "chargen": 19}
_ADDRESSES = frozenset(map(ip_address, ("192.0.2.1", "2001:db8::1")))


def inetd_case(text: str, name: str) -> tuple[str, str]:
    """Return the services and the findings of an inetd.conf for every personality."""
    good: list[str] = []
    bad: list[str] = []
    for personality in inetd_verb.PERSONALITIES:
        found = inetd.parse(
            text,
            filename=name,
            dialect=FORMS[personality].dialect,
            unique=personality != "qnx",
            ports=lambda service, _transport: _PORTS.get(service),
            is_local=_ADDRESSES.__contains__,
        )
        if found.services:
            good.append(f"== personality {personality}\n")
            good += [service_text(service) for service in found.services]
        if found.findings:
            bad.append(f"== personality {personality}\n")
            bad += [f"{inetd_verb.text_of(finding)}\n" for finding in found.findings]
    return "".join(good), "".join(bad)


def service_text(service: inetd.Service) -> str:
    """Write what was read of a service."""
    bounds = f" minute={service.per_minute} children={service.children_max}"
    words = " ".join(map(repr, service.arguments))
    return (
        f"{service.line}: {service} port {service.port} {'wait' if service.wait else 'nowait'}{bounds} "
        f"{service.user}:{service.group or ''} {service.program or 'internal'} {words}\n"
        + "".join(f"    {policy}\n" for policy in policy_texts(service.policies))
    )


LANGUAGES: dict[str, Callable[[str, str], tuple[str, str]]] = {"inetd": inetd_case, "setkey": setkey_case}
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
