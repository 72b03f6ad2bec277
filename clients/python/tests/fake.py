"""A service of this process that keeps what it was asked and answers as a test says; and a clock by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from watermaster.exchange import Clock
from watermaster.v1 import limiter_pb2 as pb
from watermaster.v1 import monitor_pb2 as monitor

TYPES: dict[str, tuple[Any, Any]] = {
    "Acquire": (pb.AcquireRequest, pb.AcquireResponse),
    "Renew": (pb.RenewRequest, pb.RenewResponse),
    "Release": (pb.ReleaseRequest, pb.ReleaseResponse),
    "Report": (pb.ReportRequest, pb.ReportResponse),
    "GetHeadroom": (monitor.GetHeadroomRequest, monitor.GetHeadroomResponse),
}


def dur(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


def granted(
    lease: str, start_within: float = 60, renew_every: float | None = None, **kw: Any
) -> pb.AcquireResponse:
    response = pb.AcquireResponse(
        granted=pb.Granted(
            lease_id=lease,
            target=pb.Target(account="a", provider="openai", model="m", attributes={"base_url": "http://b"}),
            start_within=dur(start_within),
            ttl=dur(30),
        ),
        pressure=pb.Pressure(level=pb.PRESSURE_LEVEL_NORMAL),
        **kw,
    )
    if renew_every is not None:
        response.granted.renew_every.CopyFrom(dur(renew_every))
    return response


class Service(grpc.GenericRpcHandler):
    """Grants everything, leases L1, L2, … unless answers[method] says something else."""

    def __init__(self, address: str = "127.0.0.1:0") -> None:
        self.changed = threading.Condition()
        self.calls: list[tuple[str, Any]] = []
        self.metadata: dict[str, Any] = {}
        self.cancelled = 0
        self.serving = True
        self.answers: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = {}
        self.leases = 0
        self.renew_every: float | None = None
        self.start(address)

    def start(self, address: str) -> None:
        self.server = grpc.server(
            futures.ThreadPoolExecutor(32), handlers=[self], options=[("grpc.so_reuseport", 0)]
        )
        port = self.server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        self.server.start()

    def stop(self) -> None:
        self.server.stop(0).wait()

    def again(self) -> None:
        self.start(self.address)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        name = details.method.rsplit("/", 1)[-1]
        if name == "Check":
            return grpc.unary_unary_rpc_method_handler(self.check)
        request, response = TYPES[name]

        def handle(message: Any, context: grpc.ServicerContext) -> Any:
            with self.changed:
                self.calls.append((name, message))
                self.metadata[name] = dict(context.invocation_metadata())
                self.changed.notify_all()
            return self.answers.get(name, self.answer)(message, context)

        return grpc.unary_unary_rpc_method_handler(handle, request.FromString, response.SerializeToString)

    def check(self, _: bytes, __: grpc.ServicerContext) -> bytes:
        with self.changed:
            self.calls.append(("Check", None))
            self.changed.notify_all()
        return b"\x08\x01" if self.serving else b"\x08\x02"

    def answer(self, message: Any, _: grpc.ServicerContext) -> Any:
        if isinstance(message, pb.AcquireRequest):
            with self.changed:
                self.leases += 1
                return granted(f"L{self.leases}", renew_every=self.renew_every)
        if isinstance(message, pb.RenewRequest):
            return pb.RenewResponse(renewals=[pb.Renewal(lease_id=i, ttl=dur(30)) for i in message.lease_ids])
        if isinstance(message, pb.ReportRequest):
            return pb.ReportResponse(advice=pb.Advice(retry=True))
        return (
            TYPES["GetHeadroom"][1]() if isinstance(message, monitor.GetHeadroomRequest) else pb.ReleaseResponse()
        )

    def of(self, method: str) -> list[Any]:
        with self.changed:
            return [m for name, m in self.calls if name == method]

    def until(self, done: Callable[[], Any], timeout: float = 10) -> None:
        with self.changed:
            assert self.changed.wait_for(done, timeout), [f"{n} {m}".strip()[:99] for n, m in self.calls]

    def count(self, method: str, n: int) -> list[Any]:
        """Waits for n calls of a method and gives them all."""
        self.until(lambda: len(self.of(method)) >= n)
        return self.of(method)

    def hold(self, context: grpc.ServicerContext) -> threading.Event:
        """An event that the end of the caller's call sets, and until counts."""
        ended = threading.Event()

        def on_end() -> None:
            ended.set()
            with self.changed:
                self.cancelled += 1
                self.changed.notify_all()

        context.add_callback(on_end)
        return ended


def failing(code: grpc.StatusCode, times: int | None = None, then: Callable[..., Any] | None = None) -> Any:
    """An answer that fails, always or so many times."""
    left = [times]

    def answer(message: Any, context: grpc.ServicerContext) -> Any:
        if left[0] is None or left[0] > 0:
            left[0] = None if left[0] is None else left[0] - 1
            context.abort(code, "as the test says")
        assert then is not None
        return then(message, context)

    return answer


class Hands(Clock):
    """A clock that only sleeping and advance move."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.slept: list[float] = []
        self.now = lambda: self.time  # type: ignore[method-assign, assignment]

    def advance(self, seconds: float) -> None:
        self.time += seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


def eventually(done: Callable[[], Any], timeout: float = 10) -> None:
    """For what only another thread of the client knows; looks every millisecond."""
    end = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.001)
