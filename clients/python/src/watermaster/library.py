"""Loads the transports over the HTTP library that the SDKs at hand take."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def over(library: str) -> ModuleType:
    """Loads module transport over "httpx2" or "httpx", once. Raises ImportError if that is not installed."""
    name = f"watermaster.transport_{library}"
    if name in sys.modules:
        return sys.modules[name]
    under = importlib.import_module(library)
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("transport.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.httpx = under  # type: ignore[attr-defined]
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def newest() -> ModuleType:
    """Loads the transports over httpx2 if it is installed, else over httpx."""
    for library in ("httpx2", "httpx"):
        if importlib.util.find_spec(library) is not None:
            return over(library)
    raise ImportError(
        "watermaster.Client needs httpx2 or httpx: install the SDK that you use, it brings the one it takes"
    )
