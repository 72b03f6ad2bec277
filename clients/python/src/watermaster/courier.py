"""One thread of a limiter: renews leases, delivers releases, asks addresses that are down whether they are back.

It alone owns its state; others leave actions in its mailbox. SimpleQueue.put may be called from a finalizer that
runs within another put, which no lock of ours could be.
"""

from __future__ import annotations

import atexit
import heapq
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import grpc

from . import answer
from .answer import Advice
from .channel import SERVING, Address, Pool
from .exchange import Clock, Exchange, Steps, away, run, run_async
from .v1 import limiter_pb2 as pb

QUEUE = 10_000  # releases kept while the service is away
WINDOW = 64  # releases on their way at once
BATCH = 256  # leases that one Renew names
NEVER = float("inf")


def backoff(failures: int, most: float = 5.0) -> float:
    """Seconds before the next try: 0.1 doubled, at most most."""
    return min(most, 0.1 * (1 << min(failures, 10)))


class Courier:
    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool, self.clock = pool, clock
        self.generation = 0  # counts the forks that led here
        self.dropped = 0  # releases that were given up
        pool.on_down = self._on_down
        self._reset()
        _couriers.add(self)

    def _reset(self) -> None:
        self._mailbox: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._opened: deque[tuple[str, float, float]] = deque()  # id, every, due; not seen by the thread yet
        self._wake_at = NEVER
        self._stopped = self._retired = False
        self._queue: list[tuple[int, pb.ReleaseRequest | _TakeBack]] = []  # a heap, the oldest first
        self._number = 0
        self._sending = 0
        self._failures = 0
        self._not_before = 0.0
        self._open: dict[str, float] = {}  # id to every
        self._due: list[tuple[float, str]] = []
        self._renew_failures = 0
        self._probes: list[tuple[float, int, int, Address]] = []  # due, number, failures
        self._probe_number = 0
        self._flushes: list[threading.Event] = []

    # What others call.

    def open(self, lease_id: str, every: float) -> None:
        """Renews a lease every so many seconds until it is released."""
        due = self.clock.now() + every
        self._opened.append((lease_id, every, due))
        if self._thread is None or due < self._wake_at:
            self._post(self._adopt)

    def release(self, request: pb.ReleaseRequest) -> None:
        """Delivers a release in the background. Safe in finalizers."""
        if not self._stopped:
            self._post(partial(self._enqueue, request))

    def take_back(self, request: pb.AcquireRequest, ttl: float) -> None:
        """Gives back, in the background, what an Acquire may have been granted just as its caller went.

        Asked once more, its key tells. After ttl seconds the service has ended such a grant by itself.
        """
        if not self._stopped:
            again = pb.AcquireRequest()
            again.CopyFrom(request)
            again.block.CopyFrom(answer.duration(0.0))
            again.max_wait.CopyFrom(answer.duration(0.0))
            self._post(partial(self._queue_up, _TakeBack(again, self.clock.now() + ttl)))

    def release_now(self, request: pb.ReleaseRequest, timeout: float) -> Advice | None:
        return run(self._releasing(request, timeout))

    async def release_now_async(self, request: pb.ReleaseRequest, timeout: float) -> Advice | None:
        return await run_async(self._releasing(request, timeout))

    def nudge(self) -> None:
        """Has the thread look at the clock."""
        self._post(lambda: None)

    def flush(self, timeout: float) -> bool:
        """Waits until all releases are delivered; False if they were not in time."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._post(partial(self._flush, done))
        return done.wait(timeout)

    def retire(self) -> None:
        """Ends the thread once nothing is open or queued; for a limiter that was dropped."""
        if self._thread is None:
            self.pool.close()
        else:
            self._post(self._retire)

    def close(self, timeout: float) -> None:
        """Delivers what is queued, at most for timeout seconds, and ends."""
        if not self._stopped:
            self.flush(timeout)
            self._stopped = True
            thread = self._thread
            if thread is not None and thread is not threading.current_thread():
                self._post(lambda: None)
                thread.join(1.0)
            self.pool.close()

    def end_with_process(self, timeout: float) -> None:
        """As close; but the calls that are open end with the process, so their leases are released, too."""
        if self._thread is not None:
            self._post(self._end_open)
        self.close(timeout)

    def forked(self) -> None:
        """In a child: the parent delivers what is queued and renews what is open."""
        self.generation += 1
        stopped = self._stopped
        self.pool.forked()
        self._reset()
        self._stopped = stopped

    def _post(self, action: Callable[[], object]) -> None:
        self._mailbox.put(action)
        # Whoever holds the lock starts the thread, which will find the action.
        if self._thread is None and self._starting.acquire(blocking=False):
            try:
                if self._thread is None and not self._stopped:
                    thread = threading.Thread(target=self._run, name="watermaster-courier", daemon=True)
                    self._thread = thread
                    thread.start()
                    _end_with_process()
            except RuntimeError:  # the interpreter is ending
                self._thread = None
            finally:
                self._starting.release()

    def _on_down(self, address: Address) -> None:
        self._post(partial(self._watch, address, 0))

    def _releasing(self, request: pb.ReleaseRequest, timeout: float) -> Steps[Advice | None]:
        self._post(partial(self._forget, request.lease_id))
        end = self.clock.now() + timeout
        tried: set[Address] = set()
        while (left := end - self.clock.now()) > 0:
            address = self.pool.pick(tried, turn=False)
            try:
                response = yield Exchange(address, "Release", request, left)
            except grpc.RpcError as e:
                if not away(e):
                    return None
                self.pool.failed(address)
                tried.add(address)
                if not self.pool.other(tried):
                    break
            except ValueError:  # closed
                return None
            except BaseException:
                self.release(request)  # a second one changes nothing
                raise
            else:
                self.pool.answered(address)
                return answer.advice(response.advice) if response.HasField("advice") else None
        self.release(request)
        return None

    # What the thread does.

    def _run(self) -> None:
        mailbox = self._mailbox
        while not self._stopped:
            self._wake_at = NEVER  # until it is known, whoever opens a lease wakes us
            self._adopt()
            now = self.clock.now()
            self._send(now)
            self._renew(now)
            self._probe(now)
            if not self._queue and not self._sending:
                while self._flushes:
                    self._flushes.pop().set()
                if self._retired and not self._open:
                    self._stopped = True
                    self.pool.close()
                    return
            self._wake_at = due = self._next()
            try:
                mailbox.get(timeout=None if due == NEVER else max(0.0, due - now))()
                while True:
                    mailbox.get_nowait()()
            except Empty:
                pass

    def _next(self) -> float:
        due = self._due[0][0] if self._due else NEVER
        if self._probes:
            due = min(due, self._probes[0][0])
        if self._queue and self._sending < WINDOW:
            due = min(due, self._not_before)
        return due

    def _adopt(self) -> None:
        while self._opened:
            lease_id, every, due = self._opened.popleft()
            self._open[lease_id] = every
            heapq.heappush(self._due, (due, lease_id))

    def _forget(self, lease_id: str) -> None:
        self._adopt()
        self._open.pop(lease_id, None)

    def _enqueue(self, request: pb.ReleaseRequest) -> None:
        self._forget(request.lease_id)
        self._queue_up(request)

    def _queue_up(self, request: pb.ReleaseRequest | _TakeBack) -> None:
        self._number += 1
        self._keep(self._number, request)

    def _keep(self, number: int, request: pb.ReleaseRequest | _TakeBack) -> None:
        heapq.heappush(self._queue, (number, request))
        if len(self._queue) > QUEUE:
            heapq.heappop(self._queue)
            self.dropped += 1

    def _flush(self, done: threading.Event) -> None:
        self._not_before = 0.0
        self._flushes.append(done)

    def _end_open(self) -> None:
        self._adopt()
        for lease_id in list(self._open):
            self._enqueue(pb.ReleaseRequest(lease_id=lease_id, outcome=pb.OUTCOME_UNKNOWN))

    def _retire(self) -> None:
        self._retired = True

    def _send(self, now: float) -> None:
        while self._queue and self._sending < WINDOW and now >= self._not_before:
            number, request = heapq.heappop(self._queue)
            if isinstance(request, _TakeBack):
                if now < request.until:
                    self._sending += 1
                    taken = partial(self._taken_back, number, request)
                    self._call(self.pool.pick(turn=False), "Acquire", request.key, 5.0, taken)
                continue
            self._sending += 1
            if not self._queue and self._sending == 1 and not self._failures:
                self._release_alone(number, request)
                continue
            done = partial(self._released, number, request)
            self._call(self.pool.pick(turn=False), "Release", request, 5.0, done)

    def _release_alone(self, number: int, request: pb.ReleaseRequest) -> None:
        """Delivers the only one that is queued and waits for it. That is cheaper, and others gather meanwhile."""
        address = self.pool.pick(turn=False)
        error: grpc.RpcError | None = None
        with address:
            try:
                address.at_once("Release", request)
            except grpc.RpcError as e:
                error = e
            except ValueError:  # closed
                self._sending -= 1
                return
        if error is None or not away(error):
            self.pool.answered(address)
        elif error.code() == grpc.StatusCode.UNAVAILABLE:
            self.pool.failed(address)
        self._released(number, request, error, None)

    def _taken_back(self, number: int, request: _TakeBack, error: grpc.RpcError | None, response: Any) -> None:
        self._sending -= 1
        if error is None:
            if response.WhichOneof("decision") == "granted":
                self._queue_up(
                    pb.ReleaseRequest(lease_id=response.granted.lease_id, outcome=pb.OUTCOME_UNSENT)
                )
        elif away(error):
            self._back_off()
            self._keep(number, request)

    def _back_off(self) -> None:
        now = self.clock.now()
        if now >= self._not_before:  # once for all that were on their way
            self._not_before = now + backoff(self._failures)
            self._failures += 1

    def _released(self, number: int, request: pb.ReleaseRequest, error: grpc.RpcError | None, _: Any) -> None:
        self._sending -= 1
        if error is None:
            self._failures, self._not_before = 0, 0.0
        elif away(error):
            self._back_off()
            self._keep(number, request)
        elif error.code() == grpc.StatusCode.INVALID_ARGUMENT and (
            request.HasField("observation") or request.HasField("usage")
        ):
            # What was told breaks a rule; the lease must end nevertheless.
            outcome = request.outcome or pb.OUTCOME_UNKNOWN
            self._keep(number, pb.ReleaseRequest(lease_id=request.lease_id, outcome=outcome))
        elif error.code() != grpc.StatusCode.NOT_FOUND:
            self.dropped += 1

    def _renew(self, now: float) -> None:
        if not self._due or self._due[0][0] > now:
            return
        ids: list[str] = []
        # What is due soon goes with what is due now.
        while self._due and (
            self._due[0][1] not in self._open or self._due[0][0] <= now + self._open[self._due[0][1]] / 4
        ):
            lease_id = heapq.heappop(self._due)[1]
            if lease_id in self._open:
                ids.append(lease_id)
        for i in range(0, len(ids), BATCH):
            batch = ids[i : i + BATCH]
            self._call(
                self.pool.pick(turn=False),
                "Renew",
                pb.RenewRequest(lease_ids=batch),
                5.0,
                partial(self._renewed, batch),
            )

    def _renewed(self, batch: list[str], error: grpc.RpcError | None, response: Any) -> None:
        if error is None:
            self._renew_failures = 0
            for renewal in response.renewals:
                if renewal.gone:
                    self._open.pop(renewal.lease_id, None)
        pause = NEVER
        if error is not None and away(error):
            pause = backoff(self._renew_failures)
            self._renew_failures += 1
        now = self.clock.now()
        for lease_id in batch:
            if (every := self._open.get(lease_id)) is not None:
                heapq.heappush(self._due, (now + min(every, pause), lease_id))

    def _watch(self, address: Address, failures: int) -> None:
        self._probe_number += 1
        due = self.clock.now() + backoff(failures)
        heapq.heappush(self._probes, (due, self._probe_number, failures, address))

    def _probe(self, now: float) -> None:
        while self._probes and self._probes[0][0] <= now:
            _, _, failures, address = heapq.heappop(self._probes)
            if address.down:
                self._call(address, "Check", b"", 1.0, partial(self._checked, address, failures))

    def _checked(self, address: Address, failures: int, error: grpc.RpcError | None, response: Any) -> None:
        # Who has no health service answers nevertheless.
        if response == SERVING or (error is not None and error.code() == grpc.StatusCode.UNIMPLEMENTED):
            self.pool.answered(address)
            self._not_before = 0.0
        elif address.down:
            self._watch(address, failures + 1)

    def _call(
        self, address: Address, method: str, request: Any, timeout: float, done: Callable[[Any, Any], None]
    ) -> None:
        """Sends without waiting; done gets the error or the answer, in this thread."""
        mailbox = self._mailbox

        def settle(error: Any, response: Any) -> None:
            if method != "Check":
                if error is None or not away(error):
                    self.pool.answered(address)
                else:
                    self.pool.failed(address)
            done(error, response)

        def arrived(rpc: Any) -> None:
            address.__exit__()
            error = _Cancelled() if rpc.cancelled() else rpc.exception()
            mailbox.put(partial(settle, error, None if error is not None else rpc.result()))

        address.__enter__()
        try:
            rpc = address.start(method, request, timeout)
        except ValueError:  # closed
            address.__exit__()
            return
        except RuntimeError:  # the interpreter is ending and starts no thread for the answer
            address.__exit__()
            try:
                response = address.method(method)(request, timeout=timeout, metadata=address.metadata)
            except grpc.RpcError as e:
                settle(e, None)
            else:
                settle(None, response)
            return
        rpc.add_done_callback(arrived)


@dataclass
class _TakeBack:
    """An Acquire whose caller has gone, to be asked once more if that is done before until."""

    key: pb.AcquireRequest
    until: float


class _Cancelled(grpc.RpcError):
    """A call that gRPC gave up by itself, as it does when a channel closes."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED


_couriers: weakref.WeakSet[Courier] = weakref.WeakSet()


def _at_exit() -> None:
    end = time.monotonic() + 5.0
    for courier in list(_couriers):
        courier.end_with_process(max(0.0, end - time.monotonic()))


def _end_with_process() -> None:
    # The children of these end without atexit, but call their own finalizers. Both forget those of the parent
    # when a child begins, so each first use in a process registers anew.
    for name in ("multiprocessing.util", "billiard.util"):
        if (module := sys.modules.get(name)) is not None:
            module.Finalize(None, _at_exit, exitpriority=0)


def _after_fork() -> None:
    for courier in list(_couriers):
        courier.forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):  # Windows has none
    os.register_at_fork(after_in_child=_after_fork)
