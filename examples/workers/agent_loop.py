"""An agent that obeys pressure: where limits are scarce it does with fewer tools, before it is made to wait."""

import json
import os

import openai
import watermaster


def warn(pressure: watermaster.Pressure) -> None:
    print(f"pressure is {pressure.level}, {pressure.utilization:.0%} used: at most {pressure.max_tool_calls} tool calls")


http = watermaster.Client(
    os.environ.get("WATERMASTER", "localhost:8081"), organization="acme", project="agents", on_pressure=warn
)
client = openai.OpenAI(http_client=http)
gauge = {"type": "function", "function": {"name": "gauge", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}}


def run(task: str, most: int = 4) -> str:
    messages: list = [{"role": "user", "content": task}]
    calls = 0
    while True:
        advised = http.limiter.pressure and http.limiter.pressure.max_tool_calls
        allowed = most if advised is None else min(most, advised)
        answer = client.chat.completions.create(
            model="gpt-5",
            max_tokens=60,
            messages=messages,
            tools=[gauge],
            tool_choice="required" if calls < allowed else "none",
        ).choices[0].message
        if not answer.tool_calls or calls >= allowed:
            return f"after {calls} tool calls: {answer.content}"
        messages.append(answer.model_dump(exclude_none=True))
        for call in answer.tool_calls:
            calls += 1
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps({"level": 2.31})})


print(run("Is the river high?"))
http.close()
