"""What the tests run against: processes of the service and of a strict provider, and what is in between."""

from __future__ import annotations

import asyncio
import gc
import http.server
import importlib
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]


_ORGANIZATION = """
    accounts:
      openai-main:
        provider: openai
        pools:
          gpt-5: {models: [gpt-5], limits: {requests: 10k/min, tokens: 10M/min, concurrency: 50}}
          mini: {models: [gpt-5-mini], limits: {requests: 2/min, tokens: 500/min}}
      claude-main:
        provider: anthropic
        pools:
          sonnet:
            models: [claude-sonnet-5]
            limits: {requests: 10k/min, input_tokens: 10M/min, output_tokens: 10M/min, concurrency: 50}
    projects:
      "*": {weight: 1}
"""
MODELS = """
cold_start: trust
models:
  gpt-5: {context: 400k, max_output: 1k}
  gpt-5-mini: {context: 400k, max_output: 1k}
  claude-sonnet-5: {context: 200k, max_output: 1k}
organizations:
"""


def organization_of(name: str) -> str:
    return f"  {name}:{_ORGANIZATION}"


def binary() -> str:
    """The watermaster of $WATERMASTER, else of this repository, which is built if it is missing."""
    if named := os.environ.get("WATERMASTER"):
        return named
    built = ROOT / ".bin" / "watermaster"
    if not built.exists():
        subprocess.run(["go", "build", "-o", str(built), "./server/cmd/watermaster"], cwd=ROOT, check=True)
    return str(built)


class Process:
    """A process of ours, and what it said when it was ready."""

    def __init__(self, args: list[str], ready: str) -> None:
        self._child = subprocess.Popen(
            [binary(), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = ""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            said += line
            if found := re.search(ready, line):
                self.found = found.groups()
                threading.Thread(
                    target=self._child.stdout.read, daemon=True
                ).start()  # so that it never waits for us
                return
        raise RuntimeError(f"watermaster {' '.join(args)} ended: {said}")

    def kill(self) -> None:
        """Ends it as a machine that fails does."""
        self._child.kill()
        self._child.wait()


def get(url: str, data: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=5) as answer:
        return json.loads(answer.read() or b"null")


class Provider(Process):
    """A strict provider."""

    def __init__(self) -> None:
        super().__init__(
            ["provider", "--listen", "127.0.0.1:0", "--latency", "0s", "--rate", "0"], r"serves at (http:\S+)"
        )
        self.url: str = self.found[0]

    def report(self) -> Any:
        return get(f"{self.url}/report")

    def reset(self) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/reset", data=b""), timeout=5).close()


class Service(Process):
    """The service with a configuration, at an address or at any port."""

    def __init__(self, config: str, address: str = "127.0.0.1:0") -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "config.yaml"
            file.write_text(config)
            super().__init__(
                ["serve", "--config", str(file), "--grpc", address, "--http", "127.0.0.1:0"],
                r"msg=serving .*grpc=(\S+) http=(\S+)",
            )
        self.address, self._http = self.found

    def limits(self, organization: str) -> list[Any]:
        return get(f"http://{self._http}/v1/headroom?organization={organization}")["headroom"]["limits"]  # type: ignore[no-any-return]

    def held(self, organization: str) -> int:
        """How many calls hold a place among the calls in flight."""
        return sum(int(limit["held"]) for limit in self.limits(organization) if limit["metric"] == "concurrency")

    def waiting(self, organization: str) -> int:
        """How many calls wait for any limit."""
        return max(int(of["waiting"]) for limit in self.limits(organization) for of in limit["by_class"])


def until(what: Callable[[], object], why: str, seconds: float = 5.0) -> None:
    """Asks until it is so."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {why}")
        time.sleep(0.005)


class Tap:
    """Passes TCP on, and keeps what passed to the other side."""

    def __init__(self, to: str) -> None:
        host, port = to.removeprefix("http://").rsplit(":", 1)
        self._to = (host, int(port))
        self.bytes = bytearray()
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(self._to)
                self._open += near, far
                threading.Thread(target=self._pump, args=(near, far, self.bytes), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, None), daemon=True).start()

    @staticmethod
    def _pump(from_: socket.socket, to: socket.socket, kept: bytearray | None) -> None:
        with suppress(OSError):
            while data := from_.recv(65536):
                if kept is not None:
                    kept += data
                to.sendall(data)
        for end in (from_, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.close()
        for end in self._open:
            end.close()


@contextmanager
def answering(answer: Callable[[http.server.BaseHTTPRequestHandler, bytes], None]) -> Iterator[str]:
    """An HTTP server that answers as a test says; gives its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if self.headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
            with suppress(ConnectionError):
                answer(self, body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads, request_queue_size = True, 128

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def reply(handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answers with a whole body."""
    handler.send_response(status)
    for name, value in {"content_type": "application/json", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class Way:
    """Calls an SDK one way: in a thread or with asyncio, over httpx or httpx2. A test is written once for all."""

    def __init__(self, library: str, asynchronous: bool) -> None:
        self.library, self.asynchronous = library, asynchronous
        self.http: Any = importlib.import_module(library)
        self.wrapped: Any = importlib.import_module(f"watermaster.{library}")
        self._loop = asyncio.new_event_loop() if asynchronous else None
        self._open: list[Any] = []

    def run(self, what: Any) -> Any:
        """What a call gives."""
        return what if self._loop is None else self._loop.run_until_complete(what)

    def each(self, stream: Any) -> Iterator[Any]:
        """What a stream gives, one after the other."""
        if self._loop is None:
            yield from stream
            return
        events = aiter(stream)

        async def following() -> Any:  # begins within the loop, which then knows of it
            return await anext(events)

        while True:
            try:
                event = self._loop.run_until_complete(following())
            except StopAsyncIteration:
                return
            yield event

    def cancelled(self, start: Callable[[], Awaitable[Any]], when: Callable[[], object]) -> None:
        """Cancels a task as soon as something is so."""
        assert self._loop is not None

        async def run() -> None:
            task = asyncio.ensure_future(start())
            while not await asyncio.to_thread(when):
                await asyncio.sleep(0.005)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()

        self._loop.run_until_complete(asyncio.wait_for(run(), 10))

    def client(self, *args: Any, **options: Any) -> Any:
        """A client of ours, closed when the test ends."""
        options.setdefault("verify", False)  # to load the certificates of the world takes longer than most tests
        made = (self.wrapped.AsyncClient if self.asynchronous else self.wrapped.Client)(*args, **options)
        self._open.append(made)
        return made

    def sdk(self, module: Any, http_client: Any, vendor: str = "", **options: Any) -> Any:
        """A client of an SDK, openai or anthropic."""
        vendor = vendor or ("OpenAI" if module.__name__ == "openai" else "Anthropic")
        kind = getattr(module, "Async" + vendor if self.asynchronous else vendor)
        return kind(**{"api_key": "sk-any", "http_client": http_client, **options})

    def shut(self, client: Any) -> None:
        self.run(client.aclose() if self.asynchronous else client.close())

    def collected(self) -> None:
        """Collects garbage, and lets its finalizers run."""
        if self._loop is None:
            gc.collect()
            return

        async def collect() -> None:
            gc.collect()
            await asyncio.sleep(0)

        self._loop.run_until_complete(collect())

    def close(self) -> None:
        for client in self._open:
            client.limiter.close(0.1)  # whose service may have been killed; the tests see to what has to be told
            self.shut(client)
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
