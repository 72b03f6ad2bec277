"""What happens to a request from its start to its last byte, whatever HTTP library sends it.

It is written once for both ways of waiting: a generator yields what has to be done next (Wait, Send, …), and
whoever drives it does that, waiting in a thread or in a task, and sends back what came of it. So both do the
same, and each step can be tested without a network.
"""

from __future__ import annotations

import json
import math
import os
import random
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from . import form, way
from .answer import Advice, Observation, Outcome, Usage
from .call import Ask as Question
from .call import Call, current
from .ending import Ending
from .errors import CallError, Rejected, TooLate, Unavailable
from .estimate import Ratios
from .header import PREFIX, Misspelt, clean, retry_count, said
from .lease import Lease
from .request import Request, read
from .stream import Reader
from .tokenizer import counter

if TYPE_CHECKING:
    from .limiter import Limiter

_PATIENCE = 30.0  # seconds from the first ask that a caller without max_wait gives further attempts
MOST_OF_ERROR = 1 << 20  # bytes of an error's body that are read before it is handed on
_EXCLUDED = 64  # accounts that a request may exclude; see limiter.proto
_REMEMBERED = 1024  # responses whose size is kept for those that build on them


# Random names without a system call, behind which another thread might take the interpreter for milliseconds.
# Seeded by the system, not by whoever seeds module random, and again in a child.
_ids = random.Random()
if hasattr(os, "register_at_fork"):  # Windows has none
    os.register_at_fork(after_in_child=_ids.seed)


@dataclass
class Outgoing:
    """A request as it is sent. Its body is whole, so that it can be sent again."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Answer:
    """An answer, or what stands in for one."""

    status: int
    headers: list[tuple[str, str]]
    #: An error's or our own. None: it is `response`'s, and still to be read.
    body: bytes | None = None
    response: Any = None
    #: An iterator of what comes behind an error's body that is larger than what is read of it.
    rest: Any = None
    ending: Ending | None = None

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


# What is to be done next, and what is sent back for it.


@dataclass
class Wait:
    """Ask the service → Lease."""

    question: Question
    deadline: float | None


@dataclass
class Send:
    """Send the request → Answer, with response, or TooLate, NotSent or any other exception."""

    outgoing: Outgoing
    lease: Lease
    #: Seconds from the Acquire that was granted to the moment in which the request left.
    started_after: float

    def leaves(self) -> None:
        """Says that the request is about to be written. Raises TooLate if it must not any more."""
        self.started_after = self.lease.start()


@dataclass
class Read:
    """Read the answer's body → bytes: all of it, or the first MOST_OF_ERROR and put what follows in rest."""

    answer: Answer


@dataclass
class Settle:
    """Release and wait for the advice → Advice or None."""

    lease: Lease
    ending: dict[str, Any]


@dataclass
class Sleep:
    """Wait so many seconds → None."""

    seconds: float


Step = Wait | Send | Read | Settle | Sleep
Steps = Generator[Step, Any, Answer]


class NotSent(Exception):
    """No connection could be made: nothing has left. The cause is what the HTTP library raised."""


