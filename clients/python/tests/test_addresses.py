"""Several addresses of one service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from fake import Service, eventually, failing

from watermaster import Error, Local
from watermaster.settings import Options, addresses, loopback


@pytest.fixture
def services() -> Iterator[list[Service]]:
    two = [Service(), Service()]
    yield two
    for s in two:
        s.stop()


def test_ties_in_turn(services: Any, make: Any) -> None:
    limiter = make(*services)
    for _ in range(10):
        with limiter.acquire(model="m"):
            pass
        limiter._courier.flush(5)
    assert [len(s.of("Acquire")) for s in services] == [5, 5]


def test_least_in_flight(services: Any, make: Any) -> None:
    free = threading.Event()
    held = services[0]
    held.answers["Acquire"] = lambda m, c: (free.wait(10), held.answer(m, c))[1]
    limiter = make(*services)
    leases = []  # what is dropped is released, in the background, which is a call in flight, too

    def ask() -> None:
        leases.append(limiter.ask(limiter.acquire(model="m")._ask))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for t in threads:  # one of them is held
        t.start()
    held.count("Acquire", 1)
    eventually(lambda: len(leases) == 1)
    before = len(services[1].of("Acquire"))
    for _ in range(6):
        limiter.ask(limiter.acquire(model="m")._ask).release_for_advice()
    assert len(held.of("Acquire")) == 1 and len(services[1].of("Acquire")) >= before + 6
    free.set()
    for t in threads:
        t.join()
    assert all(a.in_flight == 0 for a in limiter._pool.addresses if not limiter._courier._sending)


def test_one_down_is_left_out_until_health_brings_it_back(services: Any, make: Any, clock: Any) -> None:
    sick, well = services
    sick.answers["Acquire"] = failing(grpc.StatusCode.UNAVAILABLE)
    sick.serving = False
    limiter = make(sick, well, clock=clock)
    leases = [limiter.ask(limiter.acquire(model="m", request_id="r")._ask) for _ in range(8)]
    assert len(sick.of("Acquire")) == 1 and len(well.of("Acquire")) == 8 and clock.slept == []
    first = sick.of("Acquire")[0]
    assert first in well.of("Acquire")  # the same key at the other address
    for n in (1, 2):
        eventually(lambda: limiter._courier._probes)
        clock.advance(0.1 * n)
        limiter._courier.nudge()
        sick.count("Check", n)
    assert len(sick.of("Acquire")) == 1
    del sick.answers["Acquire"]
    sick.serving = True
    eventually(lambda: limiter._courier._probes)
    clock.advance(0.4)
    limiter._courier.nudge()
    eventually(lambda: not limiter._pool.addresses[0].down)
    leases += [limiter.ask(limiter.acquire(model="m")._ask) for _ in range(4)]
    assert len(sick.of("Acquire")) == 3


def test_killed_one_costs_no_call(services: Any, make: Any) -> None:
    limiter = make(*services)
    leases = [limiter.ask(limiter.acquire(model="m")._ask) for _ in range(4)]
    services[0].stop()
    leases += [limiter.ask(limiter.acquire(model="m", max_wait=0)._ask) for _ in range(10)]
    for lease in leases:
        lease.release()
    services[1].until(lambda: sum(len(s.of("Release")) for s in services) == 14)
    assert limiter.dropped == 0


def test_all_down_are_tried_nevertheless(services: Any, make: Any, clock: Any) -> None:
    for s in services:
        s.serving = False
        s.answers["Acquire"] = failing(grpc.StatusCode.UNAVAILABLE, 1, s.answer)
    with make(*services, clock=clock).acquire(model="m") as lease:
        assert lease.id == "L1"
    assert clock.slept == [0.1]


@pytest.mark.parametrize(
    ("address", "want"),
    [
        ("localhost:8081", True), ("127.0.0.1:8081", True), ("127.9.9.9:1", True), ("[::1]:8081", True),
        ("unix:/run/w", True), ("dns:///localhost:1", True), ("ipv4:127.0.0.1:1", True), ("10.0.0.1:8081", False),
        ("localhost.example.com:1", False), ("[2001:db8::1]:1", False), ("watermaster:8081", False),
    ],
)  # fmt: skip
def test_token_never_leaves_in_plaintext(address: str, want: bool) -> None:
    assert loopback(address) is want
    if want:
        Options(addresses=addresses(address), token="t")
    else:
        with pytest.raises(Error, match="plaintext"):
            Options(addresses=addresses(["localhost:1", address]), token="t")
        Options(addresses=addresses(address), token="t", insecure=True)
        Options(addresses=addresses(address), token="t", tls=True)
    assert "t'" not in repr(Options(token="t", keys={"a": "t'"}))


@pytest.mark.parametrize(
    "options",
    [{"addresses": ()}, {"addresses": ("",)}, {"lease_ttl": 0.5}, {"retries": -1}, {"when_away": "ajar"}],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(Error):
        Options(**options)


def test_local_that_cannot_be() -> None:
    with pytest.raises(Error):
        Local(requests=0)
