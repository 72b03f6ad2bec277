"""Exact counts, where a model's vocabulary is public and the extra `tokenizer` is installed.

The vocabulary is loaded in the background when it is first wanted; until then, and for all other models, tokens
are estimated by bytes. Texts above a million characters are, too: exactness is not worth the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from . import estimate

_LONGEST = 1_000_000
_O200K = ("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "o1", "o3", "o4", "chatgpt-4o")
_CL100K = ("gpt-4", "gpt-3.5", "text-embedding-3")


def encoding_of(model: str) -> str | None:
    """Names the vocabulary of a model; None: it is not public."""
    if model.startswith(_O200K):
        return "o200k_base"
    if model.startswith(_CL100K):
        return "cl100k_base"
    return "o200k_base" if model.startswith("gpt-") else None


class _Vocabularies:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str, Any] = {}  # None: being loaded, or not to be had

    def get(self, name: str) -> Any:
        try:
            return self._loaded[name]
        except KeyError:
            pass
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = None
                threading.Thread(
                    target=self._load, args=(name,), name="watermaster-vocabulary", daemon=True
                ).start()
        return self._loaded[name]

    def _load(self, name: str) -> None:
        try:
            from bpe_openai import get_encoding  # type: ignore[import-untyped, import-not-found, unused-ignore]

            self._loaded[name] = get_encoding(name)
        except Exception:  # it is not installed, or does not know it: estimates do
            return


_vocabularies = _Vocabularies()


def counter(
    tokenizer: Literal["auto"] | Callable[[str, str], int | None] | None,
) -> tuple[Callable[[str, str], int], Callable[[str], bool]]:
    """Gives what counts the tokens of a model's text, and what says whether it is exact for a model by now."""
    if tokenizer is None:
        return (lambda _, text: estimate.tokens(text)), (lambda _: False)
    if tokenizer != "auto":
        given = tokenizer

        def ask(model: str, text: str) -> int:
            n = given(model, text)
            return estimate.tokens(text) if n is None else n

        return ask, (lambda _: True)

    def vocabulary(model: str) -> Any:
        name = encoding_of(model)
        return _vocabularies.get(name) if name is not None else None

    def count(model: str, text: str) -> int:
        encoding = vocabulary(model)
        if encoding is None or len(text) > _LONGEST:
            return estimate.tokens(text)
        try:
            return len(encoding.encode_ordinary(text))
        except Exception:  # half of a surrogate pair, say
            return estimate.tokens(text)

    return count, (lambda model: vocabulary(model) is not None)
