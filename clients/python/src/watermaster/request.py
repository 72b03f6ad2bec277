"""What is read of a request that is about to leave: clients/testdata/requests.json has the cases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from .estimate import Walk, tokens

# The longer ones first: a chat's path ends in /completions, too.
_WIRES = (
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/responses", "responses"),
    ("/embeddings", "embeddings"),
    ("/messages", "messages"),
    ("/images/generations", "images"),
)
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")

#: Of each wire format the fields that are prompt, and those that are schemas.
_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "chat": (("messages", "prediction"), ("tools", "functions", "response_format")),
    "completions": (("prompt", "suffix"), ()),
    "responses": (("input", "instructions"), ("tools", "text")),
    "messages": (("system", "messages"), ("tools", "output_config")),
    "embeddings": (("input",), ()),
    "images": (("prompt",), ()),
}
_MOST = 10**12  # the service takes no more
_MESSAGE_TOKENS = 4  # what a provider adds to each message


@dataclass
class Request:
    """A request that is limited."""

    wire: str
    model: str
    #: Upper bound of the tokens produced, over all choices. None: the model's.
    max_output_tokens: int | None
    #: Estimate of the prompt's tokens, before it is corrected by what was seen of the model.
    input_tokens: int
    text_only: bool
    stream: bool
    #: The usage has to be asked for, as the caller did not.
    add_usage: bool
    units: dict[str, int] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict, repr=False)


def wire_of(path: str) -> str | None:
    """Names the wire format that a path speaks; None for one that is not limited."""
    path = path.rstrip("/")
    for suffix, wire in _WIRES:
        if path.endswith(suffix):
            return wire
    return None


def read(
    method: str,
    url: str,
    content: Callable[[], bytes],
    count: Callable[[str, str], int] = lambda _, text: tokens(text),
) -> Request | None:
    """Reads a request. None: it is not limited, or the provider will say what is wrong with it.

    `content` gives the body, and is only asked where it matters; `count` gives the tokens of a model's text.
    """
    if method != "POST":
        return None
    path = urlsplit(url).path
    wire = wire_of(path)
    if wire is None:
        return None
    try:
        body = json.loads(content())
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    model = body.get("model")
    if not isinstance(model, str) or not model:
        deployment = _DEPLOYMENT.search(path)
        if deployment is None:
            return None
        model = unquote(deployment.group(1))
    try:
        model.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    walk = Walk(lambda text: count(model, text))
    try:
        estimate = _estimate(wire, body, walk)
    except RecursionError:  # nobody's prompt
        return None
    stream = body.get("stream") is True
    options = body.get("stream_options")
    return Request(
        wire=wire,
        model=model,
        max_output_tokens=_bound(wire, body),
        input_tokens=estimate,
        text_only=walk.text_only,
        stream=stream,
        add_usage=stream
        and wire in ("chat", "completions")
        and not (isinstance(options, dict) and options.get("include_usage") is True),
        units={"images": max(1, _whole(body.get("n")) or 1)} if wire == "images" else {},
        body=body,
    )


def _estimate(wire: str, body: dict[str, Any], walk: Walk) -> int:
    total = 0
    prompts, schemas = _FIELDS[wire]
    for name in prompts:
        value = body.get(name)
        if value is None:
            continue
        total += walk.prompt(value)
        if isinstance(value, list) and (name == "messages" or (name == "input" and wire == "responses")):
            total += _MESSAGE_TOKENS * sum(isinstance(message, dict) for message in value)
    for name in schemas:
        if body.get(name) is not None:
            total += walk.schema(body[name])
    return total


def _bound(wire: str, body: dict[str, Any]) -> int | None:
    if wire in ("embeddings", "images"):
        return 0
    bounds = [
        bound
        for name in ("max_completion_tokens", "max_output_tokens", "max_tokens")
        if (bound := _whole(body.get(name))) is not None
    ]
    if not bounds:
        return None
    choices = max(1, _whole(body.get("n")) or 1)
    if wire == "completions":
        choices = max(choices, _whole(body.get("best_of")) or 1)
    return min(max(bounds) * choices, _MOST)


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return min(value, _MOST) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
