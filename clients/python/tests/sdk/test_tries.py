"""One call, several attempts: what is tried again, under which number, and what is handed on."""

from __future__ import annotations

import os
import random
import uuid
from typing import Any

import pytest
from fake import Hands, dur
from fake import Service as Fake
from stage import (
    ANSWER,
    HELLO,
    UNSENT,
    UNSPECIFIED,
    Stage,
    advises,
    grants,
    released,
)
from world import Way, reply

import watermaster
from watermaster import conduct
from watermaster.v1 import limiter_pb2 as pb


@pytest.mark.httpx
def test_no_connection(stage: Stage, fake: Fake, way: Way) -> None:
    clock = Hands()
    client = stage.client(clock=clock)
    with pytest.raises(way.http.ConnectError):
        way.run(client.post("http://127.0.0.1:9/v1/chat/completions", json=HELLO))
    assert [told.outcome for told in released(fake, 3)] == [UNSENT] * 3
    asked = fake.of("Acquire")
    assert [ask.attempt for ask in asked] == [0, 1, 2]
    assert len({ask.request_id for ask in asked}) == 1
    assert 0.375 <= clock.slept[0] <= 0.5 and 0.75 <= clock.slept[1] <= 1


def test_tried_again_as_advised(stage: Stage, fake: Fake) -> None:
    answers = iter([(503, b"down"), (500, b"oh"), (200, ANSWER)])

    def answer(handler: Any, _: bytes) -> None:
        status, body = next(answers)
        reply(handler, body, status, retry_after="17", x_secret="no")

    stage.answer = answer
    fake.answers["Acquire"] = grants("main", "other")
    fake.answers["Release"] = advises(retry=True, retry_after=dur(3), other_target=True)
    clock = Hands()
    response = stage.post(stage.client(clock=clock))
    assert (response.status_code, response.content, clock.slept) == (200, ANSWER, [])  # others need not wait
    asked, told = fake.of("Acquire"), released(fake, 3)
    assert [ask.attempt for ask in asked] == [0, 1, 2]
    assert [list(ask.constraints.exclude_accounts) for ask in asked] == [[], ["main"], ["main", "other"]]
    assert [(one.outcome, one.observation.http_status, one.observation.body) for one in told] == [
        (UNSPECIFIED, 503, "down"),
        (UNSPECIFIED, 500, "oh"),
        (UNSPECIFIED, 200, ""),
    ]
    assert dict(told[0].observation.headers) == {"retry-after": "17"}


def only(account: str) -> Any:
    """Grants one account, and nothing where it is excluded."""
    grant = grants(account)

    def answer(request: Any, context: Any) -> pb.AcquireResponse:
        if account in request.constraints.exclude_accounts:
            return pb.AcquireResponse(rejected=pb.Rejected(reason=pb.REASON_NO_TARGET))
        return grant(request, context)

    return answer


@pytest.mark.parametrize(("after", "options", "tried"), [
    (3, {}, True), (30.5, {}, False), (30.5, {"max_wait": 31.0}, True), (3, {"max_wait": 2.0}, False),
])  # fmt: skip
def test_no_other_target(stage: Stage, fake: Fake, after: float, options: Any, tried: bool) -> None:
    """Where there is no other account the same one is asked when it may be, if the patience lasts until then."""
    answers = iter([(529, b"busy"), (200, ANSWER)])
    stage.answer = lambda handler, _: reply(handler, *reversed(next(answers)))
    fake.answers["Acquire"] = only("main")
    fake.answers["Release"] = advises(retry=True, retry_after=dur(after), other_target=True)
    clock = Hands()
    response = stage.post(stage.client(clock=clock, **options))
    asked = fake.of("Acquire")
    assert [list(ask.constraints.exclude_accounts) for ask in asked] == [[], ["main"], []][: 2 + tried]
    assert [ask.attempt for ask in asked] == [0, 1, 1][: 2 + tried]  # what was refused was no attempt
    if tried:
        assert (response.status_code, clock.slept) == (200, [after])
    else:
        assert (response.status_code, response.content, clock.slept) == (529, b"busy", [])
        assert response.headers["x-should-retry"] == "false"


def test_no_other_account_to_ask_for(stage: Stage, fake: Fake) -> None:
    """A worker that has the key of one account only does not ask for another."""
    answers = iter([(500, b"oh"), (200, ANSWER)])
    stage.answer = lambda handler, _: reply(handler, *reversed(next(answers)))
    fake.answers["Release"] = advises(retry=True, retry_after=dur(3), other_target=True)
    clock = Hands()
    assert stage.post(stage.client(clock=clock, account="main")).status_code == 200
    assert clock.slept == [3]
    assert [list(ask.constraints.exclude_accounts) for ask in fake.of("Acquire")] == [[], []]


def test_excluded_and_granted_again(stage: Stage, fake: Fake) -> None:
    fake.answers["Acquire"] = grants("other")
    response = stage.post(stage.client(account="main"))
    assert (response.status_code, response.headers["x-watermaster-reason"]) == (429, "NO_TARGET")
    assert "other" in response.json()["error"]["message"] and response.headers["x-should-retry"] == "false"
    assert [told.outcome for told in released(fake, 2)] == [UNSENT] * 2 and stage.seen == []


