"""A service that keeps what it is told of each call, and a provider that does as a test says."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

from fake import Service as Fake
from fake import dur
from world import Way, reply

from watermaster.v1 import limiter_pb2 as pb

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
        return pb.AcquireResponse(
            request_id=request.request_id,
            granted=granted,
            pressure=pb.Pressure(level=pb.PRESSURE_LEVEL_HIGH, max_tool_calls=3),
        )

    return grant


def advises(**advice: Any) -> Callable[..., pb.ReleaseResponse]:
    return lambda *_: pb.ReleaseResponse(advice=pb.Advice(**advice))


def released(fake: Fake, count: int = 1) -> list[Any]:
    """The releases in the order of their grants: so many, each of another lease, and one for every grant."""
    releases = sorted(fake.count("Release", count), key=lambda release: int(release.lease_id[1:]))
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
