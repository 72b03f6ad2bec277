"""Conversations with the service as generators of steps, so that threads and asyncio run the same code."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Protocol, TypeVar

import grpc

from .channel import Address

T = TypeVar("T")


class Clock:
    """Time as callers and the courier see it; tests have their own."""

    now = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Step(Protocol):
    def wait(self) -> Any: ...
    async def wait_async(self) -> Any: ...


Steps = Generator[Step, Any, T]


class Pause:
    """A step that waits."""

    __slots__ = ("clock", "seconds")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def wait(self) -> None:
        self.clock.sleep(self.seconds)

    async def wait_async(self) -> None:
        await self.clock.sleep_async(self.seconds)


class Exchange:
    """A step that is one call. Raises grpc.RpcError.

    Who stops waiting leaves it to lost: with the answer that came nevertheless, or None, as one may have been on
    its way.
    """

    __slots__ = ("address", "lost", "method", "request", "timeout")

    def __init__(
        self,
        address: Address,
        method: str,
        request: Any,
        timeout: float,
        lost: Callable[[Any], None] | None = None,
    ) -> None:
        self.address, self.method, self.request, self.timeout, self.lost = (
            address,
            method,
            request,
            timeout,
            lost,
        )

    def wait(self) -> Any:
        with self.address:
            rpc = self.address.start(self.method, self.request, self.timeout)
            try:
                # To wait in result() costs more, as gRPC wakes there by the clock, too.
                done = threading.Lock()
                done.acquire()
                rpc.add_done_callback(lambda _: done.release())
                done.acquire()
                return rpc.result()
            except (grpc.RpcError, grpc.FutureCancelledError):
                raise
            except BaseException:  # KeyboardInterrupt
                rpc.cancel()  # does nothing to a call that is done
                rpc.add_done_callback(self._drop)
                raise

    async def wait_async(self) -> Any:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not arrived.done():
                arrived.set_result(None)

        def wake(_: object) -> None:
            try:
                loop.call_soon_threadsafe(settle)
            except RuntimeError:  # the loop was closed over this call
                self._drop(rpc)

        with self.address:
            rpc = self.address.start(self.method, self.request, self.timeout)
            rpc.add_done_callback(wake)
            try:
                await arrived
            except BaseException:
                rpc.cancel()  # does nothing to a call that is done
                rpc.add_done_callback(self._drop)
                raise
            return rpc.result()

    def _drop(self, rpc: Any) -> None:
        if self.lost is not None:
            self.lost(None if rpc.cancelled() or rpc.exception() is not None else rpc.result())


def run(steps: Generator[Any, Any, T], do: Callable[[Any], Any] = lambda step: step.wait()) -> T:
    """Goes the steps in this thread: do does one, and what it raises is thrown into them."""
    try:
        step = next(steps)
        while True:
            try:
                result = do(step)
            except BaseException as e:
                step = steps.throw(e)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def run_async(
    steps: Generator[Any, Any, T], do: Callable[[Any], Awaitable[Any]] = lambda step: step.wait_async()
) -> T:
    """Goes the steps in this task. Cancelling it cancels the one that is open, and is thrown into them, too."""
    try:
        step = next(steps)
        while True:
            try:
                result = await do(step)
            except BaseException as e:
                step = steps.throw(e)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def away(error: grpc.RpcError) -> bool:
    """Whether the address did not answer, so that another may."""
    return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
