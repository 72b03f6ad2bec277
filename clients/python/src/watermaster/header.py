"""Headers of a request that are for the service: they say what a call wants, and never reach a provider."""

from __future__ import annotations

import re
from typing import Any

from .call import Call

PREFIX = "x-watermaster-"
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Misspelt(ValueError):
    """A header for the service that cannot be read."""


def clean(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leaves out the headers that are for the service: they never reach the provider."""
    return [(name, value) for name, value in headers if not name.lower().startswith(PREFIX)]


def retry_count(headers: list[tuple[str, str]]) -> int:
    for name, value in headers:
        if name.lower() == "x-stainless-retry-count" and value.isdecimal():
            return min(int(value), 1000)
    return 0


def said(headers: list[tuple[str, str]]) -> Call:
    """Reads the headers that are for the service. Raises Misspelt."""
    values: dict[str, Any] = {}
    for name, value in headers:
        name = name.lower()
        if not name.startswith(PREFIX) or not value:
            continue  # an empty one says nothing; one that is not known here may be of a newer client
        key = name[len(PREFIX) :].replace("-", "_")
        if key in ("project", "priority_class", "route", "request_id", "affinity_key"):
            values[key] = value
        elif key == "max_wait":
            values[key] = seconds(value)
        elif key == "min_quality":
            values[key] = _part(value)
    return Call(**values)


def seconds(text: str) -> float:
    """Reads seconds ("1.5") or a duration ("500ms", "1m30s")."""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        found = _DURATION.findall(text)
        value = sum(float(amount) * _UNITS[unit] for amount, unit in found)
        if not found or "".join(amount + unit for amount, unit in found) != text:
            value = -1.0
    if not 0 <= value <= 86400:
        raise Misspelt(
            f'x-watermaster-max-wait must be seconds or a duration such as "500ms", at most 24 h, not {text!r}'
        )
    return value


def _part(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Misspelt(f"x-watermaster-min-quality must be within 0 to 1, not {text!r}")
    return value
