"""Refusals in the provider's form, and what the service is told of the provider's own answers.

clients/testdata/refusals.json and observations.json have the cases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

_RATE_HEADERS = (
    "x-ratelimit",
    "ratelimit",
    "anthropic-ratelimit",
    "anthropic-priority",
    "anthropic-fast",
    "x-tokenlimit",
    "retry-after",
    "x-ms-",
    "x-should-retry",
)
_MOST_HEADERS = 64
_LONGEST_VALUE = 1024
_LONGEST_BODY = 4096


class Binding(Protocol):
    """A limit in the way."""

    @property
    def scope(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def window(self) -> float | None: ...
    @property
    def quota(self) -> int: ...
    @property
    def utilization(self) -> float: ...


def _amount(value: float) -> str:
    return f"{value:.12g}"


def error_body(wire: str, message: str, kind: str, code: str | None, anthropic: str) -> bytes:
    """An error's body as the provider of a wire format words it."""
    if wire == "messages":
        body: dict[str, Any] = {"type": "error", "error": {"type": anthropic, "message": message}}
    else:
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return json.dumps(body, ensure_ascii=False).encode()


def refusal(
    wire: str, request_id: str, reason: str, retry_after: float | None, binding: Sequence[Binding], message: str
) -> tuple[dict[str, str], bytes]:
    """The headers and body of a 429 that tells of a refusal."""
    text = f"watermaster: {message or reason}"
    kind = "requests"
    if binding:
        first = binding[0]
        window = f" per {_amount(first.window)}s" if first.window is not None else ""
        text += f" ({first.scope}: {first.metric} {first.quota}{window}, {round(first.utilization * 100)} % used)"
        if "token" in first.metric:
            kind = "tokens"
    headers = {
        "content-type": "application/json",
        "x-should-retry": "false",
        "x-watermaster-reason": reason,
        "x-watermaster-request-id": request_id,
    }
    if retry_after is not None:
        headers["retry-after"] = str(math.ceil(retry_after))
    if binding:
        headers["x-watermaster-binding"] = ", ".join(map(_binding, binding))
    return headers, error_body(wire, text, kind, "rate_limit_exceeded", "rate_limit_error")


def _binding(limit: Binding) -> str:
    window = f"/{_amount(limit.window)}s" if limit.window is not None else ""
    return f"{limit.scope} {limit.metric} {limit.quota}{window} {_amount(limit.utilization)}"


# Of an error by its gRPC code: HTTP status, OpenAI's type and code, Anthropic's type, and what to do about it.
_CODES = {
    "INVALID_ARGUMENT": (
        400, "invalid_request_error", "invalid_argument", "invalid_request_error",
        "mend the request or the client's options",
    ),
    "UNAUTHENTICATED": (
        401, "invalid_request_error", "unauthenticated", "authentication_error",
        "set the client's token",
    ),
    "PERMISSION_DENIED": (
        403, "invalid_request_error", "permission_denied", "permission_error",
        "use a token that is for this organization and project",
    ),
    "NOT_FOUND": (
        404, "invalid_request_error", "not_found", "not_found_error",
        "add it to the service's configuration or ask for what is there",
    ),
    "UNAVAILABLE": (
        503, "server_error", "watermaster_unavailable", "api_error",
        "see that the service runs at the client's address, or set when_away",
    ),
}  # fmt: skip
_UNEXPECTED = (500, "server_error", "watermaster_error", "api_error", "look into the service's log")


def trouble(wire: str, request_id: str, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that tell of an error of the service."""
    if code == "RESOURCE_EXHAUSTED":
        busy = f"{message or 'the service protects itself'}; ask again later"
        return 429, *refusal(wire, request_id, "SERVICE_BUSY", 1, (), busy)
    status, kind, name, anthropic, advice = _CODES.get(code, _UNEXPECTED)
    headers = {"content-type": "application/json", "x-should-retry": "false"}
    if request_id:
        headers["x-watermaster-request-id"] = request_id
    return status, headers, error_body(wire, f"watermaster: {message}; {advice}", kind, name, anthropic)


def rate_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keeps the headers that speak of rates."""
    kept: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name.startswith(_RATE_HEADERS) and len(kept) < _MOST_HEADERS:
            kept[name] = value[:_LONGEST_VALUE]
    return kept


def told_body(status: int, content: bytes) -> str:
    """What the service may see of an error's body: nothing that could quote a prompt or a key."""
    if status < 400:
        return ""
    if status in (402, 413, 429) or status >= 500:
        text = content[:_LONGEST_BODY].decode("utf-8", "ignore")
        while len(text.encode("utf-8")) > _LONGEST_BODY:
            text = text[:-1]
        return text
    try:
        error = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    error = error.get("error") if isinstance(error, Mapping) else None
    if not isinstance(error, Mapping):
        return ""
    kept = {key: error[key][:256] for key in ("type", "code") if isinstance(error.get(key), str)}
    return json.dumps({"error": kept}, separators=(",", ":"))
