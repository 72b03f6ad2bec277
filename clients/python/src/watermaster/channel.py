"""The addresses of the service: one channel each, least calls in flight, those that failed left out."""

from __future__ import annotations

import os

# gRPC looks at this once, when it is first imported: without it a forked child cannot use gRPC at all.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")

import importlib
import threading
import time
import weakref
from collections.abc import Callable, Collection
from typing import Any

import grpc

from .settings import Options
from .v1 import limiter_pb2 as pb
from .v1 import monitor_pb2 as monitor

_LIMITER = "/watermaster.v1.LimiterService/"
_METHODS: dict[str, tuple[str, Any, Any]] = {
    "Acquire": (_LIMITER + "Acquire", pb.AcquireRequest.SerializeToString, pb.AcquireResponse.FromString),
    "Renew": (_LIMITER + "Renew", pb.RenewRequest.SerializeToString, pb.RenewResponse.FromString),
    "Release": (_LIMITER + "Release", pb.ReleaseRequest.SerializeToString, pb.ReleaseResponse.FromString),
    "Report": (_LIMITER + "Report", pb.ReportRequest.SerializeToString, pb.ReportResponse.FromString),
    "GetHeadroom": (
        "/watermaster.v1.MonitorService/GetHeadroom",
        monitor.GetHeadroomRequest.SerializeToString,
        monitor.GetHeadroomResponse.FromString,
    ),
    "Check": ("/grpc.health.v1.Health/Check", None, None),  # raw bytes: b"" asks for the server as a whole
}
SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}

# Channels whose process forked: closing them in the child would touch what the parent uses.
_abandoned: list[Any] = []

# gRPC imports this with the first channel; a fork during that would leave the import's lock taken for ever.
importlib.import_module("grpc._channel")

# Held by whoever is within gRPC's core, as gRPC cannot be used in a child if some thread was there at the fork.
# That is also why threads wait for answers as futures: a blocking call waits within the core.
_core = threading.Lock()
_held = False
# One for each thread that waits within the core nevertheless, for an answer that comes at once or not at all.
_inside: list[None] = []
AT_ONCE = 0.9  # seconds; less than a fork waits


def _before_fork() -> None:
    # Nobody has it for long; but a fork must not hang for our sake.
    global _held
    end = time.monotonic() + 1.0
    _held = _core.acquire(timeout=1.0)
    # Short calls that are open end soon, and with them gRPC's thread that waits for answers.
    while time.monotonic() < end and (_inside or any(a.running for pool in list(_pools) for a in pool.addresses)):
        time.sleep(0.001)


def _after_fork_in_parent() -> None:
    if _held:
        _core.release()


def _after_fork_in_child() -> None:
    global _core
    _core = threading.Lock()
    _inside.clear()


_prepared = False
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _prepare() -> None:
    """Has gRPC register its hooks for forks, as it does with the first channel; ours, registered later, go first.

    So nobody begins a call any more when gRPC waits for its threads, and no first call meets a fork without hooks.
    """
    global _prepared
    if not _prepared:
        _prepared = True
        grpc.insecure_channel("127.0.0.1:1").close()  # connects to nothing
        if hasattr(os, "register_at_fork"):  # Windows has none
            os.register_at_fork(
                before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
            )


