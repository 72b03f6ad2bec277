"""OpenAI's Agents SDK: one client for all agents, so that every turn asks first."""

import asyncio
import os

import watermaster
from agents import Agent, ModelSettings, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

http = watermaster.AsyncClient(os.environ.get("WATERMASTER", "localhost:8081"), organization="acme", project="search")
set_default_openai_client(AsyncOpenAI(http_client=http), use_for_tracing=False)
set_tracing_disabled(True)  # traces go elsewhere than calls


@function_tool
def level(gauge: str) -> str:
    """Tells the water level at a gauge."""
    return f"{gauge}: 2.31 m"


agent = Agent(name="warden", instructions="You watch a river.", model="gpt-5", model_settings=ModelSettings(max_tokens=60))
with_tool = agent.clone(tools=[level], model_settings=ModelSettings(max_tokens=60, tool_choice="required"))


async def main() -> None:
    print("answer:", (await Runner.run(agent, "How is the river?")).final_output)
    streamed = Runner.run_streamed(agent, "And the lake?")
    events = [event.type async for event in streamed.stream_events()]
    print(f"streamed: {len(events)} events:", streamed.final_output)
    print("with a tool:", (await Runner.run(with_tool, "Read the gauge.", max_turns=3)).final_output)
    await http.aclose()


asyncio.run(main())
