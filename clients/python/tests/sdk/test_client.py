"""What a client of the HTTP library may be given, does and leaves alone."""

from __future__ import annotations

import asyncio
import gc
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fake import Service as Fake
from stage import (
    ANSWER,
    CHUNK,
    DONE,
    HELLO,
    TOLD,
    UNSPECIFIED,
    Stage,
    released,
)
from world import Way, reply

import watermaster


def test_body_that_is_a_stream(stage: Stage, fake: Fake, way: Way) -> None:
    whole = json.dumps(HELLO).encode()

    def parts() -> Any:
        yield from (whole[:9], whole[9:])

    async def async_parts() -> Any:
        for part in parts():
            yield part

    def content() -> Any:
        return async_parts() if way.asynchronous else parts()

    client = stage.client()
    way.run(client.post(stage.url + "/v1/chat/completions", content=content()))
    assert (fake.of("Acquire")[0].model, stage.seen[0][1]) == ("m", whole)
    assert int(stage.seen[0][0]["content-length"]) == len(whole) and "transfer-encoding" not in stage.seen[0][0]

    # An upload is not gathered in memory.
    way.run(client.post(stage.url + "/v1/files", content=content(), headers={"X-Watermaster-Project": "p"}))
    assert stage.seen[1][0]["transfer-encoding"] == "chunked" and "x-watermaster-project" not in stage.seen[1][0]
    assert stage.seen[1][1] == whole
    released(fake)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages/count_tokens", HELLO),
        ("/v1/chat/completions", [1]),
        ("/v1/chat/completions", {"messages": []}),
        ("/v1/audio/speech", HELLO),
    ],
)
def test_not_limited(stage: Stage, fake: Fake, path: str, body: Any) -> None:
    stage.post(stage.client(), body, path, headers={"X-Watermaster-Max-Wait": "no number"})
    assert json.loads(stage.seen[0][1]) == body and "x-watermaster-max-wait" not in stage.seen[0][0]
    assert fake.of("Acquire") == []