class Address:
    """One address. Entered by each call to it, which counts those in flight."""

    def __init__(self, target: str, pool: Pool) -> None:
        self.target = target
        self.in_flight = 0
        self.running: set[Any] = set()  # calls that gRPC has; in_flight counts those that are about to begin, too
        self.down = False
        self.metadata = pool.metadata
        self._pool = pool
        self._channel: grpc.Channel | None = None
        self._methods: dict[str, Any] = {}

    def method(self, name: str) -> Any:
        """The call of that name, connecting when it is first used."""
        if (method := self._methods.get(name)) is None:
            with self._pool.lock:
                if self._channel is None:
                    self._channel = self._pool.connect(self.target)
                path, serializer, deserializer = _METHODS[name]
                method = self._channel.unary_unary(
                    path, request_serializer=serializer, response_deserializer=deserializer
                )
                self._methods[name] = method
        return method

    def start(self, name: str, request: Any, timeout: float) -> Any:
        """Begins a call and gives its future. Raises ValueError if the channel is closed."""
        with _core:
            rpc = self.method(name).future(request, timeout=timeout, metadata=self.metadata)
            self.running.add(rpc)
        rpc.add_done_callback(self.running.discard)
        return rpc

    def at_once(self, name: str, request: Any) -> Any:
        """Makes a call that the service answers at once, and gives the answer. Raises as start and result do.

        It costs half of one by start: gRPC begins a thread for nearly each of those, as the one that waits for
        answers ends when no call is open. A fork waits for it, at most AT_ONCE.
        """
        with _core:
            method = self.method(name)
            _inside.append(None)
        try:
            return method(request, timeout=AT_ONCE, metadata=self.metadata)
        finally:
            _inside.pop()

    def close(self) -> None:
        channel, self._channel = self._channel, None
        self._methods.clear()
        if channel is not None:
            channel.close()

    def abandon(self) -> None:
        _abandoned.append((self._channel, self._methods))
        self._channel, self._methods = None, {}
        self.in_flight, self.down, self.running = 0, False, set()

    def __enter__(self) -> None:
        with self._pool.lock:
            self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        with self._pool.lock:
            self.in_flight -= 1


class Pool:
    """All addresses. on_down is called, outside of locks, with each one that goes down."""

    def __init__(self, options: Options, now: Callable[[], float]) -> None:
        _prepare()
        self.lock = threading.Lock()
        self.metadata = (("authorization", f"Bearer {options.token}"),) if options.token else None
        self.on_down: Callable[[Address], None] = lambda _: None
        self.away_since: float | None = None  # since when all of them are down
        self.closed = False
        self._credentials = options.credentials()
        self._now = now
        self._turn = 0
        # How long one attempt to connect may take, at least. Who has something else to do while the
        # service is away wants to know soon.
        patience = 5_000 if options.when_away == "closed" else 1_000
        self._channel_options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", patience),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ]
        self.addresses = [Address(a, self) for a in options.addresses]
        _pools.add(self)

    def connect(self, target: str) -> grpc.Channel:
        if self.closed:
            raise ValueError("the limiter is closed")
        if self._credentials is None:
            return grpc.insecure_channel(target, options=self._channel_options)
        return grpc.secure_channel(target, self._credentials, options=self._channel_options)

    def pick(self, tried: Collection[Address] = (), turn: bool = True) -> Address:
        """The one with the least calls in flight, ties in turn; one that is up and not tried, if any.

        turn False leaves the turn as it is: else who asks and releases by turns would ask but one of two.
        """
        if len(self.addresses) == 1:
            return self.addresses[0]
        with self.lock:
            self._turn += turn
            n = len(self.addresses)
            turned = [self.addresses[(self._turn + i) % n] for i in range(n)]
            return min(turned, key=lambda a: (a.down, a in tried, a.in_flight))

    def other(self, tried: Collection[Address]) -> bool:
        """Whether one is up that was not tried."""
        return any(not a.down and a not in tried for a in self.addresses)

    def failed(self, address: Address) -> None:
        with self.lock:
            news, address.down = not address.down, True
            if self.away_since is None and all(a.down for a in self.addresses):
                self.away_since = self._now()
        if news:
            self.on_down(address)

    def answered(self, address: Address) -> None:
        if not address.down:
            return
        with self.lock:
            address.down, self.away_since = False, None

    def close(self) -> None:
        self.closed = True
        for a in self.addresses:
            a.close()

    def forked(self) -> None:
        self.lock = threading.Lock()
        self.away_since = None
        for a in self.addresses:
            a.abandon()