@pytest.mark.parametrize(("retries", "want"), [(0, None), (1, "false")])
def test_the_last_failure(stage: Stage, fake: Fake, retries: int, want: str | None) -> None:
    body = b'{"error":{"message":"slow down","type":"requests"}}'
    stage.answer = lambda handler, _: reply(handler, body, 429, x_extra="kept", x_should_retry="true")
    fake.answers["Release"] = advises(retry=True)
    response = stage.post(stage.client(retries=retries))
    assert (response.status_code, response.content, response.headers["x-extra"]) == (429, body, "kept")
    assert response.headers.get_list("x-should-retry") == [want or "true"]
    released(fake, retries + 1)


def test_no_advice(stage: Stage, fake: Fake) -> None:
    """The service answers without one: the client's own judgement."""
    stage.answer = lambda handler, _: reply(handler, b"{}", 400)
    assert stage.post(stage.client()).status_code == 400
    released(fake)
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    waits = iter([{"retry_after": "2"}, {}, {"retry_after": "9", "retry_after_ms": "20"}, {"retry_after": past}])
    stage.answer = lambda handler, _: reply(handler, b"{}", 500, **next(waits, {"x_should_retry": "false"}))
    clock = Hands()
    assert stage.post(stage.client(clock=clock, retries=5)).status_code == 500
    released(fake, 6)
    assert clock.slept[0] == 2 and 0.75 <= clock.slept[1] <= 1
    assert clock.slept[2:] == [0.02], "a date that has passed is now; and the provider's no is a no"


def test_patience_ends_before_another_try(stage: Stage, fake: Fake) -> None:
    stage.answer = lambda handler, _: reply(handler, b"oh", 500)
    fake.answers["Release"] = advises(retry=True, retry_after=dur(5))
    clock = Hands()
    assert stage.post(stage.client(clock=clock, max_wait=4)).content == b"oh"
    assert (len(released(fake)), clock.slept) == (1, [])


def test_another_try_is_refused(stage: Stage, fake: Fake) -> None:
    """The provider's own failure tells more."""
    stage.answer = lambda handler, _: reply(handler, b"oh", 500)
    fake.answers["Release"] = advises(retry=True)
    first = grants()

    def grant(request: Any, context: Any) -> pb.AcquireResponse:
        return (
            first(request, context)
            if request.attempt == 0
            else pb.AcquireResponse(rejected=pb.Rejected(reason=pb.REASON_RETRY_BUDGET))
        )

    fake.answers["Acquire"] = grant
    response = stage.post(stage.client())
    assert (response.status_code, response.content, response.headers["x-should-retry"]) == (500, b"oh", "false")
    assert len(fake.of("Acquire")) == 2 and len(fake.count("Release", 1)) == 1


def test_numbers_of_attempts(stage: Stage, fake: Fake) -> None:
    client = stage.client(retries=0)
    for retry in ("0", "1", "5"):
        stage.post(client, headers={"x-watermaster-request-id": "mine", "x-stainless-retry-count": retry})
    with watermaster.options(request_id="mine"):
        stage.post(client)
    stage.post(client, headers={"x-stainless-retry-count": "2"})
    asked = fake.of("Acquire")
    assert [(ask.request_id, ask.attempt) for ask in asked[:4]] == [
        ("mine", 0),
        ("mine", 1),
        ("mine", 5),
        ("mine", 6),
    ]
    assert asked[4].attempt == 2 and asked[4].request_id != "mine"


def test_given_back_unsent(stage: Stage, fake: Fake) -> None:
    """Accounts that this worker has no key of are not called."""
    fake.answers["Acquire"] = grants("one", "two", "main")
    response = stage.post(stage.client(account="main", keys={}))
    assert response.headers["x-watermaster-account"] == "main"
    assert [told.outcome for told in released(fake, 3)] == [UNSENT, UNSENT, UNSPECIFIED]
    asked = fake.of("Acquire")
    assert [list(ask.constraints.exclude_accounts) for ask in asked] == [[], ["one"], ["one", "two"]]
    assert [ask.attempt for ask in asked] == [0, 1, 2]
    assert list(asked[0].constraints.accounts) == ["main"]


@pytest.mark.httpx
def test_too_late_once_connected(stage: Stage, fake: Fake, way: Way) -> None:
    """A grant is not used any more when the connection took longer than it is good for."""
    clock, names = Hands(), []

    def slow(name: str, _: Any) -> None:
        names.append(name)
        if name == "connection.connect_tcp.complete" and names.count(name) == 1:
            clock.advance(100)

    async def slow_async(name: str, info: Any) -> None:
        slow(name, info)

    trace = slow_async if way.asynchronous else slow
    assert stage.post(stage.client(clock=clock), extensions={"trace": trace}).content == ANSWER
    first, second = released(fake, 2)
    assert (first.outcome, first.HasField("started_after"), second.outcome) == (UNSENT, False, UNSPECIFIED)
    assert [ask.attempt for ask in fake.of("Acquire")] == [0, 1]
    assert len(stage.seen) == 1, "the first one was not sent"
    assert names.count("connection.connect_tcp.complete") == 2, "the trace is the caller's, too"


def test_names_of_requests(stage: Stage, fake: Fake) -> None:
    """Nobody's seed makes two processes choose the same names: whoever repeats one gets the other's grant."""
    client = stage.client()
    for _ in range(2):
        random.seed(7)
        stage.post(client)
    first, second = (uuid.UUID(ask.request_id) for ask in fake.of("Acquire"))
    assert first != second and first.version == second.version == 4
    child_reads, child_writes = os.pipe()
    if (child := os.fork()) == 0:
        os.write(child_writes, conduct._ids.getrandbits(128).to_bytes(16, "big"))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(child_reads, 16) != conduct._ids.getrandbits(128).to_bytes(16, "big")
    os.close(child_reads)
    os.close(child_writes)