def test_learns_of_each_call_once(stage: Stage, fake: Fake) -> None:
    """The ratio of what was used to what was estimated: see Ratio."""
    body = {**HELLO, "messages": [{"role": "user", "content": "a b " * 100}], "stream": True}  # 104 tokens
    last = b'data: {"choices":[],"usage":{"prompt_tokens":208,"completion_tokens":1}}\n\n'
    stage.streams(CHUNK, last, DONE)
    client = stage.client()
    for _ in range(3):
        list(stage.pieces(stage.open(client, body)))
        gc.collect()
    mean, stray, want = 1.0, 0.1, []
    for _ in range(3):
        want.append(-int(-104 * (mean + 2 * stray) // 1))
        stray += (abs(2 - mean) - stray) / 8
        mean += (2 - mean) / 8
    assert [ask.input_tokens for ask in fake.of("Acquire")] == want


def test_what_a_response_builds_on(stage: Stage, fake: Fake) -> None:
    stage.answer = lambda handler, _: reply(
        handler, b'{"id":"resp_1","usage":{"input_tokens":1000,"output_tokens":500}}'
    )
    client = stage.client()
    stage.post(client, {"model": "m", "input": "Hello"}, "/v1/responses")
    stage.post(client, {"model": "m", "input": "Hello", "previous_response_id": "resp_1"}, "/v1/responses")
    stage.post(client, {"model": "m", "input": "Hello", "previous_response_id": "resp_unknown"}, "/v1/responses")
    assert [ask.input_tokens for ask in fake.of("Acquire")] == [3, 1803, 3]


@pytest.mark.httpx
def test_proxy_of_the_environment(stage: Stage, fake: Fake, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", stage.url)
    monkeypatch.setenv("NO_PROXY", "")
    answer = way.run(stage.client().post("http://provider.invalid/v1/chat/completions", json=HELLO))
    assert answer.content == ANSWER and stage.seen[0][0]["host"] == "provider.invalid"
    released(fake)


@pytest.mark.httpx
def test_closing(stage: Stage, fake: Fake, way: Way) -> None:
    """A client closes the limiter that it made, however it is closed, and no other."""

    async def within(client: Any) -> None:
        async with client:
            await client.post(stage.url + "/v1/chat/completions", json=HELLO)

    def works(limiter: watermaster.Limiter) -> bool:
        try:
            limiter.acquire(model="m").__enter__().release(watermaster.Outcome.UNSENT)
        except watermaster.Error:
            return False
        return True

    own = stage.client()
    if way.asynchronous:
        way.run(within(own))
    else:
        with own:
            own.post(stage.url + "/v1/chat/completions", json=HELLO)
    assert len(fake.of("Release")) == 1, "delivered before it is closed"
    assert not works(own.limiter)
    with watermaster.Limiter(fake.address, tokenizer=None) as limiter:
        client = way.client(limiter)
        way.shut(client)
        assert works(limiter)
        with pytest.raises(TypeError, match="project"):
            way.client(limiter, project="search")


@pytest.mark.httpx
def test_composed(stage: Stage, fake: Fake, way: Way) -> None:
    """Transport and AsyncTransport wrap any other, in any client."""
    inner = way.http.MockTransport(lambda request: way.http.Response(200, content=ANSWER))
    with watermaster.Limiter(fake.address) as limiter:
        kind = way.wrapped.AsyncTransport if way.asynchronous else way.wrapped.Transport
        client = (way.http.AsyncClient if way.asynchronous else way.http.Client)(transport=kind(limiter, inner))
        assert stage.post(client).json()["id"] == "c"
        assert released(fake)[0].usage == TOLD
        way.shut(client)


def test_defaults_and_options(stage: Stage) -> None:
    client = stage.client()
    assert (client.timeout.connect, client.timeout.read, client.follow_redirects) == (5.0, 600.0, True)
    assert stage.client(timeout=3, follow_redirects=False, headers={"a": "b"}).timeout.read == 3


def test_redirected(stage: Stage, fake: Fake) -> None:
    def answer(handler: Any, _: bytes) -> None:
        if handler.path.startswith("/v1"):
            reply(handler, b"", 307, location="/v2/chat/completions")
        else:
            reply(handler, ANSWER)

    stage.answer = answer
    assert stage.post(stage.client()).content == ANSWER
    assert [told.observation.http_status for told in released(fake, 2)] == [307, 200]


def test_many_at_once(stage: Stage, fake: Fake, way: Way) -> None:
    client = stage.client()
    if way.asynchronous:

        async def all_() -> None:
            await asyncio.gather(*(client.post(stage.url + "/v1/chat/completions", json=HELLO) for _ in range(40)))

        way.run(all_())
    else:
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(lambda _: stage.post(client), range(40)))
    assert {told.outcome for told in released(fake, 40)} == {UNSPECIFIED}


def test_an_upload_stays_a_stream(fake: Fake, way: Way) -> None:
    drawn: list[int] = []

    def parts() -> Any:
        for part in (b"large", b"file"):
            drawn.append(len(part))
            yield part

    async def async_parts() -> Any:
        for part in parts():
            yield part

    class Inner(way.http.BaseTransport, way.http.AsyncBaseTransport):  # type: ignore[name-defined, misc]
        def handle_request(self, request: Any) -> Any:
            assert drawn == [], "gathered before it is sent"
            return way.http.Response(200, content=request.read())

        async def handle_async_request(self, request: Any) -> Any:
            assert drawn == [], "gathered before it is sent"
            return way.http.Response(200, content=await request.aread())

    client = way.client(fake.address, transport=Inner())
    content = async_parts() if way.asynchronous else parts()
    assert way.run(client.post("http://provider/v1/files", content=content)).content == b"largefile"