class Conduct:
    """Takes requests through a limiter. One serves any number of threads and tasks."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.options = limiter.options
        self._now = limiter.clock.now
        self._ratios = Ratios()
        self._sizes: OrderedDict[str, int] = OrderedDict()  # tokens of a response and all before it, by its id
        self._lock = threading.RLock()  # an answer's finalizer may learn while its thread holds it
        self._count, self._exact = counter(self.options.tokenizer)

    def steps(
        self, method: str, url: str, headers: list[tuple[str, str]], content: Callable[[], bytes]
    ) -> Steps | None:
        """Begins a request. None: it is not limited, and is sent as `clean` leaves it."""
        request = read(method, url, content, self._count)
        if request is None:
            return None
        return self._go(request, Outgoing(method, url, clean(headers), content()), headers)

    def _go(self, request: Request, outgoing: Outgoing, headers: list[tuple[str, str]]) -> Steps:
        options = self.options
        try:
            call = said(headers).over(current()).over(options.call)
        except Misspelt as error:
            status, said_, body = form.trouble(request.wire, "", "INVALID_ARGUMENT", str(error))
            return Answer(status, list(said_.items()), body)
        request_id = call.request_id or str(uuid.UUID(int=_ids.getrandbits(128), version=4))
        began = self._now()
        deadline = began + call.max_wait if call.max_wait is not None else None
        repeated = retry_count(headers)
        retries, tries = max(0, options.retries - repeated), 0
        question = self._question(request, outgoing.url, call, request_id)
        patience = began + _PATIENCE if deadline is None else deadline
        excluded: list[str] = []
        failed: Answer | BaseException | None = None  # the provider's own, of the attempt before
        # Around the account that failed, and when that may be asked again. Another one need not be spared for as
        # long; where there is none, the call goes back to it in time.
        detour: tuple[str, float] | None = None
        at_least = repeated
        while True:
            question.attempt = self.limiter.attempt(request_id, at_least) if call.request_id else at_least
            at_least = question.attempt + 1
            question.exclude_accounts = tuple(excluded)
            if deadline is not None:
                question.call = replace(call, max_wait=max(0.0, deadline - self._now()))
            try:
                lease: Lease = yield Wait(question, deadline)
            except Rejected as no:
                if failed is not None:
                    if detour is None or no.reason != "NO_TARGET":
                        return self._last(failed)
                    (account, until), detour = detour, None
                    if not (yield from self._pause(max(0.0, until - self._now()), patience)):
                        return self._last(failed)
                    excluded.remove(account)
                    at_least = question.attempt  # it was none: nothing was granted
                    continue
                said_, body = form.refusal(
                    request.wire, request_id, no.reason, no.retry_after, no.binding, no.message
                )
                return Answer(429, list(said_.items()) + self._pressed(None), body)
            except (CallError, Unavailable) as error:
                if failed is not None:
                    return self._last(failed)
                code = error.code if isinstance(error, CallError) else "UNAVAILABLE"
                status, said_, body = form.trouble(request.wire, request_id, code, error.message)
                return Answer(status, list(said_.items()), body)
            detour = None
            account = lease.target.account if lease.target is not None else ""
            addressed = self._address(request, outgoing, lease, bool(call.route))
            if addressed is None:
                lease.release(Outcome.UNSENT)
                if account in excluded or len(excluded) >= _EXCLUDED:  # or it would be granted for ever
                    if failed is not None:
                        return self._last(failed)
                    said_, body = form.refusal(
                        request.wire, request_id, "NO_TARGET", None, (),
                        f"the service grants {account}, of which there is no key here",
                    )  # fmt: skip
                    return Answer(429, list(said_.items()) + self._pressed(lease), body)
                excluded.append(account)
                continue
            if not lease.in_time():
                lease.release(Outcome.UNSENT)
                continue
            outgoing_, hide = addressed
            send = Send(outgoing_, lease, self._now() - lease.asked_at)
            try:
                answer: Answer = yield send
            except TooLate:
                lease.release(Outcome.UNSENT)
                continue
            except NotSent as error:
                lease.release(Outcome.UNSENT)
                failed = error.__cause__ or error
                if tries == retries or not (yield from self._pause(_backoff(tries), patience)):
                    raise failed from None
                tries += 1
                continue
            except BaseException:
                lease.release(Outcome.UNKNOWN, started_after=send.started_after)
                raise
            started_after = send.started_after
            rates = form.rate_headers(answer.headers)
            answer.headers += self._told(lease, request_id)
            if answer.status < 400:
                streamed = (answer.get("content-type") or "").startswith("text/event-stream")
                answer.ending = Ending(
                    lease, started_after, answer.status, rates, request.wire, self._learner(request),
                    Reader(request.wire, hide) if streamed else None,
                )  # fmt: skip
                return answer
            try:
                answer.body = yield Read(answer)
            except BaseException:
                lease.release(Outcome.UNSPECIFIED, None, Observation(answer.status, rates, ""), started_after)
                raise
            observation = Observation(answer.status, rates, form.told_body(answer.status, answer.body))
            if tries == retries or answer.rest is not None:
                lease.release(observation=observation, started_after=started_after)
                return self._last(answer)
            advice: Advice | None = yield Settle(
                lease, {"observation": observation, "started_after": started_after}
            )
            if advice is None:
                advice = _own_advice(answer, tries)
            if not advice.retry:
                return self._last(answer)
            after = advice.retry_after or 0.0
            others = account and len(question.accounts) != 1
            if advice.other_target and others and account not in excluded and len(excluded) < _EXCLUDED:
                excluded.append(account)
                detour = account, self._now() + after
                after = 0.0
            if not (yield from self._pause(after, patience)):
                return self._last(answer)
            tries += 1
            failed = answer

    def _question(self, request: Request, url: str, call: Call, request_id: str) -> Question:
        options = self.options
        estimate = request.input_tokens
        previous = request.body.get("previous_response_id")
        if isinstance(previous, str):
            with self._lock:
                estimate += self._sizes.get(previous, 0)
        factor = self._ratios.of(request.model, self._exact(request.model)).factor
        return Question(
            call=call,
            model=request.model,
            input_tokens=math.ceil(estimate * factor),
            request_id=request_id,
            max_output_tokens=request.max_output_tokens,
            units=request.units,
            accounts=tuple(dict.fromkeys((options.account, *options.keys))) if options.account else (),
            providers=() if options.account else way.providers(request.wire, url, bool(options.keys)),
        )

    def _address(
        self, request: Request, outgoing: Outgoing, lease: Lease, routed: bool
    ) -> tuple[Outgoing, bool] | None:
        """Turns the request to where the lease says; and is its usage to be hidden? None: this worker cannot."""
        options = self.options
        target = lease.target
        found = (
            way.follow(request.wire, outgoing.url, request.model, target, options.account, options.keys, routed)
            if target is not None
            else way.Way(outgoing.url, request.model)
        )
        if found is None:
            return None
        # Mistral tells it unasked, and refuses to be asked; without a lease nobody wants to know.
        add_usage = request.add_usage and target is not None and target.provider != "mistral"
        body = dict(request.body)
        content = outgoing.body
        if way.edit(body, found, add_usage):
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        without = {*found.without, *found.headers, "content-length", "transfer-encoding", "accept-encoding"}
        if found.url != outgoing.url:
            without.add("host")
        headers = [(name, value) for name, value in outgoing.headers if name.lower() not in without]
        headers += found.headers.items()
        # A compressor would hold events back; and it is read here what passes.
        headers.append(("accept-encoding", "identity"))
        return Outgoing(outgoing.method, found.url, headers, content), add_usage

    def _learner(self, request: Request) -> Callable[[Usage | None, str | None], None]:
        ratio = self._ratios.of(request.model, self._exact(request.model))
        estimate, text_only = (
            request.input_tokens,
            request.text_only and "previous_response_id" not in request.body,
        )

        def learn(usage: Usage | None, response: str | None) -> None:
            if usage is None or usage.input_tokens is None:
                return
            if text_only:
                ratio.learn(estimate, usage.input_tokens)
            if response is not None:
                with self._lock:
                    self._sizes[response] = usage.input_tokens + (usage.output_tokens or 0)
                    while len(self._sizes) > _REMEMBERED:
                        self._sizes.popitem(last=False)

        return learn

    def _told(self, lease: Lease, request_id: str) -> list[tuple[str, str]]:
        told = [(PREFIX + "request-id", request_id)]
        if lease.target is not None:
            told += (
                (PREFIX + "account", lease.target.account),
                (PREFIX + "model", lease.target.model),
                (PREFIX + "waited", f"{lease.waited:.3f}"),
            )
        return told + self._pressed(lease)

    def _pressed(self, lease: Lease | None) -> list[tuple[str, str]]:
        pressure = lease.pressure if lease is not None else self.limiter.pressure
        if pressure is None:
            return []
        told = [(PREFIX + "pressure", pressure.level)]
        if pressure.max_tool_calls is not None:
            told.append((PREFIX + "max-tool-calls", str(pressure.max_tool_calls)))
        if pressure.agent_profile:
            told.append((PREFIX + "agent-profile", pressure.agent_profile))
        return told

    def _pause(self, seconds: float, until: float) -> Generator[Step, Any, bool]:
        """Waits before a further attempt. False: the patience, which ends at until, does not last so long."""
        if self._now() + seconds > until:
            return False
        if seconds > 0:
            yield Sleep(seconds)
        return True

    def _last(self, failed: Answer | BaseException) -> Answer:
        """Hands a failure on, and keeps the SDK from trying again what was tried here."""
        if isinstance(failed, BaseException):
            raise failed from None
        if self.options.retries > 0:
            failed.headers = [(name, value) for name, value in failed.headers if name.lower() != "x-should-retry"]
            failed.headers.append(("x-should-retry", "false"))
        return failed


def _backoff(tries: int) -> float:
    """Seconds before a further try when nobody says: 0.5, doubled by each, at most 8, up to a quarter less."""
    return min(8.0, 0.5 * 2.0 ** min(tries, 10)) * (0.75 + random.random() / 4)


def _own_advice(answer: Answer, tries: int) -> Advice:
    """What to do about a failure while nobody advises."""
    if answer.status not in (408, 409, 429) and answer.status < 500:
        return Advice(retry=False)
    if (answer.get("x-should-retry") or "").lower() == "false":
        return Advice(retry=False)
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = answer.get(name) or ""
        try:
            after = float(value) * unit
        except ValueError:
            try:
                after = max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
            except (ValueError, TypeError, IndexError, OverflowError):
                continue
        if 0 <= after < math.inf:
            return Advice(retry=True, retry_after=after)
    return Advice(retry=True, retry_after=_backoff(tries))
