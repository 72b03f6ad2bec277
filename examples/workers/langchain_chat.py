"""LangChain: its models take the wrapper as their HTTP clients, and stay as they are."""

import asyncio
import os

import watermaster
from langchain_openai import ChatOpenAI

limiter = watermaster.Limiter(os.environ.get("WATERMASTER", "localhost:8081"), organization="acme", project="search")
model = ChatOpenAI(
    model="gpt-5",
    max_tokens=60,
    http_client=watermaster.Client(limiter),
    http_async_client=watermaster.AsyncClient(limiter),
)

print("plain:", model.invoke("Name a river.").content)
print("streamed:", "".join(str(piece.content) for piece in model.stream("Name a lake.")))


async def both() -> None:
    answers = await model.abatch(["Name a strait.", "Name a canal."])
    print("side by side:", *(answer.content for answer in answers), sep="\n  ")


with watermaster.options(priority_class="interactive"):  # for all calls within
    asyncio.run(both())
limiter.close()
