"""The limiter: asks the service before each call to a provider."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import grpc

from . import answer
from .acquisition import Acquisition
from .answer import Advice, Observation, Pressure, Target, Usage, duration, seconds
from .attempts import Attempts
from .call import Ask, Call, current
from .channel import Address, Pool
from .courier import Courier, backoff
from .errors import CallError, Error, Rejected, Unavailable
from .exchange import Clock, Exchange, Pause, Steps, away, run, run_async
from .lease import Lease
from .local import Window
from .settings import TLS, Local, Options, Tokenizer, WhenAway, addresses
from .v1 import limiter_pb2 as pb
from .v1 import monitor_pb2 as monitor

_BLOCK = 10.0  # seconds that one Acquire stays open
_GRACE = 5.0  # seconds on top of it for the answer
_PATIENCE = 30.0  # seconds of outage that a caller without max_wait bears
_TICK = 0.01  # seconds that a timer may be early
_AWAY = 1.0  # seconds that the service is given before when_away applies

_log = logging.getLogger("watermaster")


class Limiter:
    """Asks Watermaster when a call to a provider may go. For any number of threads, event loops and forks.

    address is one "host:port" or several of the same service; durations are in seconds. The README has a table
    of the options. Raises Error for options that cannot be, and for a token that would leave in plaintext.
    """

    def __init__(
        self,
        address: str | Sequence[str] = "localhost:8081",
        *,
        organization: str = "",
        project: str | None = None,
        priority_class: str | None = None,
        route: str | None = None,
        max_wait: float | None = None,
        min_quality: float | None = None,
        affinity_key: str | None = None,
        capabilities: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        token: str | None = None,
        tls: bool | TLS = False,
        insecure: bool = False,
        account: str | None = None,
        keys: Mapping[str, str] | None = None,
        retries: int = 2,
        when_away: WhenAway = "closed",
        lease_ttl: float = 30.0,
        on_pressure: Callable[[Pressure], None] | None = None,
        tokenizer: Literal["auto"] | Tokenizer | None = "auto",
        clock: Clock | None = None,
    ) -> None:
        self.options = options = Options(
            addresses=addresses(address),
            organization=organization,
            call=Call(
                project,
                priority_class,
                route,
                None,
                max_wait,
                min_quality,
                affinity_key,
                capabilities,
                labels,
            ),
            token=token,
            tls=tls,
            insecure=insecure,
            account=account,
            keys=dict(keys or {}),
            retries=retries,
            when_away=when_away,
            lease_ttl=lease_ttl,
            on_pressure=on_pressure,
            tokenizer=tokenizer,
        )
        self.pressure = Pressure()  # the latest that was told
        self.clock = self._clock = clock or Clock()
        self._pool = Pool(options, self._clock.now)
        self._courier = Courier(self._pool, self._clock)
        self._attempts = Attempts()
        self._window = Window(when_away) if isinstance(when_away, Local) else None
        self._closed = False
        self._finalizer = weakref.finalize(self, self._courier.retire)
        self._finalizer.atexit = False  # the courier has its own way to end
        _limiters.add(self)

    def acquire(
        self,
        *,
        model: str = "",
        route: str | None = None,
        input_tokens: int = 0,
        max_output_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        units: Mapping[str, int] | None = None,
        project: str | None = None,
        priority_class: str | None = None,
        request_id: str | None = None,
        attempt: int = 0,
        max_wait: float | None = None,
        min_quality: float | None = None,
        affinity_key: str | None = None,
        capabilities: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        accounts: Sequence[str] = (),
        exclude_accounts: Sequence[str] = (),
        providers: Sequence[str] = (),
    ) -> Acquisition:
        """One call, for `with` or `async with`, which gives the Lease; the block's end releases it.

        input_tokens is an upper bound; max_output_tokens None is the model's maximum. Entering raises Rejected,
        Unavailable or CallError.
        """
        given = Call(
            project,
            priority_class,
            route,
            request_id,
            max_wait,
            min_quality,
            affinity_key,
            capabilities,
            labels,
        )
        call = self.call(given)
        if model and route is None:
            call = Call(
                call.project, call.priority_class, None, call.request_id, call.max_wait, call.min_quality,
                call.affinity_key, call.capabilities, call.labels,
            )  # fmt: skip
        name = call.request_id
        return Acquisition(
            self,
            Ask(
                call=call,
                model=model,
                input_tokens=input_tokens,
                request_id=name or str(uuid.uuid4()),
                attempt=self.attempt(name, attempt) if name else attempt,
                max_output_tokens=max_output_tokens,
                cached_input_tokens=cached_input_tokens,
                units=units or {},
                accounts=accounts,
                exclude_accounts=exclude_accounts,
                providers=providers,
            ),
        )

    def call(self, given: Call | None = None) -> Call:
        """The options of a call: those given over the context's over the limiter's."""
        call = current().over(self.options.call)
        return call if given is None else given.over(call)

    def attempt(self, request_id: str, at_least: int = 0) -> int:
        """The next number of an HTTP attempt of that id in this process. Only for ids that the caller chose."""
        return self._attempts.next(request_id, at_least)

    def ask(self, ask: Ask, deadline: float | None = None) -> Lease:
        """Asks, and waits as long as the caller's patience allows. deadline is its end, monotonic seconds."""
        return run(self._asking(ask, deadline))

    async def ask_async(self, ask: Ask, deadline: float | None = None) -> Lease:
        """As ask. Cancelling the task cancels the call to the service."""
        return await run_async(self._asking(ask, deadline))

    def headroom(self, *, account: str = "", pool: str = "", project: str = "") -> monitor.Headroom:
        """What is held, reserved and left of each limit; filters as in GetHeadroomRequest."""
        return run(self._headroom(account, pool, project))

    async def headroom_async(self, *, account: str = "", pool: str = "", project: str = "") -> monitor.Headroom:
        """As headroom."""
        return await run_async(self._headroom(account, pool, project))

    def report(
        self,
        lease: Lease | None = None,
        *,
        account: str = "",
        model: str = "",
        usage: Usage | None = None,
        observation: Observation | None = None,
    ) -> Advice | None:
        """Tells what a running call has used so far, or (with account and model) what was seen without a lease."""
        return run(self._reporting(lease, account, model, usage, observation))

    async def report_async(
        self,
        lease: Lease | None = None,
        *,
        account: str = "",
        model: str = "",
        usage: Usage | None = None,
        observation: Observation | None = None,
    ) -> Advice | None:
        """As report."""
        return await run_async(self._reporting(lease, account, model, usage, observation))

    @property
    def dropped(self) -> int:
        """Releases that could not be delivered so far."""
        return self._courier.dropped

    def close(self, timeout: float = 5.0) -> None:
        """Delivers the releases that are queued, at most for timeout seconds, and closes the channels."""
        self._closed = True
        self._courier.close(timeout)

    async def aclose(self, timeout: float = 5.0) -> None:
        """As close."""
        await asyncio.get_running_loop().run_in_executor(None, self.close, timeout)

    def __enter__(self) -> Limiter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Limiter:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _asking(self, ask: Ask, deadline: float | None) -> Steps[Lease]:
        # An Acquire that was not answered in time may have been granted.
        open_: list[pb.AcquireRequest] = []
        try:
            lease = yield from self._until_granted(ask, deadline, open_)
        except BaseException:
            self._take_back(ask, open_)
            raise
        self._take_back(ask, open_)
        return lease

    def _until_granted(
        self, ask: Ask, deadline: float | None, unanswered: list[pb.AcquireRequest]
    ) -> Steps[Lease]:
        now = self._clock.now
        first = now()
        if deadline is None and ask.call.max_wait is not None:
            deadline = first + ask.call.max_wait
        attempt = ask.attempt
        request = self._request(ask, attempt, deadline, first)
        outage: float | None = None  # since when nobody answers this caller
        queued = False  # the service has answered, and holds the place
        failures = 0
        tried: set[Address] = set()
        fallback = self.options.when_away != "closed"
        while True:
            asked_at = now()
            if fallback and self._away(outage, asked_at):
                wait = self._without_service(ask, asked_at, first + _PATIENCE if deadline is None else deadline)
                if wait == 0:
                    return Lease(ask.request_id, attempt, asked_at, waited=asked_at - first)
                yield Pause(self._clock, min(wait, 1.0))  # the service may be back before
                outage = None
                continue
            address = self._pool.pick(tried)
            block = _BLOCK  # the service itself cuts it to what the call has
            within = _GRACE + (_BLOCK if deadline is None else max(0.0, min(_BLOCK, deadline - asked_at)))
            if fallback and not queued:
                # The service has so long before calls go without it. So the first call is short: of one that
                # waits in the queue it would not be known whether anybody is there.
                within = _AWAY / len(self.options.addresses)
                block = within / 2
            request.block.CopyFrom(duration(block))
            unanswered.clear()
            lost = partial(self._lost, ask, request)
            try:
                response = yield Exchange(address, "Acquire", request, within, lost)
            except grpc.RpcError as e:
                if not away(e):
                    raise self._bug(e) from None
                if e.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    unanswered.append(request)
                self._pool.failed(address)
                outage, queued = asked_at if outage is None else outage, False
                tried.add(address)
                if self._pool.other(tried):
                    continue
                tried.clear()
                end = outage + _PATIENCE if deadline is None else deadline
                if fallback:
                    end = outage + _AWAY
                elif now() >= end:
                    raise self._unavailable(e) from None
                yield Pause(self._clock, max(0.0, min(backoff(failures, 2.0), end - now())))
                failures += 1
                continue
            except ValueError as e:
                raise self._bug(e) from None
            self._pool.answered(address)
            outage, failures, queued = None, 0, True
            tried.clear()
            self._feel(response)
            decision = response.WhichOneof("decision")
            if decision == "granted":
                lease = self._lease(ask, attempt, asked_at, first, response.granted)
                if lease.in_time():
                    return lease
                lease.release(answer.Outcome.UNSENT)
                attempt = self._attempts.next(ask.request_id, attempt + 1, remember=False)
                request = self._request(ask, attempt, deadline, now())
            elif decision == "wait":
                if (pause := seconds(response.wait.retry_after)) > 0:
                    yield Pause(self._clock, pause)
            else:
                raise answer.rejected(response.rejected)

    def _request(self, ask: Ask, attempt: int, deadline: float | None, now: float) -> pb.AcquireRequest:
        request = ask.message(self.options.organization)
        request.attempt = attempt
        request.lease_ttl.CopyFrom(duration(self.options.lease_ttl))
        if deadline is not None:
            request.max_wait.CopyFrom(duration(min(86_400.0, max(0.0, deadline - now))))
        return request

    def _lease(self, ask: Ask, attempt: int, asked_at: float, first: float, granted: pb.Granted) -> Lease:
        target = granted.target
        lease = Lease(
            ask.request_id,
            attempt,
            asked_at,
            id=granted.lease_id,
            target=Target(target.account, target.provider, target.model, dict(target.attributes)),
            start_within=seconds(granted.start_within),
            waited=asked_at - first + seconds(granted.waited),
            pressure=self.pressure,
            courier=self._courier,
        )
        if granted.HasField("renew_every"):
            self._courier.open(granted.lease_id, max(0.01, seconds(granted.renew_every)))
        return lease

    def _lost(self, ask: Ask, request: pb.AcquireRequest, response: pb.AcquireResponse | None) -> None:
        if response is None:
            self._take_back(ask, [request])
        elif response.WhichOneof("decision") == "granted":
            self._courier.release(pb.ReleaseRequest(lease_id=response.granted.lease_id, outcome=pb.OUTCOME_UNSENT))

    def _take_back(self, ask: Ask, unanswered: list[pb.AcquireRequest]) -> None:
        # Under a key of the caller's own choice it may come back, and gets the grant then.
        if unanswered and not ask.call.request_id:
            self._courier.take_back(unanswered.pop(), self.options.lease_ttl)

    def _away(self, outage: float | None, now: float) -> bool:
        since = self._pool.away_since
        if since is None or (outage is not None and outage < since):
            since = outage
        return since is not None and now - since >= _AWAY - _TICK

    def _without_service(self, ask: Ask, now: float, deadline: float) -> float:
        """Seconds to wait; 0: go."""
        if self._window is None:
            return 0.0
        wait = self._window.take(now, ask.input_tokens + (ask.max_output_tokens or 0))
        if wait and now + wait > deadline:
            raise Rejected(
                "LOCAL_LIMIT",
                "the service is away and the limit of this process is used up",
                wait if wait < float("inf") else None,
            )
        return wait

    def _feel(self, response: pb.AcquireResponse | pb.ReportResponse) -> None:
        if not response.HasField("pressure"):
            return
        before, self.pressure = self.pressure, answer.pressure(response.pressure)
        p = self.pressure
        if self.options.on_pressure is not None and (
            (p.level, p.max_tool_calls, p.agent_profile)
            != (before.level, before.max_tool_calls, before.agent_profile)
        ):
            try:
                self.options.on_pressure(p)
            except Exception:
                _log.exception("on_pressure failed")

    def _headroom(self, account: str, pool: str, project: str) -> Steps[monitor.Headroom]:
        request = monitor.GetHeadroomRequest(
            organization=self.options.organization, account=account, pool=pool, project=project
        )
        response: monitor.GetHeadroomResponse = yield from self._once("GetHeadroom", request)
        return response.headroom

    def _reporting(
        self,
        lease: Lease | None,
        account: str,
        model: str,
        usage: Usage | None,
        observation: Observation | None,
    ) -> Steps[Advice | None]:
        if lease is not None and not lease.id:
            return None
        number = 0
        if lease is not None and observation is not None:
            lease.observations += 1
            number = lease.observations
        request = pb.ReportRequest(
            lease_id=lease.id if lease is not None else "",
            organization=self.options.organization,
            account=account,
            model=model,
            usage=usage.message() if usage is not None else None,
            observation=observation.message(number) if observation is not None else None,
        )
        response: pb.ReportResponse = yield from self._once("Report", request)
        self._feel(response)
        return answer.advice(response.advice) if response.HasField("advice") else None

    def _once(self, method: str, request: Any) -> Steps[Any]:
        """One call, at each address at most once."""
        tried: set[Address] = set()
        while True:
            address = self._pool.pick(tried)
            try:
                response = yield Exchange(address, method, request, _GRACE)
            except grpc.RpcError as e:
                if not away(e):
                    raise self._bug(e) from None
                self._pool.failed(address)
                tried.add(address)
                if not self._pool.other(tried):
                    raise self._unavailable(e) from None
            except ValueError as e:
                raise self._bug(e) from None
            else:
                self._pool.answered(address)
                return response

    def _bug(self, error: grpc.RpcError | ValueError) -> Exception:
        if self._closed:  # gRPC tells it as a ValueError, or as CANCELLED to a call that was open
            return Error("the limiter is closed")
        return CallError(error.code().name, error.details() or "") if isinstance(error, grpc.RpcError) else error

    def _unavailable(self, error: grpc.RpcError) -> Unavailable:
        where = ", ".join(self.options.addresses)
        return Unavailable(f"no answer from {where} ({error.details()}); is `watermaster serve` running there?")


_limiters: weakref.WeakSet[Limiter] = weakref.WeakSet()


def _after_fork() -> None:
    # A lock that another thread of the parent held would never be free here.
    for limiter in list(_limiters):
        limiter._attempts.lock = threading.Lock()
        if limiter._window is not None:
            limiter._window.lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has none
    os.register_at_fork(after_in_child=_after_fork)
