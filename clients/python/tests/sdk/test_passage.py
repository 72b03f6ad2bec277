"""What the service is asked before a call and told after it, whatever becomes of the answer."""

from __future__ import annotations

import gzip
import json
import threading
from typing import Any

import pytest
from fake import Service as Fake
from stage import (
    ANSWER,
    CHUNK,
    DONE,
    HELLO,
    LAST,
    TOLD,
    UNKNOWN,
    UNSPECIFIED,
    Stage,
    grants,
    released,
)
from world import Way, reply, until

from watermaster.v1 import limiter_pb2 as pb


@pytest.mark.httpx
def test_plain(stage: Stage, fake: Fake) -> None:
    stage.answer = lambda handler, _: reply(
        handler, ANSWER, x_ratelimit_remaining_requests="9", set_cookie="secret=1"
    )
    response = stage.post(
        stage.client(organization="acme", project="search"), headers={"authorization": "Bearer k"}
    )
    assert response.content == ANSWER
    assert response.headers["x-watermaster-pressure"] == "HIGH"
    assert response.headers["x-watermaster-max-tool-calls"] == "3"
    (asked,) = fake.of("Acquire")
    assert (asked.model, asked.organization, asked.project, asked.max_output_tokens, asked.attempt) == (
        "m",
        "acme",
        "search",
        20,
        0,
    )
    assert asked.request_id == response.headers["x-watermaster-request-id"]
    assert (
        asked.input_tokens == 8
    )  # two tokens and four of the message, half as much again as nothing is known of m
    assert set(asked.constraints.providers) >= {"openai", "generic"}
    (told,) = released(fake)
    assert (told.outcome, told.usage, told.observation.http_status) == (UNSPECIFIED, TOLD, 200)
    assert dict(told.observation.headers) == {"x-ratelimit-remaining-requests": "9"}
    assert told.HasField("started_after")
    ((headers, body),) = stage.seen
    assert json.loads(body) == HELLO
    assert headers["authorization"] == "Bearer k" and headers["accept-encoding"] == "identity"


@pytest.mark.httpx
def test_stream(stage: Stage, fake: Fake) -> None:
    stage.streams(CHUNK, CHUNK[:9], CHUNK[9:] + LAST[:30], LAST[30:], DONE)
    response = stage.open(stage.client(), {**HELLO, "stream": True})
    assert b"".join(stage.pieces(response)) == CHUNK + CHUNK + DONE
    (told,) = released(fake)
    assert (told.outcome, told.usage) == (UNSPECIFIED, TOLD)
    assert json.loads(stage.seen[0][1])["stream_options"] == {"include_usage": True}
    assert int(stage.seen[0][0]["content-length"]) == len(stage.seen[0][1])


def test_a_piece_is_there_at_once(stage: Stage, fake: Fake) -> None:
    go_on = threading.Event()
    stage.streams(CHUNK, LAST + DONE, wait=go_on)
    response = stage.open(stage.client(), {**HELLO, "stream": True})
    pieces = stage.pieces(response)
    assert next(pieces) == CHUNK
    assert fake.of("Release") == []
    go_on.set()
    assert b"".join(pieces) == DONE
    released(fake)


def test_stream_of_messages(stage: Stage, fake: Fake) -> None:
    first = {
        "input_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "output_tokens": 1,
    }
    told_of = [
        {"type": "message_start", "message": {"usage": first}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    events = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in told_of]
    stage.streams(*events)
    fake.answers["Acquire"] = lambda request, _: _anthropic(grants()(request, None))
    response = stage.open(stage.client(), {**HELLO, "stream": True}, "/v1/messages")
    assert b"".join(stage.pieces(response)) == b"".join(events)
    (told,) = released(fake)
    assert (told.outcome, told.usage) == (
        UNSPECIFIED,
        pb.Usage(input_tokens=10, output_tokens=9, cached_input_tokens=3, cache_write_input_tokens=2),
    )
    assert list(fake.of("Acquire")[0].constraints.providers) == ["anthropic"]


def _anthropic(answer: pb.AcquireResponse) -> pb.AcquireResponse:
    answer.granted.target.provider = "anthropic"
    return answer


def test_stream_without_its_end(stage: Stage, fake: Fake) -> None:
    stage.streams(CHUNK, LAST)
    assert b"".join(stage.pieces(stage.open(stage.client(), {**HELLO, "stream": True}))) == CHUNK
    (told,) = released(fake)
    assert (told.outcome, told.usage) == (UNKNOWN, TOLD)


def test_failure_within_a_stream(stage: Stage, fake: Fake) -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    stage.streams(CHUNK, error)
    assert b"".join(stage.pieces(stage.open(stage.client(), {**HELLO, "stream": True}))) == CHUNK + error
    (told,) = released(fake)
    assert (told.outcome, told.observation.http_status) == (UNSPECIFIED, 529)
    assert json.loads(told.observation.body) == {"error": {"type": "overloaded_error", "message": "Overloaded"}}


ERROR = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
COMPLETED = (
    b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r",'
    b'"usage":{"input_tokens":1,"output_tokens":2}}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.mark.parametrize(("path", "last", "status"), [
    ("chat/completions", LAST + DONE, 200),
    ("chat/completions", b'data: {"error":{"message":"oh","code":"rate_limit_exceeded"}}\n\n', 429),
    ("messages", STOP, 200),
    ("messages", ERROR, 529),
    ("responses", COMPLETED, 200),
])  # fmt: skip
def test_ends_with_its_last_event(stage: Stage, fake: Fake, path: str, last: bytes, status: int) -> None:
    """A connection that stays open behind it, and a caller that does not read on, hold no lease."""
    over = threading.Event()
    stage.streams(CHUNK, last, b": never mind\n\n", wait=over)
    if path == "messages":
        fake.answers["Acquire"] = lambda request, _: _anthropic(grants()(request, None))
    pieces = stage.pieces(stage.open(stage.client(), {"model": "m", "stream": True}, "/v1/" + path))
    got = b""
    while not got.endswith(last[-14:]):
        got += next(pieces)
    (told,) = fake.count("Release", 1)
    assert (told.outcome, told.observation.http_status) == (UNSPECIFIED, status)
    over.set()
    assert b"".join(pieces) == b": never mind\n\n"
    released(fake)


