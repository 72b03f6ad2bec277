"""From the release to its delivery."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import grpc
import pytest
from fake import Service, dur, eventually, failing

from watermaster import Advice, Observation, Outcome, Usage, courier
from watermaster.v1 import limiter_pb2 as pb


def test_what_was_told_is_sent_once(service: Any, make: Any, clock: Any) -> None:
    limiter = make(service, clock=clock)
    with limiter.acquire(model="m") as lease:
        clock.advance(0.25)
        lease.start()
        lease.usage(10, 20, 3, 4, {"images": 1})
        lease.observe(200, {"x-ratelimit-remaining": "1"})
    lease.release(Outcome.FAILED)
    assert lease.release_for_advice() is None
    limiter.close()
    assert service.of("Release") == [
        pb.ReleaseRequest(
            lease_id="L1",
            usage=pb.Usage(
                input_tokens=10,
                output_tokens=20,
                cached_input_tokens=3,
                cache_write_input_tokens=4,
                units={"images": 1},
            ),
            observation=pb.Observation(http_status=200, headers={"x-ratelimit-remaining": "1"}),
            started_after=dur(0.25),
        )
    ]


def test_end_of_the_block_says_how_it_ended(service: Any, make: Any) -> None:
    limiter = make(service)
    with limiter.acquire(model="m"):
        pass
    with pytest.raises(KeyError), limiter.acquire(model="m"):
        raise KeyError
    with pytest.raises(KeyError), limiter.acquire(model="m") as lease:
        lease.observe(429, body="slow down")
        raise KeyError
    limiter.close()
    told = sorted(service.of("Release"), key=lambda r: r.lease_id)
    assert [(r.outcome, r.observation.http_status) for r in told] == [
        (pb.OUTCOME_SUCCEEDED, 0),
        (pb.OUTCOME_UNKNOWN, 0),
        (pb.OUTCOME_UNSPECIFIED, 429),
    ]


def test_many_threads_release_one_lease_once(service: Any, make: Any) -> None:
    limiter = make(service)
    lease = limiter.acquire(model="m").__enter__()
    barrier = threading.Barrier(8)

    def go() -> None:
        barrier.wait()
        lease.release(Outcome.SUCCEEDED)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    limiter.close()
    assert len(service.of("Release")) == 1


def test_lease_that_is_dropped_is_unknown(service: Any, make: Any) -> None:
    limiter = make(service)
    lease = limiter.ask(limiter.acquire(model="m")._ask)
    lease.usage(5, 6)
    cycle = [lease]
    cycle.append(cycle)  # type: ignore[arg-type]
    del lease, cycle
    gc.collect()
    r = service.count("Release", 1)[0]
    assert (r.lease_id, r.outcome, r.usage.output_tokens) == ("L1", pb.OUTCOME_UNKNOWN, 6)


def test_garbage_within_the_courier_s_own_doings(service: Any, make: Any) -> None:
    """The collector may run anywhere, also in a thread that is just leaving something for the courier."""
    limiter = make(service)
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(100):
            lease = limiter.ask(limiter.acquire(model="m")._ask)
            cycle: list[Any] = [lease]
            cycle.append(cycle)
            del lease, cycle
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert len({r.lease_id for r in service.count("Release", 100)}) == 100


def test_kept_while_away_and_delivered(service: Any, make: Any) -> None:
    limiter = make(service)
    leases = [limiter.ask(limiter.acquire(model="m")._ask) for _ in range(5)]
    service.stop()
    for lease in leases:
        lease.release(Outcome.SUCCEEDED, Usage(1, 1))
    eventually(lambda: limiter._courier._failures)
    service.again()
    got = service.count("Release", 5)
    assert sorted(r.lease_id for r in got) == ["L1", "L2", "L3", "L4", "L5"] and limiter.dropped == 0


def test_retried_by_backoff(service: Any, make: Any, clock: Any) -> None:
    service.answers["Release"] = failing(grpc.StatusCode.UNAVAILABLE)
    limiter = make(service, clock=clock)
    limiter.ask(limiter.acquire(model="m")._ask).release()
    pauses = []
    for n in range(1, 9):
        eventually(lambda n=n: len(service.of("Release")) == n and limiter._courier._failures == n)
        pauses.append(round(limiter._courier._not_before - clock.now(), 6))
        service.serving = False  # else its return would cut the pauses short
        clock.advance(pauses[-1])
        limiter._courier.nudge()
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]


def test_queue_is_bounded_and_drops_the_oldest(service: Any, make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(courier, "QUEUE", 3)
    limiter = make(service)
    leases = [limiter.ask(limiter.acquire(model="m")._ask) for _ in range(6)]
    service.stop()
    for lease in leases:
        lease.release()
    eventually(lambda: limiter.dropped == 3)
    service.again()
    got = service.count("Release", 3)
    assert sorted(r.lease_id for r in got) == ["L4", "L5", "L6"]


@pytest.mark.parametrize(("code", "dropped"), [("NOT_FOUND", 0), ("PERMISSION_DENIED", 1)])
def test_other_errors_are_not_retried(service: Any, make: Any, code: str, dropped: int) -> None:
    service.answers["Release"] = failing(grpc.StatusCode[code])
    limiter = make(service)
    limiter.ask(limiter.acquire(model="m")._ask).release()
    limiter.close()
    assert len(service.of("Release")) == 1 and limiter.dropped == dropped


def test_what_breaks_a_rule_does_not_keep_the_lease(service: Any, make: Any) -> None:
    def answer(request: Any, context: Any) -> Any:
        if request.HasField("usage"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "usage.input_tokens: at most 10^12")
        return pb.ReleaseResponse()

    service.answers["Release"] = answer
    limiter = make(service)
    limiter.ask(limiter.acquire(model="m")._ask).release(usage=Usage(10**13))
    assert service.count("Release", 2)[1] == pb.ReleaseRequest(lease_id="L1", outcome=pb.OUTCOME_UNKNOWN)
    limiter.ask(limiter.acquire(model="m")._ask).release(usage=Usage(10**30))  # no message holds that
    assert service.count("Release", 3)[2] == pb.ReleaseRequest(lease_id="L2", outcome=pb.OUTCOME_UNKNOWN)


def advising(service: Service) -> None:
    service.answers["Release"] = lambda *_: pb.ReleaseResponse(
        advice=pb.Advice(
            retry=True, retry_after=dur(1.5), other_target=True, failure_class=pb.FAILURE_CLASS_THROTTLED
        )
    )


def test_advice(service: Any, make: Any) -> None:
    advising(service)
    limiter = make(service)
    want = Advice(True, 1.5, True, "THROTTLED")
    lease = limiter.ask(limiter.acquire(model="m")._ask)
    assert lease.release_for_advice(observation=Observation(429)) == want

    async def main() -> Advice | None:
        lease = await limiter.ask_async(limiter.acquire(model="m")._ask)
        return await lease.release_for_advice_async(observation=Observation(429))  # type: ignore[no-any-return]

    assert asyncio.run(main()) == want
    limiter.close()
    assert [r.observation.http_status for r in service.of("Release")] == [429, 429]


def test_advice_that_does_not_come_leaves_the_release_in_the_queue(service: Any, make: Any) -> None:
    free = threading.Event()
    service.answers["Release"] = lambda *_: (free.wait(10), pb.ReleaseResponse())[1]
    limiter = make(service)
    lease = limiter.ask(limiter.acquire(model="m")._ask)
    assert lease.release_for_advice(timeout=0.05) is None
    service.count("Release", 2)
    free.set()


def test_task_cancelled_while_it_waits_for_advice(service: Any, make: Any) -> None:
    free = threading.Event()
    service.answers["Release"] = lambda *_: (free.wait(10), pb.ReleaseResponse())[1]
    limiter = make(service)

    async def main() -> None:
        lease = await limiter.ask_async(limiter.acquire(model="m")._ask)
        task = asyncio.ensure_future(lease.release_for_advice_async())
        await asyncio.get_running_loop().run_in_executor(None, service.count, "Release", 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    service.count("Release", 2)
    free.set()


def test_close_does_not_wait_longer_than_said(service: Any, make: Any) -> None:
    limiter = make(service)
    lease = limiter.ask(limiter.acquire(model="m")._ask)
    service.stop()
    lease.release()
    limiter.close(0.05)
    assert not limiter._courier._thread.is_alive()
    lease.release()  # and nothing that comes later raises


def test_limiter_that_is_dropped_ends_its_thread(service: Any) -> None:
    import watermaster

    limiter = watermaster.Limiter(service.address)
    lease = limiter.ask(limiter.acquire(model="m")._ask)
    kept = limiter._courier
    kept.nudge()
    thread = kept._thread
    assert thread is not None
    service.renew_every = 10
    del limiter
    gc.collect()
    lease.release()
    thread.join(10)
    assert not thread.is_alive()
