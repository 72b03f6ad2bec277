"""The official SDKs through the wrapper, against the real service and a strict provider."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from world import MODELS, Provider, Service, Tap, Way, organization_of, until

import watermaster

HELLO: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello, how are you today?"}]}
MINI = {**HELLO, "model": "gpt-5-mini", "max_tokens": 10}
CLAUDE = {"model": "claude-sonnet-5", "max_tokens": 20, "messages": HELLO["messages"]}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


def wish(**what: object) -> dict[str, dict[str, str]]:
    return {"extra_headers": {f"x-standin-{name}": str(value) for name, value in what.items()}}


class Stage:
    """A client of ours for an organization, and SDKs that use it."""

    def __init__(self, way: Way, service: Service, provider: Provider, organization: str) -> None:
        self.way, self.service, self.provider, self.organization = way, service, provider, organization

    def client(self, **options: Any) -> Any:
        return self.way.client(
            options.pop("address", self.service.address),
            organization=self.organization,
            project="search",
            **options,
        )

    def openai(self, client: Any = None, **options: Any) -> Any:
        url = f"{self.provider.url}/v1"
        return self.way.sdk(openai, client or self.client(), **{"base_url": url, **options})

    def anthropic(self, client: Any = None, **options: Any) -> Any:
        return self.way.sdk(anthropic, client or self.client(), **{"base_url": self.provider.url, **options})

    def free(self) -> bool:
        return self.service.held(self.organization) == 0


@pytest.fixture
def stage(way: Way, service: Service, provider: Provider, organization: str) -> Stage:
    return Stage(way, service, provider, organization)


@pytest.mark.httpx
def test_openai(way: Way, stage: Stage) -> None:
    client = stage.openai()
    raw = way.run(client.chat.completions.with_raw_response.create(**HELLO))
    assert raw.parse().choices[0].message.content
    assert raw.headers["x-watermaster-request-id"]
    assert raw.headers["x-watermaster-account"] == "openai-main"
    assert raw.headers["x-watermaster-model"] == "gpt-5"
    assert raw.headers["x-watermaster-pressure"] == "NORMAL"
    assert float(raw.headers["x-watermaster-waited"]) >= 0
    assert str(raw.http_response.url).endswith("/v1/chat/completions")

    tool = {"type": "function", "function": {"name": "say", "parameters": SCHEMA}}
    called = way.run(client.chat.completions.create(**HELLO, tools=[tool], tool_choice="required"))
    assert called.choices[0].message.tool_calls[0].function.name == "say"

    answer = way.run(client.responses.create(model="gpt-5", input="Hello"))
    assert answer.output_text
    events = way.each(
        way.run(
            client.responses.create(
                model="gpt-5", input="Hello", stream=True, previous_response_id=answer.id, **wish(split=1)
            )
        )
    )
    assert [event.type for event in events][-1] == "response.completed"
    assert way.run(client.models.list()).data is not None, "what is not limited passes"


@pytest.mark.httpx
@pytest.mark.parametrize("split", [0, 1, 7])
def test_openai_stream(way: Way, stage: Stage, split: int) -> None:
    client, short = stage.openai(), {**HELLO, "max_completion_tokens": 12}
    chunks = list(way.each(way.run(client.chat.completions.create(**short, stream=True, **wish(split=split)))))
    assert all(chunk.choices for chunk in chunks), "the usage that nobody asked for is hidden"
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) > 1
    asked = way.run(
        client.chat.completions.create(
            **short, stream=True, stream_options={"include_usage": True}, **wish(split=split)
        )
    )
    assert [chunk.usage for chunk in way.each(asked) if chunk.usage][-1].prompt_tokens > 0


def test_azure(way: Way, stage: Stage) -> None:
    client = way.sdk(
        openai, stage.client(), vendor="AzureOpenAI", azure_endpoint=stage.provider.url, api_version="2026-06-01"
    )
    raw = way.run(client.chat.completions.with_raw_response.create(**HELLO))
    assert raw.parse().usage.completion_tokens > 0
    assert raw.headers["x-watermaster-account"] == "openai-main"
    chunks = list(way.each(way.run(client.chat.completions.create(**HELLO, stream=True))))
    assert chunks and all(chunk.choices for chunk in chunks)  # the one that tells the usage is hidden
    until(stage.free, "given back")


def test_anthropic(way: Way, stage: Stage) -> None:
    client = stage.anthropic()
    raw = way.run(client.messages.with_raw_response.create(**CLAUDE))
    message = raw.parse()
    message = way.run(message) if hasattr(message, "__await__") else message
    assert message.content[0].type == "text"
    assert raw.headers["x-watermaster-account"] == "claude-main"
    for split in (0, 1):
        events = list(way.each(way.run(client.messages.create(**CLAUDE, stream=True, **wish(split=split)))))
        assert events[-1].type == "message_stop"
        assert [event for event in events if event.type == "message_delta"][-1].usage.output_tokens > 0
    called = way.run(
        client.messages.create(
            **CLAUDE, tools=[{"name": "say", "input_schema": SCHEMA}], tool_choice={"type": "any"}
        )
    )
    assert [part.name for part in called.content if part.type == "tool_use"] == ["say"]


CLASSES: dict[int, str] = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "APIStatusError",
    409: "ConflictError",
    413: "APIStatusError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "InternalServerError",
    529: "InternalServerError",
}


@pytest.mark.parametrize("status", CLASSES)
def test_error_of_openai(way: Way, stage: Stage, status: int) -> None:
    with pytest.raises(getattr(openai, CLASSES[status])) as caught:
        way.run(stage.openai(stage.client(max_wait=0.05)).chat.completions.create(**HELLO, **wish(status=status)))
    assert caught.value.status_code == status
    assert "watermaster" not in str(caught.value), "it is the provider's own"
    assert caught.value.response.headers["x-watermaster-account"] == "openai-main"
    tries = stage.provider.report()["statuses"][str(status)]
    assert 1 <= tries <= 3
    if status < 500 and status not in (408, 409, 429):
        assert tries == 1, "nothing is gained by trying that again"


@pytest.mark.parametrize("status", CLASSES)
def test_error_of_anthropic(way: Way, stage: Stage, status: int) -> None:
    kind = {413: "RequestTooLargeError", 503: "ServiceUnavailableError", 529: "OverloadedError"}.get(
        status, CLASSES[status]
    )
    client = stage.anthropic(stage.client(retries=0, max_wait=0.05), max_retries=0)
    with pytest.raises(getattr(anthropic, kind, anthropic.APIStatusError)) as caught:
        way.run(client.messages.create(**CLAUDE, **wish(status=status)))
    assert caught.value.status_code == status
    assert stage.provider.report()["statuses"] == {str(status): 1}


@pytest.mark.httpx
def test_refusals(way: Way, stage: Stage) -> None:
    client = stage.openai(stage.client(max_wait=0))
    with pytest.raises(openai.RateLimitError, match=r"watermaster: .*pool/openai-main/mini") as large:
        way.run(client.chat.completions.create(**{**MINI, "max_tokens": 900}))
    assert large.value.response.headers["x-watermaster-reason"] == "TOO_LARGE"
    assert "retry-after" not in large.value.response.headers
    assert large.value.type == "tokens"
    assert large.value.code == "rate_limit_exceeded"

    way.run(client.chat.completions.create(**MINI))
    stage.provider.reset()
    with pytest.raises(openai.RateLimitError) as full:  # of two a minute one is kept back
        way.run(client.chat.completions.create(**MINI))
        way.run(client.chat.completions.create(**MINI))
    assert int(full.value.response.headers["retry-after"]) > 0
    assert full.value.response.headers["x-watermaster-binding"].startswith("pool/openai-main/mini ")
    assert stage.provider.report()["calls"] <= 1, "the provider was not asked"

    with pytest.raises(openai.NotFoundError, match="watermaster: "):
        way.run(client.chat.completions.create(**{**HELLO, "model": "gpt-6"}))
    with pytest.raises(openai.BadRequestError, match="x-watermaster-max-wait"):
        way.run(client.chat.completions.create(**HELLO, extra_headers={"X-Watermaster-Max-Wait": "soon"}))


def test_refusals_of_anthropic(way: Way, stage: Stage) -> None:
    client = stage.anthropic(stage.client(max_wait=0))
    with pytest.raises(anthropic.RateLimitError) as large:
        way.run(
            client.messages.create(
                **{**CLAUDE, "max_tokens": 900, "messages": [{"role": "user", "content": "many words " * 500_000}]}
            )
        )
    assert large.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]
    with pytest.raises(anthropic.NotFoundError):
        way.run(client.messages.create(**{**CLAUDE, "model": "claude-9"}))


def test_patience(way: Way, stage: Stage) -> None:
    """Context over options, headers over context."""
    client = stage.openai(stage.client(max_wait=60), timeout=8, max_retries=0)
    create = client.chat.completions.create
    with watermaster.options(max_wait=0), pytest.raises(openai.RateLimitError):
        for _ in range(3):
            way.run(create(**MINI))
    with watermaster.options(max_wait=60), pytest.raises(openai.RateLimitError):
        way.run(create(**MINI, extra_headers={"x-watermaster-max-wait": "1ms"}))
    with watermaster.options(project="nobody's", max_wait=0):
        way.run(create(**HELLO, extra_headers={"x-watermaster-project": "search"}))


@pytest.mark.asyncio
def test_cancelled(way: Way, stage: Stage) -> None:
    client = stage.openai(stage.client(max_wait=60))
    way.cancelled(lambda: client.chat.completions.create(**HELLO, **wish(delay="30s")), lambda: not stage.free())
    until(stage.free, "the running call's place is given back")
    with watermaster.options(max_wait=0), pytest.raises(openai.RateLimitError):
        for _ in range(3):
            way.run(client.chat.completions.create(**MINI))
    way.cancelled(
        lambda: client.chat.completions.create(**MINI), lambda: stage.service.waiting(stage.organization) == 1
    )
    until(lambda: stage.service.waiting(stage.organization) == 0, "the waiting call's place is given up")


def test_timeout(way: Way, stage: Stage) -> None:
    with pytest.raises(openai.APITimeoutError):
        way.run(stage.openai(max_retries=0).chat.completions.create(**HELLO, timeout=0.05, **wish(delay="30s")))


@pytest.mark.httpx
def test_stream_that_ends_early(way: Way, stage: Stage) -> None:
    client = stage.openai(max_retries=0)

    def begin(**headers: Any) -> Any:
        return way.run(client.chat.completions.create(**HELLO, stream=True, **headers))

    with pytest.raises((openai.APIError, way.http.HTTPError)):
        list(way.each(begin(**wish(cut=3))))
    until(stage.free, "cut")

    stream = begin()
    next(iter(way.each(stream)))
    assert not stage.free(), "it runs"
    way.run(stream.close())
    until(stage.free, "closed half-way")

    stream = begin()
    next(iter(way.each(stream)))
    del stream
    until(lambda: way.collected() or stage.free(), "forgotten half-way")

    stream = begin()
    del stream
    until(lambda: way.collected() or stage.free(), "forgotten before it was read")


def test_stream_of_anthropic_that_ends_early(way: Way, stage: Stage) -> None:
    client = stage.anthropic(max_retries=0)
    with pytest.raises((anthropic.APIError, way.http.HTTPError)):
        list(way.each(way.run(client.messages.create(**CLAUDE, stream=True, **wish(cut=3)))))
    until(stage.free, "cut")
    stream = way.run(client.messages.create(**CLAUDE, stream=True))
    next(iter(way.each(stream)))
    way.run(stream.close())
    until(stage.free, "closed half-way")


def test_what_reaches_whom(way: Way, stage: Stage) -> None:
    """Headers for the service stay here, and neither prompt nor key reaches it."""
    service, provider = Tap(stage.service.address), Tap(stage.provider.url)
    try:
        ours = stage.client(address=service.address, labels={"team": "x"})
        client = stage.openai(ours, api_key="sk-MARKERKEY", base_url=f"http://{provider.address}/v1")
        secret = {**HELLO, "messages": [{"role": "user", "content": "MARKERPROMPT"}]}
        mine = {
            "X-Watermaster-Request-Id": f"MARKERID-{stage.organization}",
            "x-watermaster-affinity-key": "MARKERKIN",
        }
        way.run(client.chat.completions.create(**secret, extra_headers=mine))
        list(way.each(way.run(client.chat.completions.create(**secret, stream=True))))
        with pytest.raises(openai.BadRequestError):
            way.run(client.chat.completions.create(**secret, **wish(status=400)))
        way.run(client.models.list(extra_headers={"X-Watermaster-Project": "MARKERPROJECT"}))
        until(stage.free, "all is told")
        for marker in (b"MARKERKEY", b"MARKERPROMPT"):
            assert marker in provider.bytes, "else this test could not fail"
            assert marker not in service.bytes
        assert b"MARKERID" in service.bytes and b"MARKERKIN" in service.bytes
        for marker in (b"x-watermaster", b"markerid", b"markerkin", b"markerproject"):
            assert marker not in provider.bytes.lower()
    finally:
        service.close()
        provider.close()


def routed(other: str) -> str:
    """An organization `r` with a second account at another provider, before the first in route `smart`."""
    text = organization_of("r").replace(
        "    projects:",
        f"""      openai-two:
        provider: openai
        attributes: {{base_url: "{other}/v1"}}
        pools:
          all: {{models: [gpt-5-mini], limits: {{requests: 10k/min, concurrency: 9}}}}
    routes:
      smart:
        min_quality: 0.5
        targets: [{{account: openai-two, model: gpt-5-mini}}, {{account: openai-main, model: gpt-5, quality: 0.9}}]
    projects:""",
    )
    return MODELS + text


def test_targets(way: Way, provider: Provider) -> None:
    other = Provider()
    tap = Tap(other.url)
    service = Service(routed(f"http://{tap.address}"))
    stage = Stage(way, service, provider, "r")
    try:
        client = stage.openai(stage.client(route="smart", keys={"openai-two": "sk-two"}), api_key="sk-first")
        raw = way.run(client.chat.completions.with_raw_response.create(**HELLO))
        assert raw.headers["x-watermaster-account"] == "openai-two"
        assert raw.parse().model == "gpt-5-mini"
        assert other.report()["calls"] == 1
        assert b"Bearer sk-two" in tap.bytes and b"sk-first" not in tap.bytes
        chunks = list(way.each(way.run(client.chat.completions.create(**HELLO, stream=True))))
        assert {chunk.model for chunk in chunks} == {"gpt-5-mini"}

        # Without the key that target is given back unsent, and the next one serves.
        keyless = stage.openai(stage.client(route="smart"))
        raw = way.run(keyless.chat.completions.with_raw_response.create(**HELLO))
        assert raw.headers["x-watermaster-account"] == "openai-main"
        assert other.report()["calls"] == 2
        until(stage.free, "given back")
    finally:
        other.kill()
        service.kill()
        tap.close()


def test_service_away(way: Way, provider: Provider) -> None:
    config = MODELS + organization_of("a")
    service = Service(config)
    stage = Stage(way, service, provider, "a")
    closed = stage.openai(stage.client(max_wait=0.2))
    open_ = stage.openai(stage.client(when_away="open"))
    local = stage.openai(stage.client(when_away=watermaster.Local(requests=1, tokens=100_000), max_wait=0.2))
    try:
        way.run(closed.chat.completions.create(**HELLO))
        until(stage.free, "given back")
        service.kill()
        with pytest.raises(openai.InternalServerError, match="watermaster: ") as away:
            way.run(closed.chat.completions.create(**HELLO))
        assert (away.value.status_code, away.value.code) == (503, "watermaster_unavailable")
        way.run(open_.chat.completions.create(**HELLO))
        assert all(
            chunk.choices for chunk in way.each(way.run(open_.chat.completions.create(**HELLO, stream=True)))
        )
        way.run(local.chat.completions.create(**HELLO))
        with pytest.raises(openai.RateLimitError) as used_up:
            way.run(local.chat.completions.create(**HELLO))
        assert used_up.value.response.headers["x-watermaster-reason"] == "LOCAL_LIMIT"

        service = Service(config, service.address)

        def serves(client: Any) -> bool:
            try:
                raw = way.run(client.chat.completions.with_raw_response.create(**HELLO))
            except openai.APIStatusError:
                return False
            return raw.headers.get("x-watermaster-account") == "openai-main"

        for client in (closed, open_, local):
            until(lambda client=client: serves(client), "the service serves again")  # type: ignore[misc]
    finally:
        service.kill()


def test_one_of_several_addresses_killed(way: Way, provider: Provider) -> None:
    config = MODELS + organization_of("s")
    one, two = Service(config), Service(config)
    try:
        stage = Stage(way, one, provider, "s")
        client = stage.openai(stage.client(address=[one.address, two.address]), max_retries=0)
        for i in range(6):
            if i == 3:
                one.kill()
            way.run(client.chat.completions.create(**HELLO))
    finally:
        one.kill()
        two.kill()