@pytest.mark.parametrize("more", [-1, 1, 1 << 20])
def test_body_of_an_error_that_is_large(stage: Stage, fake: Fake, way: Way, more: int) -> None:
    """It is handed on whole; but what no provider says is not gathered before."""
    body, over = b"x" * ((1 << 20) + more), threading.Event()

    def answer(handler: Any, _: bytes) -> None:
        handler.send_response(500)
        handler.send_header("content-length", str(len(body) + 1))
        handler.end_headers()
        handler.wfile.write(body)
        if more > 1:
            assert over.wait(10)
        handler.wfile.write(b"y")

    stage.answer = answer
    response = stage.open(stage.client(retries=0), HELLO)
    (told,) = released(fake)
    assert (told.observation.http_status, len(told.observation.body)) == (500, 4096)
    over.set()
    assert way.run(response.aread() if way.asynchronous else response.read()) == body + b"y"


@pytest.mark.httpx
@pytest.mark.parametrize("how", ["closed", "forgotten", "forgotten early"])
@pytest.mark.parametrize("stream", [True, False])
def test_not_read_to_the_end(stage: Stage, fake: Fake, way: Way, how: str, stream: bool) -> None:
    if stream:
        stage.streams(CHUNK + LAST, DONE, wait=threading.Event())
    response = stage.open(stage.client(), {**HELLO, "stream": stream})
    if how != "forgotten early" and stream:
        next(stage.pieces(response))
    if how == "closed":
        way.run(response.aclose() if way.asynchronous else response.close())
    del response
    until(lambda: way.collected() or fake.of("Release"), "released")
    (told,) = released(fake)
    assert told.outcome == UNKNOWN
    assert told.usage == (TOLD if stream and how != "forgotten early" else pb.Usage())


@pytest.mark.httpx
def test_no_answer(stage: Stage, fake: Fake, way: Way) -> None:
    gone = threading.Event()
    stage.answer = lambda handler, _: gone.wait(10) and None
    with pytest.raises(way.http.ReadTimeout):
        stage.post(stage.client(), timeout=0.05)
    gone.set()
    (told,) = released(fake)
    assert (told.outcome, told.HasField("usage"), told.HasField("observation")) == (UNKNOWN, False, False)

    def reset(handler: Any, _: bytes) -> None:
        handler.close_connection = True

    stage.answer = reset
    with pytest.raises(way.http.RemoteProtocolError):
        stage.post(stage.client())
    assert released(fake, 2)[1].outcome == UNKNOWN


@pytest.mark.httpx
@pytest.mark.asyncio
def test_cancelled(stage: Stage, fake: Fake, way: Way) -> None:
    gone = threading.Event()
    stage.answer = lambda handler, _: gone.wait(10) and None
    client = stage.client()
    way.cancelled(lambda: client.post(stage.url + "/v1/chat/completions", json=HELLO), lambda: stage.seen)
    gone.set()
    assert released(fake)[0].outcome == UNKNOWN

    holding = threading.Event()

    def hold(request: Any, context: Any) -> pb.AcquireResponse:
        ended = fake.hold(context)
        holding.set()
        ended.wait(10)
        return pb.AcquireResponse()

    fake.answers["Acquire"] = hold
    way.cancelled(lambda: client.post(stage.url + "/v1/chat/completions", json=HELLO), holding.is_set)
    fake.until(lambda: fake.cancelled == 1)
    assert len(stage.seen) == 1 and len(fake.of("Release")) == 1, "nothing was granted or sent"


def test_renewed_while_it_runs(stage: Stage, fake: Fake) -> None:
    go_on = threading.Event()
    fake.answers["Acquire"] = grants(renew_every=0.02)
    stage.streams(CHUNK, LAST + DONE, wait=go_on)
    pieces = stage.pieces(stage.open(stage.client(), {**HELLO, "stream": True}))
    next(pieces)
    assert [list(renew.lease_ids) for renew in fake.count("Renew", 3)[:3]] == [["L1"]] * 3
    go_on.set()
    list(pieces)
    assert released(fake)[0].outcome == UNSPECIFIED


@pytest.mark.httpx
def test_compressed_in_spite_of_all(stage: Stage, fake: Fake) -> None:
    stage.answer = lambda handler, _: reply(handler, gzip.compress(ANSWER), content_encoding="gzip")
    response = stage.post(stage.client())
    assert response.content == ANSWER
    stage.streams(gzip.compress(CHUNK + LAST + DONE), content_encoding="gzip")
    assert b"".join(stage.pieces(stage.open(stage.client(), {**HELLO, "stream": True}))) == CHUNK + DONE
    assert [told.usage for told in released(fake, 2)] == [TOLD, TOLD]
    stage.answer = lambda handler, _: reply(handler, gzip.compress(b"wrong"), 400, content_encoding="gzip")
    assert stage.post(stage.client()).content == b"wrong"
