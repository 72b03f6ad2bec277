"""Workers of the fleet (clients/fleet): calls through the official SDK, one after the other.

A line of JSON tells of each call; the flags are the same in all languages.
"""

import argparse
import asyncio
import json
import random
import sys
import time

import openai

import watermaster


def tell(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def work(client: openai.AsyncOpenAI, flags: argparse.Namespace, seed: int, end: float) -> None:
    chance = random.Random(seed)
    await asyncio.sleep(chance.random())
    while time.monotonic() < end:
        stream = chance.random() < 0.5
        words = " ".join(
            chance.choice(["river", "lock", "weir", "gauge", "sluice"]) for _ in range(chance.randint(20, 120))
        )
        ask = {
            "model": "m",
            "max_tokens": flags.max_tokens,
            "messages": [{"role": "user", "content": words}],
            "extra_headers": {"x-standin-output": str(chance.randint(20, 80))},
        }
        seen = {"stream": stream, "seconds": 0.0, "input": 0, "output": 0}
        began = time.monotonic()
        try:
            if stream:
                async for chunk in await client.chat.completions.create(
                    stream=True, stream_options={"include_usage": True}, **ask
                ):
                    seen["seconds"] = seen["seconds"] or time.monotonic() - began
                    usage = chunk.usage or None
            else:
                answer = await client.chat.completions.create(**ask)
                seen["seconds"] = time.monotonic() - began
                usage = answer.usage
            tell(outcome="ok", **{**seen, "input": usage.prompt_tokens, "output": usage.completion_tokens})
        except openai.RateLimitError as error:
            refused = "x-watermaster-reason" in error.response.headers
            tell(
                outcome="refused" if refused else "throttled",
                message=str(error),
                **{**seen, "seconds": time.monotonic() - began},
            )
        except openai.OpenAIError as error:
            tell(outcome="error", message=repr(error), **{**seen, "seconds": time.monotonic() - began})


async def main(flags: argparse.Namespace) -> None:
    inner = None
    if flags.service:
        inner = watermaster.AsyncClient(
            flags.service, organization=flags.organization, project=flags.project, lease_ttl=flags.lease_ttl
        )
    client = openai.AsyncOpenAI(base_url=flags.provider + "/v1", api_key="any", http_client=inner)
    tell(ready=True)
    await asyncio.to_thread(sys.stdin.readline)
    end = time.monotonic() + flags.seconds
    await asyncio.gather(*(work(client, flags, flags.seed * 1000 + i, end) for i in range(flags.workers)))
    await client.close()
    if inner is not None:
        inner.limiter.close()
    tell(done=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", default="")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--organization", default="")
    parser.add_argument("--project", default="")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease-ttl", type=float, default=30)
    parser.add_argument("--max-tokens", type=int, default=200)
    asyncio.run(main(parser.parse_args()))
