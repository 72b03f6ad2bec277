"""How many tokens a prompt has, estimated where it is: no text leaves the worker.

The rules hold for all clients alike, in whole numbers; clients/testdata/requests.json has their cases. A
quarter of the bytes is right within a sixth for prose and code; digits, JSON and base64 have twice as
many tokens, scripts beyond ASCII about one for three bytes. What is wrong with that for a model is
learned from its own usage: see Ratio.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

# What each character is not, so that what is left can be counted at once.
_SYMBOLS = b'0123456789{}[]":,;=<>()/\\+_|#$%&*@~^'
_WHITE = b" \t\n\r"

#: Counts the tokens of a text for a model; None where it does not know the model.
Tokenizer = Callable[[str, str], int | None]

#: Keys of objects whose values are no part of the prompt.
_NAMES = frozenset(
    (
        "id",
        "type",
        "role",
        "status",
        "tool_call_id",
        "call_id",
        "tool_use_id",
        "cache_control",
        "signature",
        "encrypted_content",
    )
)
_IMAGES = frozenset(("image_url", "input_image", "image"))
_FILES = frozenset(("input_audio", "file", "input_file", "document"))
_IMAGE_TOKENS = 1600  # the most that one costs at either provider, at ordinary detail
_FILE_TOKENS = 1500


def tokens(text: str) -> int:
    """Estimates the tokens of a text by its bytes alone."""
    if text.isascii():
        plain, other = text.encode("ascii"), 0
    else:
        encoded = text.encode("utf-8", "surrogatepass")
        plain = text.encode("ascii", "ignore")
        other = len(encoded) - len(plain)
    n = len(plain)
    heavy = n > 0 and (
        (n - len(plain.translate(None, _SYMBOLS))) * 4 >= n
        or (n >= 64 and (n - len(plain.translate(None, _WHITE))) * 32 < n)
    )
    return -(-n // (2 if heavy else 4)) - (-other // 3)


class Walk:
    """Adds up the tokens of parts of a request."""

    def __init__(self, count: Callable[[str], int] = tokens) -> None:
        self._count = count
        self.text_only = True  #: there was nothing but text, so that the usage can teach us

    def prompt(self, value: Any) -> int:
        """Adds up what a field of the prompt holds."""
        if isinstance(value, str):
            return self._count(value)
        if isinstance(value, list):
            return sum(map(self.prompt, value))
        if isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str):
                if kind in _IMAGES:
                    self.text_only = False
                    return _IMAGE_TOKENS
                if kind in _FILES and not (kind == "document" and _is_text(value.get("source"))):
                    self.text_only = False
                    return max(_FILE_TOKENS, -(-_longest(value) // 8))
            return sum(self.prompt(part) for key, part in value.items() if key not in _NAMES)
        return 0 if value is None or isinstance(value, bool) else 1  # a number is a token itself

    @staticmethod
    def schema(value: Any) -> int:
        """Estimates a field that is a schema: names count as much as texts do."""
        return -(-_schema_bytes(value) // 3)


def _is_text(source: Any) -> bool:
    return isinstance(source, dict) and source.get("type") in ("text", "content")


def _longest(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return max(map(_longest, value.values()), default=0)
    if isinstance(value, list):
        return max(map(_longest, value), default=0)
    return 0


def _schema_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum(
            len(key.encode("utf-8", "surrogatepass")) + 4 + _schema_bytes(part) for key, part in value.items()
        )
    if isinstance(value, list):
        return sum(map(_schema_bytes, value))
    return 0 if value is None or isinstance(value, bool) else 4


class Ratio:
    """What estimates of a model have to be multiplied by to be an upper bound.

    A running mean of what was used over what was estimated, and of how far that strays: mean and twice the
    stray, within .5 and 8. Claude's tokenizers find about 30 % more tokens in a text than OpenAI's, so that
    they begin there.
    """

    def __init__(self, model: str, exact: bool = False) -> None:
        self._mean = 1.3 if model.startswith("claude") else 1.0
        self._stray = 0.02 if exact else 0.1

    @property
    def factor(self) -> float:
        return min(8.0, max(0.5, self._mean + 2 * self._stray))

    def learn(self, estimate: int, actual: int) -> None:
        """Takes in what a call really used. Small prompts teach nothing."""
        if estimate < 50:
            return
        seen = actual / estimate
        self._stray += (abs(seen - self._mean) - self._stray) / 8
        self._mean += (seen - self._mean) / 8


class Ratios:
    """The ratios of the models that were asked for last, at most 1,000."""

    def __init__(self) -> None:
        self._by_model: OrderedDict[tuple[str, bool], Ratio] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, model: str, exact: bool = False) -> Ratio:
        key = (model, exact)
        with self._lock:
            ratio = self._by_model.get(key)
            if ratio is None:
                if len(self._by_model) >= 1000:
                    self._by_model.popitem(last=False)
                ratio = self._by_model[key] = Ratio(model, exact)
            else:
                self._by_model.move_to_end(key)
            return ratio
