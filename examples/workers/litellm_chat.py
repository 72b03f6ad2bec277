"""LiteLLM's SDK: its sessions are HTTP clients, so the wrapper takes their place."""

import asyncio
import os

import litellm
import watermaster

limiter = watermaster.Limiter(os.environ.get("WATERMASTER", "localhost:8081"), organization="acme", project="search")
litellm.client_session = watermaster.Client(limiter)
litellm.aclient_session = watermaster.AsyncClient(limiter)
litellm.num_retries = 0  # the wrapper retries as the service advises

ask = {"model": "openai/gpt-5", "max_tokens": 60, "api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"]}

answer = litellm.completion(messages=[{"role": "user", "content": "Name a river."}], **ask)
print("plain:", answer.choices[0].message.content)

pieces = litellm.completion(messages=[{"role": "user", "content": "Name a lake."}], stream=True, **ask)
print("streamed:", "".join(piece.choices[0].delta.content or "" for piece in pieces))


async def later() -> None:
    answer = await litellm.acompletion(messages=[{"role": "user", "content": "Name a canal."}], **ask)
    print("asynchronous:", answer.choices[0].message.content)


asyncio.run(later())
limiter.close()
