"""What the service is asked and told of each call, exactly: a service that keeps it, and a provider that does as a test says."""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import watermaster
from fake import Hands, dur
from fake import Service as Fake
from watermaster.v1 import limiter_pb2 as pb
from world import Way, answering, reply, until

HELLO: dict[str, Any] = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}
ANSWER = json.dumps({"id": "c", "choices": [{"message": {"content": "Hi"}}], "usage": USAGE}).encode()
TOLD = pb.Usage(input_tokens=11, output_tokens=7, cached_input_tokens=4)
CHUNK = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
LAST = b"data: " + json.dumps({"choices": [], "usage": USAGE}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"

UNSPECIFIED, UNSENT, UNKNOWN = pb.OUTCOME_UNSPECIFIED, pb.OUTCOME_UNSENT, pb.OUTCOME_UNKNOWN


def grants(*accounts: str, renew_every: float | None = None) -> Callable[..., pb.AcquireResponse]:
    """Grants at each of some accounts in turn, the last one from then on."""
    numbers, named = itertools.count(1), [*accounts] or ["main"]

    def grant(request: pb.AcquireRequest, _: Any) -> pb.AcquireResponse:
        number = next(numbers)
        account = named[min(number, len(named)) - 1]
        granted = pb.Granted(
            lease_id=f"L{number}",
            target=pb.Target(account=account, provider="openai", model=request.model),
            start_within=dur(60),
            ttl=dur(30),
            renew_every=None if renew_every is None else dur(renew_every),
        )
        return pb.AcquireResponse(request_id=request.request_id, granted=granted, pressure=pb.Pressure(level=pb.PRESSURE_LEVEL_HIGH, max_tool_calls=3))

    return grant


def advises(**advice: Any) -> Callable[..., pb.ReleaseResponse]:
    return lambda *_: pb.ReleaseResponse(advice=pb.Advice(**advice))


def released(fake: Fake, count: int = 1) -> list[Any]:
    """The releases: so many, each of another lease, and one for every grant."""
    releases = fake.count("Release", count)
    assert len(releases) == count == len({release.lease_id for release in releases}) == len(fake.of("Acquire"))
    return releases


class Stage:
    """A client of ours, a service that keeps what it is told, and a provider that answers as `answer` does."""

    def __init__(self, way: Way, fake: Fake) -> None:
        self.way, self.fake, self.url = way, fake, ""
        self.answer: Callable[[Any, bytes], None] = lambda handler, _: reply(handler, ANSWER)
        self.seen: list[tuple[Any, bytes]] = []  #: the requests: headers and body
        fake.answers["Acquire"] = grants()

    def handle(self, handler: Any, body: bytes) -> None:
        self.seen.append((handler.headers, body))
        self.answer(handler, body)

    def streams(self, *events: bytes, wait: threading.Event | None = None, **headers: str) -> None:
        """Has the provider answer by events, and break the connection behind them or wait before the last."""

        def answer(handler: Any, _: bytes) -> None:
            handler.send_response(200)
            for name, value in {"content-type": "text/event-stream", "connection": "close", **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.close_connection = True
            for i, event in enumerate(events):
                if wait is not None and i == len(events) - 1:
                    wait.wait(10)
                handler.wfile.write(event)
                handler.wfile.flush()

        self.answer = answer

    def client(self, **options: Any) -> Any:
        return self.way.client(self.fake.address, **{"tokenizer": None, **options})

    def post(self, client: Any, body: Any = HELLO, path: str = "/v1/chat/completions", **options: Any) -> Any:
        return self.way.run(client.post(self.url + path, json=body, **options))

    def open(self, client: Any, body: Any, path: str = "/v1/chat/completions") -> Any:
        return self.way.run(client.send(client.build_request("POST", self.url + path, json=body), stream=True))

    def pieces(self, response: Any) -> Any:
        return self.way.each(response.aiter_raw() if self.way.asynchronous else response.iter_raw())


@pytest.fixture
def stage(way: Way, fake: Fake) -> Any:
    made = Stage(way, fake)
    with answering(made.handle) as made.url:
        yield made


@pytest.mark.httpx
def test_plain(stage: Stage, fake: Fake) -> None:
    stage.answer = lambda handler, _: reply(handler, ANSWER, x_ratelimit_remaining_requests="9", set_cookie="secret=1")
    response = stage.post(stage.client(organization="acme", project="search"), headers={"authorization": "Bearer k"})
    assert response.content == ANSWER
    assert response.headers["x-watermaster-pressure"] == "HIGH"
    assert response.headers["x-watermaster-max-tool-calls"] == "3"
    (asked,) = fake.of("Acquire")
    assert (asked.model, asked.organization, asked.project, asked.max_output_tokens, asked.attempt) == ("m", "acme", "search", 20, 0)
    assert asked.request_id == response.headers["x-watermaster-request-id"]
    assert asked.input_tokens == 8  # two tokens and four of the message, half as much again as nothing is known of m
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
    events = [
        b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,"output_tokens":1}}}\n\n',
        b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":9}}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ]
    stage.streams(*events)
    fake.answers["Acquire"] = lambda request, _: _anthropic(grants()(request, None))
    response = stage.open(stage.client(), {**HELLO, "stream": True}, "/v1/messages")
    assert b"".join(stage.pieces(response)) == b"".join(events)
    (told,) = released(fake)
    assert (told.outcome, told.usage) == (UNSPECIFIED, pb.Usage(input_tokens=10, output_tokens=9, cached_input_tokens=3, cache_write_input_tokens=2))
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
    assert (response.status_code, response.content, clock.slept) == (200, ANSWER, [3, 3])
    asked, told = fake.of("Acquire"), released(fake, 3)
    assert [ask.attempt for ask in asked] == [0, 1, 2]
    assert [list(ask.constraints.exclude_accounts) for ask in asked] == [[], ["main"], ["main", "other"]]
    assert [(one.outcome, one.observation.http_status, one.observation.body) for one in told] == [(UNSPECIFIED, 503, "down"), (UNSPECIFIED, 500, "oh"), (UNSPECIFIED, 200, "")]
    assert dict(told[0].observation.headers) == {"retry-after": "17"}


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
    waits = iter([{"retry_after": "2"}, {}])
    stage.answer = lambda handler, _: reply(handler, b"{}", 500, **next(waits, {}))
    clock = Hands()
    assert stage.post(stage.client(clock=clock)).status_code == 500
    released(fake, 4)
    assert clock.slept[0] == 2 and 0.75 <= clock.slept[1] <= 1


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
        return first(request, context) if request.attempt == 0 else pb.AcquireResponse(rejected=pb.Rejected(reason=pb.REASON_RETRY_BUDGET))

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
    assert [(ask.request_id, ask.attempt) for ask in asked[:4]] == [("mine", 0), ("mine", 1), ("mine", 5), ("mine", 6)]
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


@pytest.mark.parametrize(("path", "body"), [("/v1/messages/count_tokens", HELLO), ("/v1/chat/completions", [1]), ("/v1/chat/completions", {"messages": []}), ("/v1/audio/speech", HELLO)])
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
    stage.answer = lambda handler, _: reply(handler, b'{"id":"resp_1","usage":{"input_tokens":1000,"output_tokens":500}}')
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
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    client = stage.client()
    if way.asynchronous:

        async def all_() -> None:
            await asyncio.gather(*(client.post(stage.url + "/v1/chat/completions", json=HELLO) for _ in range(40)))

        way.run(all_())
    else:
        with ThreadPoolExecutor(20) as threads:
            list(threads.map(lambda _: stage.post(client), range(40)))
    assert {told.outcome for told in released(fake, 40)} == {UNSPECIFIED}
