"""While no address answers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from fake import eventually, failing, granted

import watermaster
from watermaster import Local
from watermaster.local import Window

NOWHERE = "127.0.0.1:1"


def away(service: Any, times: int | None = None) -> None:
    service.serving = False
    service.answers["Acquire"] = failing(grpc.StatusCode.UNAVAILABLE, times, service.answer)


def test_closed_gives_up_at_the_end_of_patience(service: Any, make: Any, clock: Any) -> None:
    away(service)
    with pytest.raises(watermaster.Unavailable, match="watermaster serve"):
        make(service, clock=clock).acquire(model="m", max_wait=7).__enter__()
    assert clock.slept[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0] and sum(clock.slept) == pytest.approx(7)
    asked = service.of("Acquire")
    assert all(a == asked[0] for a in asked)


def test_closed_bears_half_a_minute_unless_told(service: Any, make: Any, clock: Any) -> None:
    away(service)
    with pytest.raises(watermaster.Unavailable):
        make(service, clock=clock).acquire(model="m").__enter__()
    assert sum(clock.slept) == pytest.approx(30)


def test_no_patience_is_one_try(make: Any, clock: Any) -> None:
    with pytest.raises(watermaster.Unavailable):
        make(NOWHERE, clock=clock).acquire(model="m", max_wait=0).__enter__()
    assert clock.slept == []


def test_closed_goes_on_when_it_is_back(service: Any, make: Any, clock: Any) -> None:
    away(service, 3)
    with make(service, clock=clock).acquire(model="m") as lease:
        assert lease.id == "L1" and lease.waited == pytest.approx(0.7)


def test_unset_patience_counts_from_the_outage_not_the_queue(service: Any, make: Any, clock: Any) -> None:
    def answer(request: Any, context: Any) -> Any:
        n = len(service.of("Acquire"))
        if n == 1:
            clock.advance(60)
            return watermaster.v1.limiter_pb2.AcquireResponse(wait=watermaster.v1.limiter_pb2.Wait())
        if n == 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return granted("L")

    service.answers["Acquire"] = answer
    with make(service, clock=clock).acquire(model="m") as lease:
        assert lease.id == "L"


def test_open_goes_without_a_lease_after_a_second_and_then_at_once(service: Any, make: Any, clock: Any) -> None:
    away(service)
    limiter = make(service, clock=clock, when_away="open")
    with limiter.acquire(model="m", max_wait=600) as lease:
        assert (lease.id, lease.target, lease.in_time()) == ("", None, True)
        lease.usage(1, 1)
    assert sum(clock.slept) == pytest.approx(1)
    tries = len(service.of("Acquire"))
    with limiter.acquire(model="m"):
        pass
    assert sum(clock.slept) == pytest.approx(1) and len(service.of("Acquire")) == tries
    limiter._courier.flush(5)
    assert service.of("Release") == []


def test_open_asks_again_when_health_says_so(service: Any, make: Any) -> None:
    limiter = make(NOWHERE, when_away="open")
    limiter._pool.addresses[0].target = service.address  # not connected yet
    away(service)
    limiter._pool.failed(limiter._pool.addresses[0])
    limiter._pool.away_since -= 5
    with limiter.acquire(model="m") as lease:
        assert lease.id == ""
    del service.answers["Acquire"]
    service.count("Check", 1)
    service.serving = True
    eventually(lambda: limiter._pool.away_since is None)
    with limiter.acquire(model="m") as lease:
        assert lease.id == "L1"


def test_open_and_local_do_not_hide_answers(service: Any, make: Any) -> None:
    service.answers["Acquire"] = failing(grpc.StatusCode.NOT_FOUND)
    for when in ("open", Local(requests=1)):
        with pytest.raises(watermaster.CallError):
            make(service, when_away=when).acquire(model="m").__enter__()


def test_local_limits(service: Any, make: Any, clock: Any) -> None:
    away(service)
    limiter = make(service, clock=clock, when_away=Local(requests=2, tokens=100))
    go = lambda n, **kw: limiter.acquire(model="m", input_tokens=n, max_output_tokens=10, **kw).__enter__()  # noqa: E731
    go(20)
    go(20)
    at = clock.now()
    with pytest.raises(watermaster.Rejected) as e:
        go(20, max_wait=5)
    assert e.value.reason == "LOCAL_LIMIT" and e.value.retry_after == pytest.approx(60, abs=0.01)
    with pytest.raises(watermaster.Rejected) as e:
        go(91, max_wait=600)
    assert e.value.retry_after is None  # it never fits
    assert clock.now() == at
    lease = go(20, max_wait=90)
    assert clock.now() == pytest.approx(at + 60, abs=0.1) and lease.waited == pytest.approx(60, abs=0.1)


def test_local_goes_back_to_the_service_while_it_waits(service: Any, make: Any, clock: Any) -> None:
    away(service)
    limiter = make(service, clock=clock, when_away=Local(requests=1))
    limiter.acquire(model="m").__enter__()
    service.answers.clear()
    limiter._pool.answered(limiter._pool.addresses[0])
    assert limiter.acquire(model="m", max_wait=90).__enter__().id == "L1"


@pytest.mark.parametrize(
    ("limit", "took", "now", "want"),
    [
        (Local(2, None), [(0, 9)], 1, 0),
        (Local(2, None), [(0, 9), (10, 9)], 11, 49),
        (Local(2, None), [(0, 9), (10, 9)], 60, 0),
        (Local(None, 20), [(0, 9), (10, 9)], 11, 49),
        (Local(None, 9), [(0, 9)], 59, 1),
        (Local(None, 8), [], 0, float("inf")),
        (Local(None, None), [(0, 9)] * 50, 0, 0),
    ],
)
def test_window(limit: Local, took: list[tuple[float, int]], now: float, want: float) -> None:
    w = Window(limit)
    assert all(w.take(at, n) == 0 for at, n in took)
    assert w.take(now, 9) == pytest.approx(want)


def test_asyncio_waits_without_blocking_the_loop(service: Any, make: Any) -> None:
    away(service, 2)
    limiter = make(service)
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        task = asyncio.ensure_future(limiter.ask_async(limiter.acquire(model="m")._ask))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.005)
        assert task.result().id == "L1"

    asyncio.run(main())
    assert ticks > 10


def test_a_silent_service_has_a_second_where_calls_may_go_without_it(service: Any, make: Any) -> None:
    given: list[float] = []

    def silent(_: Any, context: Any) -> Any:
        given.append(context.time_remaining())
        service.hold(context).wait()

    service.answers["Acquire"] = silent
    with make(service, when_away="open").acquire(model="m") as lease:
        assert lease.id == ""
    (asked,) = service.of("Acquire")
    assert given[0] <= 1 and asked.block.ToMilliseconds() == 500


def test_who_is_known_to_wait_in_the_queue_has_all_the_time(service: Any, make: Any) -> None:
    given: list[float] = []

    def answer(_: Any, context: Any) -> Any:
        given.append(context.time_remaining())
        pb = watermaster.v1.limiter_pb2
        return pb.AcquireResponse(wait=pb.Wait()) if len(given) == 1 else granted("L")

    service.answers["Acquire"] = answer
    with make(service, when_away="open").acquire(model="m") as lease:
        assert lease.id == "L"
    assert given[0] <= 1 and given[1] > 10
    assert [asked.block.ToMilliseconds() for asked in service.of("Acquire")] == [500, 10_000]
