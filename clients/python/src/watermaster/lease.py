"""A grant in force, from the answer to the release."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .answer import Advice, Observation, Outcome, Pressure, Target, Usage, duration
from .errors import TooLate
from .v1 import limiter_pb2 as pb

if TYPE_CHECKING:
    from .courier import Courier

_log = logging.getLogger("watermaster")


class Lease:
    """Lets one HTTP attempt go. It is renewed until it is released; one that is dropped is released as UNKNOWN.

    id is "" and target None while the service is away and when_away lets calls go: releasing it does nothing.
    """

    __slots__ = (
        "__weakref__", "_courier", "_generation", "_now", "_observation", "_once", "_started_after", "_usage",
        "asked_at", "attempt", "id", "observations", "pressure",
        "request_id", "start_within", "target", "waited",
    )  # fmt: skip

    def __init__(
        self,
        request_id: str,
        attempt: int,
        asked_at: float,
        *,
        id: str = "",
        target: Target | None = None,
        start_within: float = float("inf"),
        waited: float = 0.0,
        pressure: Pressure | None = None,
        courier: Courier | None = None,
    ) -> None:
        self.id = id
        self.target = target
        self.request_id = request_id
        self.attempt = attempt
        self.asked_at = asked_at  # monotonic seconds, when the Acquire was sent that was granted
        self.start_within = start_within  # seconds from asked_at
        self.waited = waited  # seconds from the first ask to the grant
        self.pressure = pressure
        self.observations = 0  # told by Report so far
        self._courier = courier
        self._generation = courier.generation if courier is not None else 0
        self._now = courier.clock.now if courier is not None else time.monotonic
        self._once = [True] if courier is not None else []  # whoever pops it releases
        self._usage: Usage | None = None
        self._observation: Observation | None = None
        self._started_after: float | None = None

    def in_time(self) -> bool:
        """Whether the call may still leave."""
        return self._now() - self.asked_at < self.start_within

    def start(self) -> float:
        """Says that the call leaves now; gives the seconds since asked_at. Raises TooLate if it must not."""
        now = self._now()
        if now - self.asked_at >= self.start_within:
            raise TooLate(f"the grant had to be used within {self.start_within:g} s; ask again")
        self._started_after = now - self.asked_at
        return self._started_after

    def usage(
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        cache_write_input_tokens: int | None = None,
        units: Mapping[str, int] | None = None,
    ) -> None:
        """Says what the call used in all; sent with the release. See Usage."""
        self._usage = Usage(
            input_tokens, output_tokens, cached_input_tokens, cache_write_input_tokens, units or {}
        )

    def observe(self, status: int, headers: Mapping[str, str] | None = None, body: str = "") -> None:
        """Says what the provider answered; sent with the release. See Observation."""
        self._observation = Observation(status, headers or {}, body)

    def release(
        self,
        outcome: Outcome = Outcome.UNSPECIFIED,
        usage: Usage | None = None,
        observation: Observation | None = None,
        started_after: float | None = None,
    ) -> None:
        """Ends the lease, in the background. A second one is ignored. Never blocks, never raises."""
        if (courier := self._take()) is not None:
            courier.release(self._ending(outcome, usage, observation, started_after))

    def release_for_advice(
        self,
        outcome: Outcome = Outcome.UNSPECIFIED,
        usage: Usage | None = None,
        observation: Observation | None = None,
        started_after: float | None = None,
        timeout: float = 2.0,
    ) -> Advice | None:
        """Ends the lease and waits, at most timeout seconds, for what to do next. None: no advice came."""
        if (courier := self._take()) is None:
            return None
        return courier.release_now(self._ending(outcome, usage, observation, started_after), timeout)

    async def release_for_advice_async(
        self,
        outcome: Outcome = Outcome.UNSPECIFIED,
        usage: Usage | None = None,
        observation: Observation | None = None,
        started_after: float | None = None,
        timeout: float = 2.0,
    ) -> Advice | None:
        """As release_for_advice. A task that is cancelled in it leaves the release in the queue."""
        if (courier := self._take()) is None:
            return None
        return await courier.release_now_async(self._ending(outcome, usage, observation, started_after), timeout)

    def end(self, error: BaseException | None) -> None:
        """Ends the lease as the plain API's block does: error is what left the block."""
        if isinstance(error, TooLate):
            self.release(Outcome.UNSENT)
            return
        if self._observation is not None:
            outcome = Outcome.UNSPECIFIED
        else:
            outcome = Outcome.UNKNOWN if error is not None else Outcome.SUCCEEDED
        self.release(outcome, self._usage, self._observation, self._started_after)

    def _take(self) -> Courier | None:
        try:
            self._once.pop()
        except IndexError:
            return None
        courier = self._courier
        # A copy that a fork made is not this process's to release.
        return courier if courier is not None and courier.generation == self._generation else None

    def _ending(
        self,
        outcome: Outcome,
        usage: Usage | None,
        observation: Observation | None,
        started_after: float | None,
    ) -> pb.ReleaseRequest:
        number = self.observations + 1 if self.observations else 0
        if started_after is not None and (started_after < 0 or outcome == Outcome.UNSENT):
            started_after = None
        try:
            return pb.ReleaseRequest(
                lease_id=self.id,
                outcome=pb.Outcome.Name(outcome),
                usage=usage.message() if usage is not None else None,
                observation=observation.message(number) if observation is not None else None,
                started_after=duration(started_after) if started_after is not None else None,
            )
        except (TypeError, ValueError):  # what no message can hold; the lease must end nevertheless
            _log.exception("a lease was released without what was told of its call")
            return pb.ReleaseRequest(lease_id=self.id, outcome=pb.OUTCOME_UNKNOWN)

    def __del__(self) -> None:
        # Can run at any instruction of any thread, so release takes no lock.
        if getattr(self, "_once", None):
            with contextlib.suppress(Exception):  # modules are gone when the interpreter ends
                self.release(Outcome.UNKNOWN, self._usage, self._observation, self._started_after)
