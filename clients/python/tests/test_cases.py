"""The cases that all clients share: clients/testdata."""

import json
import random
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from watermaster import form, request, stream, way

DATA = Path(__file__).parents[2] / "testdata"


def cases(name: str) -> Any:
    listed = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return pytest.mark.parametrize("case", listed, ids=[case["name"] for case in listed])


def told(usage: Any) -> Any:
    return usage and {key: value for key, value in asdict(usage).items() if value not in (None, {})}


@cases("requests")
def test_request(case: dict[str, Any]) -> None:
    got = request.read(case["method"], case["url"], lambda: case["body"].encode())
    assert (got and {key: getattr(got, key) for key in case["want"] or {}}) == case["want"]


def pieces(body: bytes, how: int) -> list[bytes]:
    if how == 0:
        return [body]
    if how == 1:
        return [body[i : i + 1] for i in range(len(body))]
    chance, cut = random.Random(how), []
    while body:
        n = chance.randint(1, 60)
        cut.append(body[:n])
        body = body[n:]
    return cut


@cases("usage")
def test_usage(case: dict[str, Any]) -> None:
    body, want = case["body"].encode(), case["want"]
    if not case["stream"]:
        assert told(stream.read_body(case["wire"], body)) == want["usage"]
        return
    for how in range(20):
        reader = stream.Reader(case["wire"], case["hide"])
        out = b"".join(map(reader.feed, pieces(body, how))) + reader.close()
        assert out.decode() == want["forwarded"]
        assert told(reader.usage) == want["usage"]
        assert reader.ended == want["ended"]
        assert (reader.failure and asdict(reader.failure)) == want["failure"]


@cases("targets")
def test_target(case: dict[str, Any]) -> None:
    target = SimpleNamespace(**case["target"])
    got = way.follow(
        case["wire"], case["url"], case["body"]["model"], target, case["account"], case["keys"], case["route"]
    )
    want = case["want"]
    if want is None:
        assert got is None
        return
    assert got is not None
    headers = {name: value for name, value in case["headers"].items() if name not in got.without} | got.headers
    assert (got.url, headers, got.model) == (want["url"], want["headers"], want["model"])
    assert not set(want["absent"]) & set(headers)


@cases("refusals")
def test_refusal(case: dict[str, Any]) -> None:
    rejected = case["rejected"]
    binding = [SimpleNamespace(**limit) for limit in rejected["binding"]]
    headers, body = form.refusal(
        case["wire"], case["request_id"], rejected["reason"], rejected["retry_after"], binding, rejected["message"]
    )
    assert json.loads(body) == case["want"]["body"]
    assert headers == case["want"]["headers"]


@cases("observations")
def test_observation(case: dict[str, Any]) -> None:
    assert form.rate_headers(case["headers"].items()) == case["want"]["headers"]
    assert form.told_body(case["status"], case["body"].encode()) == case["want"]["body"]
