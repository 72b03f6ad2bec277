"""Leases in force while their calls run."""

from __future__ import annotations

from typing import Any

import grpc
from fake import dur, eventually, failing

from watermaster.v1 import limiter_pb2 as pb


def held(limiter: Any, n: int) -> list[Any]:
    return [limiter.ask(limiter.acquire(model="m")._ask) for _ in range(n)]


def tick(limiter: Any, clock: Any, seconds: float) -> None:
    clock.advance(seconds)
    limiter._courier.nudge()


def test_renewed_together_until_released(service: Any, make: Any, clock: Any) -> None:
    service.renew_every = 10
    limiter = make(service, clock=clock)
    leases = held(limiter, 300)
    clock.advance(1)
    leases += held(limiter, 1)  # due a second later, so it goes along
    tick(limiter, clock, 9)
    first = service.count("Renew", 2)
    assert sorted(len(r.lease_ids) for r in first) == [45, 256]
    assert {i for r in first for i in r.lease_ids} == {lease.id for lease in leases}
    for lease in leases[:-2]:
        lease.release()
    service.count("Release", 299)
    tick(limiter, clock, 10)
    third = service.count("Renew", 3)[2]
    assert sorted(third.lease_ids) == ["L300", "L301"] and len(service.of("Renew")) == 3
    for lease in leases:
        lease.release()
    service.count("Release", 301)
    eventually(lambda: not limiter._courier._open)


def test_not_before_its_time_nor_after_release(service: Any, make: Any, clock: Any) -> None:
    service.renew_every = 10
    limiter = make(service, clock=clock)
    (lease,) = held(limiter, 1)
    tick(limiter, clock, 9.9)
    lease.release_for_advice()
    tick(limiter, clock, 60)
    limiter.close()
    assert service.of("Renew") == []


def test_no_renewal_where_nothing_is_held(service: Any, make: Any, clock: Any) -> None:
    limiter = make(service, clock=clock)
    lease = held(limiter, 1)
    tick(limiter, clock, 3600)
    limiter.close()
    assert service.of("Renew") == [] and lease


def test_gone_is_not_renewed_but_released(service: Any, make: Any, clock: Any) -> None:
    service.renew_every = 10
    service.answers["Renew"] = lambda r, _: pb.RenewResponse(
        renewals=[pb.Renewal(lease_id=i, gone=i == "L1", ttl=dur(30)) for i in r.lease_ids]
    )
    limiter = make(service, clock=clock)
    leases = held(limiter, 2)
    tick(limiter, clock, 10)
    service.count("Renew", 1)
    eventually(lambda: list(limiter._courier._open) == ["L2"] and limiter._courier._due)
    tick(limiter, clock, 10)
    assert list(service.count("Renew", 2)[1].lease_ids) == ["L2"]
    leases[0].release()
    assert service.count("Release", 1)[0].lease_id == "L1"


def test_renewal_is_tried_again_soon_while_away(service: Any, make: Any, clock: Any) -> None:
    service.renew_every = 10
    service.answers["Renew"] = failing(grpc.StatusCode.UNAVAILABLE, 1, service.answer)
    limiter = make(service, clock=clock)
    leases = held(limiter, 1)
    tick(limiter, clock, 10)
    service.count("Renew", 1)
    eventually(lambda: limiter._courier._due)
    tick(limiter, clock, 0.1)
    service.count("Renew", 2)
    eventually(lambda: limiter._courier._due)
    tick(limiter, clock, 9)
    limiter._courier.flush(5)
    assert len(service.of("Renew")) == 2 and leases


def test_wakes_by_itself(service: Any, make: Any) -> None:
    """With the real clock: a lease that is due earlier than what the thread sleeps for."""
    service.renew_every = 5
    limiter = make(service)
    leases = held(limiter, 1)
    limiter._courier.flush(5)
    service.renew_every = 0.05
    leases += held(limiter, 1)
    assert list(service.count("Renew", 1)[0].lease_ids) == ["L2"]
