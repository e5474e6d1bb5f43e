"""The words of the control connection: one JSON object per line, request and reply.

No socket and no engine may enter: this is what client and server agree on.
Answers to: ARCHITECTURE.md section B; the socket is `control.sock` in the run directory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

SOCKET_NAME = "control.sock"
REQUEST_BYTES_MAX = 65536
"""A longer request line is refused: nothing a client may ask is longer."""


class BadRequest(Exception):
    """A line that is no request."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call: an id that the reply repeats, a method and its parameters."""

    id: int
    method: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call was refused; the fields are those of `Failure`."""

    what: str
    where: str = ""
    why: str = ""
    next_step: str = ""
    kind: str = "failed"


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one call: a result, or a refusal."""

    id: int
    result: Any = None
    refusal: Refusal | None = None


def encode_request(request: Request) -> bytes:
    """Write a request as one line."""
    return _line({"id": request.id, "method": request.method, "params": request.params})


def encode_reply(reply: Reply) -> bytes:
    """Write a reply as one line."""
    if reply.refusal is None:
        return _line({"id": reply.id, "result": reply.result})
    refusal = reply.refusal
    names = ("what", "where", "why", "next_step", "kind")
    return _line({"id": reply.id, "error": {name: getattr(refusal, name) for name in names}})


def decode_request(line: bytes) -> Request:
    """Read a request.

    Raises:
        BadRequest: the line is not JSON, or not an object with `id`, `method` and perhaps `params`.
    """
    value = _object(line)
    identifier, method, params = value.get("id"), value.get("method"), value.get("params", {})
    if not isinstance(identifier, int) or isinstance(identifier, bool):
        raise BadRequest("a request needs an integer `id`")
    if not isinstance(method, str):
        raise BadRequest("a request needs a string `method`")
    if not isinstance(params, dict):
        raise BadRequest("`params` is not an object")
    return Request(identifier, method, params)


def decode_reply(line: bytes) -> Reply:
    """Read a reply.

    Raises:
        BadRequest: the line is not a reply.
    """
    value = _object(line)
    identifier, error = value.get("id"), value.get("error")
    if not isinstance(identifier, int):
        raise BadRequest("a reply needs an integer `id`")
    if error is None:
        return Reply(identifier, value.get("result"))
    if not isinstance(error, dict):
        raise BadRequest("`error` is not an object")
    names = ("what", "where", "why", "next_step", "kind")
    return Reply(identifier, refusal=Refusal(**{name: str(error.get(name, "")) for name in names}))


def encode_event(identifier: int, event: dict[str, Any]) -> bytes:
    """Write what a call that goes on answering tells, as one line."""
    return _line({"id": identifier, "event": event})


def decode_event(line: bytes) -> dict[str, Any]:
    """Read what a call that goes on answering tells.

    Raises:
        BadRequest: the line is no such thing.
    """
    event = _object(line).get("event")
    if not isinstance(event, dict):
        raise BadRequest("not an event")
    return event


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # Half a surrogate pair may come in as an escape, and can only go out as one.
    return text.encode(errors="backslashreplace") + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequest("not a JSON object")
    return value
