"""What acquire gives: asks when a block is entered, and ends the lease at the block's end."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from .call import Ask
from .lease import Lease

if TYPE_CHECKING:
    from .limiter import Limiter


class Acquisition:
    """What acquire gives: enter it to ask."""

    __slots__ = ("_ask", "_lease", "_limiter")

    def __init__(self, limiter: Limiter, ask: Ask) -> None:
        self._limiter, self._ask = limiter, ask
        self._lease: Lease | None = None

    def __enter__(self) -> Lease:
        self._lease = self._limiter.ask(self._ask)
        return self._lease

    async def __aenter__(self) -> Lease:
        self._lease = await self._limiter.ask_async(self._ask)
        return self._lease

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lease is not None:
            self._lease.end(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
