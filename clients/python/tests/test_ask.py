"""From the ask to the grant."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import grpc
import pytest
from fake import dur, failing, granted

import watermaster
from watermaster import Call
from watermaster.v1 import limiter_pb2 as pb


def test_request_holds_what_was_asked(service: Any, make: Any) -> None:
    limiter = make(service, organization="acme", project="p", priority_class="batch", labels={"a": "1"}, token="t")
    with (
        watermaster.options(priority_class="interactive", affinity_key="k", labels={"b": "2"}),
        limiter.acquire(
            model="m", input_tokens=7, max_output_tokens=0, cached_input_tokens=3, units={"images": 2},
            request_id="r", max_wait=1.5, min_quality=0, capabilities=["tools"], accounts=["x"],
            exclude_accounts=["y"], providers=["openai"], project="given",
        ) as lease,
    ):  # fmt: skip
        assert (lease.id, lease.request_id, lease.attempt) == ("L1", "r", 0)
        assert lease.target == watermaster.Target("a", "openai", "m", {"base_url": "http://b"})
    got = service.of("Acquire")[0]
    assert 1.4 < got.max_wait.seconds + got.max_wait.nanos / 1e9 <= 1.5
    got.max_wait.CopyFrom(dur(1.5))
    assert got == pb.AcquireRequest(
        request_id="r", organization="acme", project="given", model="m", priority_class="interactive",
        input_tokens=7, max_output_tokens=0, cached_input_tokens=3, units={"images": 2}, max_wait=dur(1.5),
        block=dur(10), lease_ttl=dur(30), affinity_key="k", labels={"a": "1", "b": "2"},
        constraints=pb.Constraints(
            accounts=["x"], exclude_accounts=["y"], providers=["openai"], capabilities=["tools"], min_quality=0
        ),
    )  # fmt: skip
    assert service.metadata["Acquire"]["authorization"] == "Bearer t"


def test_unset_stays_unset(service: Any, make: Any) -> None:
    with make(service).acquire(route="smart"):
        pass
    got = service.of("Acquire")[0]
    assert got.route == "smart" and not got.HasField("max_output_tokens") and not got.HasField("max_wait")
    assert not got.HasField("constraints") and len(got.request_id) == 36


def test_model_given_beats_route_by_default(service: Any, make: Any) -> None:
    with make(service, route="smart").acquire(model="m"):
        pass
    assert service.of("Acquire")[0].model == "m"


def test_wait_keeps_the_key(service: Any, make: Any, clock: Any) -> None:
    answers = [
        pb.AcquireResponse(wait=pb.Wait(retry_after=dur(2))),
        pb.AcquireResponse(wait=pb.Wait(retry_after=dur(0))),
        granted("L9"),
    ]
    service.answers["Acquire"] = lambda *_: answers.pop(0)
    with make(service, clock=clock).acquire(model="m", max_wait=20) as lease:
        assert lease.waited == 2
        assert lease.asked_at == 1_002
    asked = service.of("Acquire")
    assert clock.slept == [2] and len(asked) == 3
    assert asked[0] == asked[1] == asked[2]  # max_wait too counts from the first


@pytest.mark.parametrize("retry_after", [None, 12.5])
def test_rejected(service: Any, make: Any, retry_after: float | None) -> None:
    service.answers["Acquire"] = lambda *_: pb.AcquireResponse(
        rejected=pb.Rejected(
            reason=pb.REASON_WAIT_TOO_LONG,
            retry_after=None if retry_after is None else dur(retry_after),
            message="too long",
            binding=[
                pb.Binding(
                    scope="organization", name="n", metric="tokens", window=dur(60), quota=5, utilization=0.5
                ),
                pb.Binding(scope="project/p", name="c", metric="concurrency", quota=1, utilization=1),
            ],
        )
    )
    with pytest.raises(watermaster.Rejected) as e, make(service).acquire(model="m"):
        pass
    assert (e.value.reason, e.value.retry_after, e.value.message) == ("WAIT_TOO_LONG", retry_after, "too long")
    assert [(b.scope, b.window, b.quota) for b in e.value.binding] == [
        ("organization", 60, 5),
        ("project/p", None, 1),
    ]


def test_decision_of_a_newer_service_is_a_refusal(service: Any, make: Any) -> None:
    service.answers["Acquire"] = lambda *_: pb.AcquireResponse(request_id="r")
    with pytest.raises(watermaster.Rejected) as e, make(service).acquire(model="m"):
        pass
    assert e.value.retry_after is None


@pytest.mark.parametrize(
    "code", ["NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "INTERNAL"]
)
def test_other_errors_are_told_at_once(service: Any, make: Any, code: str) -> None:
    service.answers["Acquire"] = failing(grpc.StatusCode[code])
    with pytest.raises(watermaster.CallError) as e, make(service).acquire(model="m"):
        pass
    assert e.value.code == code and len(service.of("Acquire")) == 1


def test_late_grant_goes_back_and_is_asked_anew(service: Any, make: Any, clock: Any) -> None:
    def answer(request: Any, _: Any) -> Any:
        if request.attempt == 4:
            clock.advance(3)
            return granted("late", start_within=3)
        return granted("good", start_within=3)

    service.answers["Acquire"] = answer
    limiter = make(service, clock=clock)
    assert [limiter.attempt("r", 0), limiter.attempt("r", 3)] == [0, 3]
    with limiter.acquire(model="m", request_id="r", max_wait=20) as lease:
        assert (lease.id, lease.attempt) == ("good", 5)
        assert limiter.attempt("r") == 6  # a number that was asked for is used up
    first = service.count("Release", 1)[0]
    assert first == pb.ReleaseRequest(lease_id="late", outcome=pb.OUTCOME_UNSENT)
    assert [a.max_wait.seconds for a in service.of("Acquire")] == [20, 17]


def test_start_that_is_late_is_unsent(service: Any, make: Any, clock: Any) -> None:
    service.answers["Acquire"] = lambda *_: granted("L", start_within=5)
    with pytest.raises(watermaster.TooLate), make(service, clock=clock).acquire(model="m") as lease:
        assert lease.in_time()
        clock.advance(5)
        lease.start()
    assert service.count("Release", 1) == [pb.ReleaseRequest(lease_id="L", outcome=pb.OUTCOME_UNSENT)]


def test_attempts_of_an_id_rise_and_memory_is_bounded(service: Any, make: Any) -> None:
    limiter = make(service)
    assert [limiter.attempt("r"), limiter.attempt("r"), limiter.attempt("r", 7), limiter.attempt("r")] == [
        0,
        1,
        7,
        8,
    ]
    for i in range(5_000):
        limiter.attempt(f"x{i}")
    assert limiter.attempt("r") == 0 and limiter.attempt("x4999") == 1
    assert len(limiter._attempts._next) <= 4_096


def test_pressure_is_kept_and_its_changes_told(service: Any, make: Any) -> None:
    levels = [pb.PRESSURE_LEVEL_NORMAL, pb.PRESSURE_LEVEL_HIGH, pb.PRESSURE_LEVEL_HIGH, 99]

    def answer(*_: Any) -> Any:
        g = granted("L")
        g.pressure.CopyFrom(pb.Pressure(level=levels.pop(0), waiting=3))
        if levels:
            g.pressure.max_tool_calls = len(levels) // 2
        return g

    service.answers["Acquire"] = answer
    told: list[Any] = []

    def on_pressure(p: Any) -> None:
        told.append((p.level, p.max_tool_calls))
        raise RuntimeError("a callback's error is not the caller's")

    limiter = make(service, on_pressure=on_pressure)
    for _ in range(4):
        with limiter.acquire(model="m") as lease:
            assert lease.pressure == limiter.pressure
    assert told == [("NORMAL", 1), ("HIGH", 1), ("HIGH", 0), ("NORMAL", None)]
    assert limiter.pressure.waiting == 3


def test_context_options_nest_and_end() -> None:
    seen = []
    with watermaster.options(project="a", max_wait=0) as outer, watermaster.options(project="b") as inner:
        seen = [outer, inner]
    assert seen == [Call(project="a", max_wait=0), Call(project="b", max_wait=0)]
    assert Call().over(Call(project="x")) == Call(project="x")


def test_context_options_are_a_task_s_own(service: Any, make: Any) -> None:
    limiter = make(service)

    async def one(project: str) -> None:
        with watermaster.options(project=project):
            await asyncio.sleep(0)
            async with limiter.acquire(model=project):
                pass

    async def main() -> None:
        await asyncio.gather(*(one(f"p{i}") for i in range(8)))

    asyncio.run(main())
    assert all(a.project == a.model for a in service.of("Acquire")) and len(service.of("Acquire")) == 8


def test_cancelled_task_cancels_the_call(service: Any, make: Any) -> None:
    service.answers["Acquire"] = lambda _, context: service.hold(context).wait(10)
    limiter = make(service)

    async def main() -> None:
        task = asyncio.ensure_future(limiter.ask_async(limiter.acquire(model="m", request_id="r")._ask))
        await asyncio.get_running_loop().run_in_executor(None, service.count, "Acquire", 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    service.until(lambda: service.cancelled == 1)
    service.answers.clear()


def test_grant_that_meets_a_cancelled_task_goes_back(service: Any, make: Any) -> None:
    limiter = make(service)

    async def main() -> None:
        task = asyncio.ensure_future(limiter.ask_async(limiter.acquire(model="m")._ask))
        await asyncio.sleep(0)  # the call is on its way
        address = limiter._pool.addresses[0]
        service.count("Acquire", 1)
        ready = threading.Event()  # the loop is kept busy until the answer has come to gRPC's thread
        probe = address.method("Acquire").future(pb.AcquireRequest(request_id="probe"))
        probe.add_done_callback(lambda _: ready.set())
        assert ready.wait(10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert service.count("Release", 1) == [pb.ReleaseRequest(lease_id="L1", outcome=pb.OUTCOME_UNSENT)]


@pytest.fixture
def held(service: Any) -> dict[tuple[str, int], str]:
    """Has the service, as the real one does, keep the grant of a key; the first caller never hears of it."""
    leases: dict[tuple[str, int], str] = {}

    def acquire(request: Any, context: Any) -> Any:
        key = request.request_id, request.attempt
        if key in leases:
            return granted(leases[key])
        leases[key] = f"L{len(leases) + 1}"
        service.hold(context).wait(10)
        return pb.AcquireResponse()

    service.answers["Acquire"] = acquire
    return leases


@pytest.mark.parametrize("chosen", [None, "mine"])
def test_grant_in_transit_to_a_cancelled_task_goes_back(
    service: Any, make: Any, held: Any, chosen: str | None
) -> None:
    limiter = make(service)

    async def main() -> None:
        ask = limiter.acquire(model="m", max_wait=9, request_id=chosen)._ask
        task = asyncio.ensure_future(limiter.ask_async(ask))
        await asyncio.to_thread(service.count, "Acquire", 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    service.until(lambda: service.cancelled == 1)
    limiter._courier.flush(5)
    if chosen:  # the caller may come back under its key
        assert len(service.of("Acquire")) == 1 and service.of("Release") == []
        return
    first, again = service.count("Acquire", 2)
    assert service.count("Release", 1) == [pb.ReleaseRequest(lease_id="L1", outcome=pb.OUTCOME_UNSENT)]
    assert (again.request_id, again.attempt) == (first.request_id, first.attempt)
    assert again.HasField("block") and again.HasField("max_wait")
    assert again.block == dur(0) and again.max_wait == dur(0)
    assert len(service.of("Acquire")) == 2


def test_grant_in_transit_to_an_interrupted_thread_goes_back(service: Any, make: Any, held: Any) -> None:
    limiter = make(service)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        service.count("Acquire", 1)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), limiter.acquire(model="m"):
        pass
    thread.join()
    assert service.count("Release", 1) == [pb.ReleaseRequest(lease_id="L1", outcome=pb.OUTCOME_UNSENT)]


def test_grant_of_an_ask_that_timed_out_goes_back(service: Any, make: Any, clock: Any) -> None:
    """No answer to the call that was granted, and none until the patience ends; then the service is back."""
    leases: list[str] = []

    def acquire(request: Any, context: Any) -> Any:
        leases.append(request.request_id)
        if request.max_wait.seconds == 0 and request.HasField("max_wait"):
            return granted("L1")
        return context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the answer was lost")

    service.answers["Acquire"] = acquire
    limiter = make(service, clock=clock)
    with pytest.raises(watermaster.Unavailable):
        limiter.ask(limiter.acquire(model="m", max_wait=1)._ask)
    assert service.count("Release", 1) == [pb.ReleaseRequest(lease_id="L1", outcome=pb.OUTCOME_UNSENT)]
    assert len(set(leases)) == 1


def test_taking_back_ends_with_the_grant(service: Any, make: Any, clock: Any) -> None:
    """While the service is away it is tried, until the grant would have ended by itself."""
    service.answers["Acquire"] = failing(
        grpc.StatusCode.DEADLINE_EXCEEDED, 1, failing(grpc.StatusCode.UNAVAILABLE)
    )
    limiter = make(service, clock=clock, lease_ttl=30.0)
    with pytest.raises(watermaster.Unavailable):
        limiter.ask(limiter.acquire(model="m", max_wait=0)._ask)
    service.count("Acquire", 2)
    clock.advance(31)
    limiter._courier.nudge()
    assert limiter._courier.flush(5)
    assert limiter.dropped == 0


def test_many_threads_and_loops_at_once(service: Any, make: Any) -> None:
    limiter = make(service)
    errors: list[BaseException] = []

    def threaded() -> None:
        for _ in range(10):
            with limiter.acquire(model="m") as lease:
                lease.usage(1, 1)

    async def one() -> None:
        async with limiter.acquire(model="m") as lease:
            lease.usage(1, 1)

    async def tasks() -> None:
        await asyncio.gather(*(one() for _ in range(10)))

    def guarded(f: Any) -> None:
        try:
            f()
        except BaseException as e:
            errors.append(e)

    threads = [
        threading.Thread(target=guarded, args=(f,))
        for f in [threaded, lambda: asyncio.run(tasks())]
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    released = service.count("Release", 80)
    assert sorted(r.lease_id for r in released) == sorted(f"L{i}" for i in range(1, 81))


def test_closed_limiter_says_so(service: Any, make: Any) -> None:
    limiter = make(service)
    with limiter.acquire(model="m"):
        pass
    limiter.close()
    with pytest.raises(watermaster.Error, match="closed"), limiter.acquire(model="m"):
        pass


def test_headroom_and_report(service: Any, make: Any) -> None:
    limiter = make(service, organization="acme")
    limiter.headroom(account="a")
    assert service.of("GetHeadroom")[0].account == "a" and service.of("GetHeadroom")[0].organization == "acme"
    advice = limiter.report(account="a", model="m", observation=watermaster.Observation(429))
    assert advice is not None and advice.retry
    with limiter.acquire(model="m") as lease:
        limiter.report(lease, usage=watermaster.Usage(5))
        limiter.report(lease, observation=watermaster.Observation(200))
        asyncio.run(limiter.report_async(lease, observation=watermaster.Observation(200)))
        lease.observe(500)
    assert [(r.lease_id, r.observation.number) for r in service.of("Report")] == [
        ("", 0), ("L1", 0), ("L1", 1), ("L1", 2)
    ]  # fmt: skip
    assert service.count("Release", 1)[0].observation.number == 3
