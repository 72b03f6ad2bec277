"""What the wrapper costs over a bare call: run by the benchmarks of clients/fleet.

Prints a line of JSON: seconds and seconds of this process's CPU a call, bare and wrapped, in rounds
that take turns; or, with --streams, the bytes of memory that each open stream takes.
"""

import argparse
import asyncio
import gc
import json
import os
import statistics
import time
from contextlib import AsyncExitStack

import openai

import watermaster

ASK = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "What does a call cost? " * 20}]}


def resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def clients(flags: argparse.Namespace, kind: type, inner: type) -> tuple:
    bare = kind(base_url=flags.provider + "/v1", api_key="any", max_retries=0)
    limited = (
        inner(flags.service, organization=flags.organization, project=flags.project) if flags.service else None
    )
    return bare, limited and kind(
        base_url=flags.provider + "/v1", api_key="any", max_retries=0, http_client=limited
    )


async def side_by_side(client: openai.AsyncOpenAI, calls: int, in_flight: int) -> None:
    left = iter(range(calls))

    async def one() -> None:
        for _ in left:
            await client.chat.completions.create(**ASK)

    await asyncio.gather(*(one() for _ in range(in_flight)))


def measure(flags: argparse.Namespace) -> dict:
    if flags.in_flight == 1:
        pair = clients(flags, openai.OpenAI, watermaster.Client)

        def calls(client: openai.OpenAI, n: int) -> None:
            for _ in range(n):
                client.chat.completions.create(**ASK)
    else:
        loop = asyncio.new_event_loop()
        pair = clients(flags, openai.AsyncOpenAI, watermaster.AsyncClient)

        def calls(client: openai.AsyncOpenAI, n: int) -> None:
            loop.run_until_complete(side_by_side(client, n, flags.in_flight))

    took: list[list[tuple[float, float]]] = [[], []]
    for round_ in range(flags.rounds + 1):
        for which, client in enumerate(pair):
            wall, cpu = time.perf_counter(), time.process_time()
            calls(client, flags.calls)
            if round_:  # the first one warms up
                took[which].append(
                    ((time.perf_counter() - wall) / flags.calls, (time.process_time() - cpu) / flags.calls)
                )
    bare, wrapped = ([statistics.median(column) for column in zip(*rounds, strict=True)] for rounds in took)
    return {"bare": bare[0], "bare_cpu": bare[1], "wrapped": wrapped[0], "wrapped_cpu": wrapped[1]}


async def streams(flags: argparse.Namespace) -> dict:
    bare, wrapped = clients(flags, openai.AsyncOpenAI, watermaster.AsyncClient)
    async with AsyncExitStack() as open_streams:

        async def begin() -> None:
            stream = await (wrapped or bare).chat.completions.create(stream=True, **ASK)
            await open_streams.enter_async_context(stream)
            await anext(aiter(stream))

        await begin()
        before = resident()
        await asyncio.gather(*(begin() for _ in range(flags.streams)))
        return {"stream": (resident() - before) / flags.streams}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", default="")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--organization", default="")
    parser.add_argument("--project", default="")
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(streams(given)) if given.streams else measure(given)), flush=True)
    os._exit(0)  # streams that are open need not be waited for
