from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake import Hands, Service

import watermaster


@pytest.fixture(scope="session", autouse=True)
def frozen() -> None:
    """Tests collect garbage: not through all that the SDKs have brought, which takes longer than most tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def service() -> Iterator[Service]:
    s = Service()
    yield s
    s.stop()


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def make() -> Iterator[Callable[..., watermaster.Limiter]]:
    made: list[watermaster.Limiter] = []

    def limiter(*services: Service | str, **options: Any) -> watermaster.Limiter:
        made.append(watermaster.Limiter([s if isinstance(s, str) else s.address for s in services], **options))
        return made[-1]

    yield limiter
    for m in made:
        m.close(1.0)
