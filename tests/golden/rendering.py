"""Renders what a text in one of our languages means and what is wrong with it.

No comparison enters. A case is `NAME.in`; `NAME.ok` has its messages, `NAME.err` its diagnostics.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from sallet.cli import inetd as inetd_verb
from sallet.cli.setkey_report import Reporter
from sallet.inetd.configuration import policy_texts
from sallet.lang import dump, dump_short, inetd, setkey, trace
from sallet.lang.forms import FORMS
from sallet.pfkey.constants import IpsecLevel, SadbMsgType
from sallet.pfkey.constants import SadbExtType as E
from sallet.pfkey.dialects import DIALECTS, Dialect
from sallet.pfkey.messages import Lifetime, Message, Policy, Request

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


NOW = 1_704_067_210
"""When the dumps are made: ten seconds into 2024."""


def dump_case(text: str, name: str) -> tuple[str, str]:
    """Return how each form shows what a setkey text adds, as if a daemon had stored it ten seconds before."""
    shown: list[str] = []
    with _universal_time():
        for form in FORMS:
            statements, _ = setkey.check(text, filename=name, form=form)
            dialect = DIALECTS[FORMS[form].dialect]
            stored = [_stored(order.message, dialect) for order in setkey.plan(statements, form, dialect)]
            shown.append(f"== form {form}\n")
            shown += [dump.spd(m, form) for m in stored if E.X_POLICY in m.extensions]
            associations = [message for message in stored if E.SA in message.extensions]
            shown += [dump.sad(message, form, NOW) for message in associations]
            if FORMS[form].ipsec_tools and associations:
                shown += ["-- -p\n", dump.sad(associations[0], form, NOW, ports=True)]
        if associations:
            shown += ["== -l\n", dump_short.HEADER]
            shown += [dump_short.line(message, NOW) for message in associations]
    return "".join(shown), ""


def _stored(message: Message, dialect: Dialect) -> Message:
    """Make the entry of a dump out of the message that added it."""
    extensions = dict(message.extensions)
    extensions[E.LIFETIME_CURRENT] = Lifetime(0, 0, NOW - 10, 0)
    policy = extensions.get(E.X_POLICY)
    if isinstance(policy, Policy):
        requests = [_numbered(request, dialect) for request in policy.requests]
        extensions[E.X_POLICY] = replace(policy, id=8, requests=tuple(requests), scope=1)
        return Message(SadbMsgType.X_SPDDUMP, 0, pid=123, reserved=1, extensions=extensions)
    return Message(SadbMsgType.DUMP, message.satype, pid=123, reserved=1, extensions=extensions)


def _numbered(request: Request, dialect: Dialect) -> Request:
    """Give a request the id that a daemon would give it."""
    made = request.level == IpsecLevel.UNIQUE and not 0 < request.reqid <= dialect.reqid_chosen_max
    marked = made if dialect.reqids_made_marked else None
    return replace(request, reqid=16384 if made else request.reqid, made=marked)


@contextlib.contextmanager
def _universal_time() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


LANGUAGES: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "dump": dump_case,
    "inetd": inetd_case,
    "setkey": setkey_case,
}
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
