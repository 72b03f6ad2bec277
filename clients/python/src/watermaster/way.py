"""Where a grant sends a request: clients/testdata/targets.json has the cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

# The providers that speak a wire format, by their names in the service's configuration.
_COMPATIBLE = ("openai", "azure", "groq", "mistral", "deepseek", "together", "fireworks", "openrouter", "generic")
_SPEAK: dict[str, tuple[str, ...]] = {
    "chat": _COMPATIBLE,
    "completions": _COMPATIBLE,
    "embeddings": _COMPATIBLE,
    "responses": ("openai", "azure", "generic"),
    "images": ("openai", "azure", "generic"),
    "messages": ("anthropic",),
}
_ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com",
    "together": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "openrouter": "https://openrouter.ai/api/v1",
}
_ENDPOINTS = {
    "chat": "chat/completions",
    "completions": "completions",
    "responses": "responses",
    "embeddings": "embeddings",
    "messages": "messages",
    "images": "images/generations",
}
_CREDENTIALS = ("authorization", "x-api-key", "api-key")
_BELONGINGS = ("openai-organization", "openai-project")  # of the key that is not used


class Target(Protocol):
    """Where the service says that a call goes."""

    @property
    def account(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def attributes(self) -> Mapping[str, str]: ...


@dataclass
class Way:
    """How a request is sent to its target."""

    url: str
    model: str  # that the body has to name
    headers: dict[str, str] = field(default_factory=dict)  # to set
    without: tuple[str, ...] = ()  # headers to leave out


def providers(wire: str, url: str, keys: bool) -> tuple[str, ...]:
    """Names the providers that may be asked for, where the worker has not said which account is its own."""
    speak = _SPEAK[wire]
    if keys:
        return speak
    host = urlsplit(url).hostname or ""
    if host == "api.openai.com":
        own: tuple[str, ...] = ("openai",)
    elif host == "api.anthropic.com":
        own = ("anthropic",)
    elif host.endswith((".openai.azure.com", ".cognitiveservices.azure.com")):
        own = ("azure",)
    else:
        return speak
    return own if own[0] in speak else speak


def follow(
    wire: str, url: str, model: str, target: Target, account: str | None, keys: Mapping[str, str], routed: bool
) -> Way | None:
    """Says how to send a request to its target; None: the worker has no way to.

    `account` is the one that the SDK's own key belongs to, if that is known; `routed`: a route was asked for, so
    that the model is the target's.
    """
    if target.provider and target.provider not in _SPEAK[wire]:
        return None
    base = target.attributes.get("base_url", "")
    deployment = target.attributes.get("deployment", "")
    key = keys.get(target.account)
    if key is None:
        if account:
            if target.account != account:
                return None
        elif base and urlsplit(base).netloc != urlsplit(url).netloc:
            return None
        return _own(url, model, target, deployment, routed)
    base = base or _ADDRESSES.get(target.provider, "")
    if not base:
        return None
    foreign = target.account != account
    named = target.model if routed or foreign else model
    parts = urlsplit(url)
    query = [
        (name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "api-version"
    ]
    if target.provider == "azure":
        path, named = _azure(wire, base, target, deployment, query, named)
        bearer = key.startswith("Bearer ")
        header = {"authorization": key} if bearer else {"api-key": key}
    elif target.provider == "anthropic":
        path = base.rstrip("/").removesuffix("/v1") + "/v1/messages"
        header = {"x-api-key": key}
    else:
        path = base.rstrip("/") + "/" + _ENDPOINTS[wire]
        header = {"authorization": "Bearer " + key}
    if query:
        path += "?" + urlencode(query)
    gone = _CREDENTIALS + (_BELONGINGS if foreign else ())
    return Way(path, named, header, tuple(name for name in gone if name not in header))


def _azure(
    wire: str, base: str, target: Target, deployment: str, query: list[tuple[str, str]], model: str
) -> tuple[str, str]:
    root = base.rstrip("/").removesuffix("/v1").removesuffix("/openai") + "/openai"
    version = target.attributes.get("api_version", "")
    deployment = deployment or target.model
    if version and wire in ("chat", "completions", "embeddings", "images"):
        query.append(("api-version", version))
        return f"{root}/deployments/{quote(deployment, safe='')}/{_ENDPOINTS[wire]}", model
    return f"{root}/v1/{_ENDPOINTS[wire]}", deployment


def _own(url: str, model: str, target: Target, deployment: str, routed: bool) -> Way:
    parts = urlsplit(url)
    head, found, rest = parts.path.partition("/deployments/")
    if found and deployment:
        _, _, endpoint = rest.partition("/")
        url = urlunsplit(parts._replace(path=f"{head}/deployments/{quote(deployment, safe='')}/{endpoint}"))
    return Way(url, target.model if routed else model)


def edit(body: dict[str, Any], way: Way, add_usage: bool) -> bool:
    """Brings a body in line with where it goes, and says whether that changed anything."""
    changed = False
    # Of Azure's older form only the path names the model.
    named = "model" in body or "/deployments/" not in urlsplit(way.url).path
    if named and body.get("model") != way.model:
        body["model"] = way.model
        changed = True
    if add_usage:
        options = body.get("stream_options")
        body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        changed = True
    return changed
