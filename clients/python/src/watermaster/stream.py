"""Usage from answers: whole bodies, and streams of events as they pass.

clients/testdata/usage.json has the cases. Where a usage is told only because the client asked for it, the
event that tells it is hidden from the caller.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .answer import Usage

_MOST = 10**12  # the service takes no more

# Events are only parsed where they can matter. In a text the quotes would be escaped.
_MATTERS = re.compile(
    rb'"usage"\s*:\s*\{|"error"\s*:\s*\{|"type"\s*:\s*"(?:error|message_stop|response\.(?:completed|incomplete|failed))"'
)
_LINE = re.compile(rb"\r\n|\n|\r")
_STATUS = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
    "invalid_request_error": 400,
}


@dataclass
class Failure:
    """An error that came within a stream, after a good status."""

    status: int
    body: Any


def read_body(wire: str, content: bytes) -> Usage | None:
    """Reads the usage of a whole answer; None: it has none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None
    return _normalize(wire, [usage])


def response_id(content: bytes) -> str | None:
    """Gives the id of a whole answer of the Responses API."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    name = body.get("id") if isinstance(body, dict) else None
    return name if isinstance(name, str) else None


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else None


def _normalize(wire: str, told: list[dict[str, Any]]) -> Usage | None:
    """Reads usage objects in their order: each is cumulative, what a later one leaves out stays."""
    usage = _read(wire, told)
    return None if usage == Usage() else usage


def _read(wire: str, told: list[dict[str, Any]]) -> Usage:
    merged: dict[str, Any] = {}
    for usage in told:
        merged.update((key, value) for key, value in usage.items() if value is not None)
    if wire == "messages":
        fresh = _whole(merged.get("input_tokens"))
        written = _whole(merged.get("cache_creation_input_tokens"))
        cached = _whole(merged.get("cache_read_input_tokens"))
        whole = None if fresh is None else _whole(fresh + (written or 0) + (cached or 0))
        return Usage(whole, _whole(merged.get("output_tokens")), cached, written)
    prefix = ("prompt", "completion") if wire in ("chat", "completions", "embeddings") else ("input", "output")
    details = merged.get(prefix[0] + "_tokens_details")
    if not isinstance(details, dict):
        details = {}
    cached = _whole(details.get("cached_tokens"))
    if cached is None:
        cached = _whole(merged.get("prompt_cache_hit_tokens"))
    return Usage(
        _whole(merged.get(prefix[0] + "_tokens")),
        _whole(merged.get(prefix[1] + "_tokens")),
        cached,
        _whole(details.get("cache_write_tokens")),
    )


class Reader:
    """Reads the events of a stream as they pass through.

    Nothing is held back that a caller could use: without `hide` bytes pass as they come, with it each event
    as soon as it is complete.
    """

    def __init__(self, wire: str, hide: bool = False) -> None:
        self._wire = wire
        self._hide = hide
        self._rest = bytearray()  # of an event that is not complete
        self._line = 0  # where its last line begins
        self._seen = 0  # as far as it has been searched for a line's end
        self._usage: list[dict[str, Any]] = []
        #: The last event has come.
        self.ended = False
        #: The error that came within the stream.
        self.failure: Failure | None = None
        #: The id of a response, once it is told.
        self.response_id: str | None = None

    @property
    def usage(self) -> Usage | None:
        """What was told so far; None: nothing."""
        return _normalize(self._wire, self._usage) if self._usage else None

    def feed(self, chunk: bytes) -> bytes:
        """Takes in what came, and gives what the caller gets of it now."""
        self._rest += chunk
        out = bytearray()
        while (end := self._end()) is not None:
            event = bytes(self._rest[:end])
            del self._rest[:end]
            self._line = self._seen = 0
            out += self._event(event)
        return bytes(out) if self._hide else chunk

    def close(self) -> bytes:
        """Ends the stream, and gives what is left for the caller."""
        rest, self._rest = bytes(self._rest), bytearray()
        out = self._event(rest) if rest else b""
        return out if self._hide else b""

    def _end(self) -> int | None:
        """Finds the end of the first event: behind an empty line that is not its first."""
        while (end := _LINE.search(self._rest, self._seen)) is not None:
            if end.group() == b"\r" and end.end() == len(self._rest):
                self._seen = end.start()
                return None  # it may be half of a line's end
            empty, self._line = end.start() == self._line, end.end()
            self._seen = self._line
            if empty:
                return end.end()
        self._seen = len(self._rest)
        return None

    def _event(self, event: bytes) -> bytes:
        """Reads an event, and gives it back unless it is to be hidden."""
        # Data of several lines may have a word at their joints: nobody does that, but it is allowed.
        if not _MATTERS.search(event) and b"[DONE]" not in event and event.count(b"data:") < 2:
            return event
        data = self._data(event)
        if data is None:
            return event
        if data.strip() == b"[DONE]":
            self.ended = True
            return event
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return event
        if not isinstance(value, dict):
            return event
        return b"" if self._take(value) and self._hide else event

    def _data(self, event: bytes) -> bytes | None:
        parts = []
        for line in _LINE.split(event):
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.startswith(b"data:"):
                parts.append(line[5:].removeprefix(b" "))
        return b"\n".join(parts) if parts else None

    def _take(self, value: dict[str, Any]) -> bool:
        """Takes in an event, and says whether it tells the usage and nothing else."""
        kind = value.get("type")
        where = value
        if self._wire == "responses" and isinstance(value.get("response"), dict):
            where = value["response"]
            if isinstance(where.get("id"), str):
                self.response_id = where["id"]
        elif self._wire == "messages" and isinstance(value.get("message"), dict):
            where = value["message"]
        usage = where.get("usage")
        if isinstance(usage, dict):
            self._usage.append(usage)
        if kind == "message_stop" or kind in ("response.completed", "response.incomplete", "response.failed"):
            self.ended = True
        error = where.get("error")
        if kind == "error" and not isinstance(error, dict):
            error = value
        if isinstance(error, dict):
            self.failure = Failure(_status(error), error)
        return isinstance(usage, dict) and value.get("choices") == []


def _status(error: dict[str, Any]) -> int:
    for key in ("code", "type"):
        name = error.get(key)
        if isinstance(name, str) and name in _STATUS:
            return _STATUS[name]
    return 500
