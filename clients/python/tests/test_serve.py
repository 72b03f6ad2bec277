"""With the real service."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake import eventually

import watermaster

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    binary = Path(os.environ.get("WATERMASTER") or ROOT / ".bin" / "watermaster")
    if not binary.exists():
        subprocess.run(["go", "build", "-o", str(binary), "./server/cmd/watermaster"], cwd=ROOT, check=True)
    command = [str(binary), "serve", "--config", str(ROOT / "examples/quickstart/config.yaml")]
    with subprocess.Popen(
        [*command, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(rb"grpc=(\S+)", line):
                    yield found[1].decode()
                    break
            else:
                pytest.fail("watermaster serve told no address")
        finally:
            process.terminate()


def held(limiter: watermaster.Limiter, metric: str) -> int:
    return next(x.held for x in limiter.headroom().limits if x.metric == metric)


def test_a_call_is_charged_as_it_was_used(address: str, make: Any) -> None:
    limiter = make(address, project="search")
    before = held(limiter, "tokens")
    with limiter.acquire(model="gpt-5", input_tokens=1_000, max_output_tokens=500) as lease:
        assert lease.target.account == "openai-main" and lease.target.provider == "openai"
        lease.start()
        lease.usage(input_tokens=900, output_tokens=100)
    limiter._courier.flush(5)
    assert limiter.dropped == 0
    assert held(limiter, "requests") >= 1
    # OpenAI counts the larger of what was asked for and used.
    assert 1_000 <= held(limiter, "tokens") - before <= 1_500


def test_unsent_is_given_back(address: str, make: Any) -> None:
    limiter = make(address, project="search")
    before = held(limiter, "tokens")
    with limiter.acquire(route="smart", input_tokens=7_000, max_output_tokens=0) as lease:
        assert held(limiter, "tokens") > before + 6_000
        lease.release(watermaster.Outcome.UNSENT)
    eventually(lambda: held(limiter, "tokens") <= before)


def test_refusals_and_bugs(address: str, make: Any) -> None:
    limiter = make(address, project="search")
    with pytest.raises(watermaster.Rejected) as r, limiter.acquire(model="gpt-5", input_tokens=10**9):
        pass
    assert r.value.reason == "TOO_LARGE" and r.value.retry_after is None
    with pytest.raises(watermaster.Rejected) as r:
        for _ in range(10):
            limiter.acquire(
                model="gpt-5", input_tokens=60_000, max_output_tokens=0, max_wait=0
            ).__enter__().release(usage=watermaster.Usage(60_000, 0))
    assert r.value.reason == "WAIT_TOO_LONG" and r.value.retry_after and r.value.binding[0].quota == 200_000
    assert r.value.binding[0].scope == "pool/openai-main/gpt-5"
    for wrong, code in (
        ({"model": "gpt-6"}, "NOT_FOUND"),
        ({"model": "gpt-5", "labels": {"": ""}}, "INVALID_ARGUMENT"),
    ):
        with pytest.raises(watermaster.CallError) as e, limiter.acquire(**wrong):
            pass
        assert e.value.code == code


def test_advice_about_a_failure(address: str, make: Any) -> None:
    limiter = make(address, project="search")

    async def main() -> watermaster.Advice | None:
        lease = await limiter.ask_async(limiter.acquire(model="gpt-5", max_output_tokens=0)._ask)
        return await lease.release_for_advice_async(  # type: ignore[no-any-return]
            observation=watermaster.Observation(400, body='{"error":{"type":"invalid_request_error"}}')
        )

    advice = asyncio.run(main())
    assert advice is not None and not advice.retry and advice.failure_class == "INVALID"
