"""The end of a call whose answer is being read: its usage, and the release of its lease."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from . import form
from .answer import Observation, Outcome, Usage
from .lease import Lease
from .stream import Reader, read_body, response_id


@dataclass
class Ending:
    """Releases the lease of a call whose answer is being read, once."""

    lease: Lease
    started_after: float
    status: int
    rates: dict[str, str]
    wire: str
    learn: Callable[[Usage | None, str | None], None]
    reader: Reader | None = None  # of a stream
    over: bool = False
    parts: list[bytes] = field(default_factory=list)  # of a plain body

    def feed(self, chunk: bytes) -> bytes:
        """Takes in what came, and gives what the caller gets of it now."""
        if (reader := self.reader) is not None:
            out = reader.feed(chunk)
            # Nothing that counts comes behind the last event, and the connection may stay open for long.
            if reader.ended or reader.failure is not None:
                self.cut()
            return out
        self.parts.append(chunk)
        return chunk

    def done(self) -> bytes:
        """The body has ended as it should; gives what is left for the caller."""
        if self.reader is not None:
            rest = self.reader.close()
            self.cut()
            return rest
        whole = b"".join(self.parts)
        self.parts.clear()
        self._release(
            Outcome.UNSPECIFIED,
            read_body(self.wire, whole),
            response_id(whole) if self.wire == "responses" else None,
        )
        return b""

    def cut(self) -> None:
        """Nothing more will be read: it is cut, closed or forgotten, or all of it was there."""
        reader = self.reader
        if reader is None:
            self.parts.clear()
            self._release(Outcome.UNKNOWN, None, None)
        elif reader.failure is not None:
            body = json.dumps({"error": reader.failure.body}, ensure_ascii=False).encode()
            self._release(Outcome.UNSPECIFIED, reader.usage, None, reader.failure.status, body)
        else:
            self._release(
                Outcome.UNSPECIFIED if reader.ended else Outcome.UNKNOWN, reader.usage, reader.response_id
            )

    def _release(
        self, outcome: Outcome, usage: Usage | None, response: str | None, status: int = 0, body: bytes = b""
    ) -> None:
        if self.over:  # what is read to its end is closed, too, and forgotten
            return
        self.over = True
        status = status or self.status
        observation = Observation(status, self.rates, form.told_body(status, body))
        self.lease.release(outcome, usage, observation, self.started_after)
        if outcome is Outcome.UNSPECIFIED:
            self.learn(usage, response)
