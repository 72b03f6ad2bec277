from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from fake import Service as Fake
from stage import Stage
from world import MODELS, Provider, Service, Way, answering, organization_of, until

_ORGANIZATIONS = 160
_numbers = itertools.count()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    made = Service(MODELS + "".join(organization_of(f"o{i}") for i in range(_ORGANIZATIONS)))
    yield made
    made.kill()


@pytest.fixture(scope="session")
def provider_process() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.kill()


@pytest.fixture
def provider(provider_process: Provider) -> Provider:
    provider_process.reset()
    return provider_process


@pytest.fixture
def organization(service: Service) -> Iterator[str]:
    """One of its own for each test; at its end every place has to be given back."""
    name = f"o{next(_numbers)}"
    yield name
    until(lambda: service.held(name) == 0, "every place is given back")


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.stop()


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    library, asynchronous = request.param
    made = Way(library, asynchronous)
    yield made
    made.close()


@pytest.fixture
def stage(way: Way, fake: Fake) -> Iterator[Stage]:
    made = Stage(way, fake)
    with answering(made.handle) as made.url:
        yield made


def pytest_generate_tests(metafunc: Any) -> None:
    """Tests of `way` run in threads and with asyncio over httpx2, those marked so over httpx as well."""
    if "way" not in metafunc.fixturenames:
        return
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    ways = [
        (library, asynchronous)
        for library in (("httpx", "httpx2") if "httpx" in marks else ("httpx2",))
        for asynchronous in ((True,) if "asyncio" in marks else (False, True))
    ]
    ids = [f"{library}-{'async' if asynchronous else 'sync'}" for library, asynchronous in ways]
    metafunc.parametrize("way", ways, indirect=True, ids=ids)


def pytest_configure(config: Any) -> None:
    for line in ("httpx: over httpx, too", "asyncio: only with asyncio"):
        config.addinivalue_line("markers", line)
