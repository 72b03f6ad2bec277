"""Processes: forked with a used limiter, and at their end. Each case is a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from watermaster.v1 import limiter_pb2 as pb


def program(service: Any, code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, service.address],
        capture_output=True,
        text=True,
        timeout=30,
        env={**{k: v for k, v in os.environ.items() if k != "GRPC_ENABLE_FORK_SUPPORT"}, **env},
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


BEGIN = """
import asyncio, faulthandler, gc, os, signal, sys, threading, time
import watermaster
# Whoever hangs says where, and dies of it.
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(10)
limiter = watermaster.Limiter(sys.argv[1])
def call(model):
    with limiter.acquire(model=model) as lease:
        lease.usage(1, 1)
def fork(child):
    if (pid := os.fork()) == 0:
        signal.alarm(6)
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_child_of_a_used_limiter_asks(service: Any) -> None:
    program(
        service,
        BEGIN
        + """
call("before")
held = limiter.acquire(model="held").__enter__()
def child():
    global held
    call("child")
    async def main():
        async with limiter.acquire(model="child, asyncio"):
            pass
    asyncio.run(main())
    held.release()  # the parent's
    held = None
    gc.collect()
    limiter.close()
fork(child)
call("parent")
held.release(watermaster.Outcome.FAILED)
limiter.close()
""",
    )
    names = {f"L{i}": a.model for i, a in enumerate(service.of("Acquire"), 1)}
    assert list(names.values()) == ["before", "held", "child", "child, asyncio", "parent"]
    released = [(names[r.lease_id], r.outcome) for r in service.of("Release")]
    assert sorted(n for n, _ in released) == sorted(names.values())
    assert ("held", pb.OUTCOME_FAILED) in released


def test_fork_among_busy_threads(service: Any) -> None:
    program(
        service,
        BEGIN
        + """
stop = False
def work():
    while not stop:
        call("busy")
        time.sleep(0.002)
threads = [threading.Thread(target=work) for _ in range(3)]
for t in threads: t.start()
def child():
    call("child")
    limiter.close()
for _ in range(5): fork(child)
stop = True
for t in threads: t.join()
limiter.close()
""",
    )
    assert [a.model for a in service.of("Acquire")].count("child") == 5
    # A fork may cost the parent's connection while it is made; the same key is then asked for again.
    assert len(service.of("Release")) >= len({a.request_id for a in service.of("Acquire")})


def test_works_if_grpc_was_imported_before(service: Any) -> None:
    program(service, "import grpc\n" + BEGIN + 'call("a")\nfork(lambda: (call("b"), limiter.close()))\n')
    assert [a.model for a in service.of("Acquire")] == ["a", "b"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_end_of_a_multiprocessing_child_delivers(service: Any, method: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import multiprocessing\n"
        + BEGIN
        + f"""
if __name__ == "__main__":
    call("parent")
    p = multiprocessing.get_context("{method}").Process(target=call, args=("child",))
    p.start(); p.join()
    assert p.exitcode == 0
"""
    )
    program(service, f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); import program\n"
        f"runpy.run_path({str(tmp_path / 'program.py')!r}, run_name='__main__')")  # fmt: skip
    assert [a.model for a in service.of("Acquire")] == ["parent", "child"]
    assert len(service.of("Release")) == 2


def test_end_of_a_process_delivers_what_is_queued(service: Any) -> None:
    service.renew_every = 10
    program(service, BEGIN + 'for i in range(200): call("m")\nkept = limiter.acquire(model="m").__enter__()\n')
    told = {r.lease_id: r.outcome for r in service.of("Release")}
    assert told.keys() == {f"L{i}" for i in range(1, 202)}
    assert told["L201"] == pb.OUTCOME_UNKNOWN, "what is still open ends with its process"


def test_end_of_a_process_does_not_wait_for_ever(service: Any) -> None:
    out = program(
        service,
        BEGIN
        + """
lease = limiter.acquire(model="m").__enter__()
limiter._pool.close(); limiter._pool.closed = False; limiter._pool.addresses[0].target = "127.0.0.1:1"
lease.release()
from watermaster import courier
courier.time = type("T", (), {"monotonic": staticmethod(lambda end=[0.0, 4.9]: end.pop(0) if end else 4.9)})
print("ended")
""",
    )
    assert out == "ended\n"


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("kind", ["client", "transport", "async client"])
def test_a_child_makes_connections_of_its_own(service: Any, library: str, kind: str) -> None:
    """Two processes that write on one connection get each other's answers."""
    program(
        service,
        BEGIN
        + f"""
import http.server, {library} as library
import watermaster.{library} as ours
limiter = watermaster.Limiter(sys.argv[1], account="a")
ports = []
class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        ports.append(self.client_address[1])
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{{server.server_port}}/v1/chat/completions"
ask = dict(json={{"model": "m", "max_tokens": 5, "messages": []}})
kind = "{kind}"
if kind == "async client":
    loop = asyncio.new_event_loop()
    client = ours.AsyncClient(limiter)
    def post(): assert loop.run_until_complete(client.post(url, **ask)).status_code == 200
else:
    client = ours.Client(limiter) if kind == "client" else library.Client(transport=ours.Transport(limiter))
    def post(): assert client.post(url, **ask).status_code == 200
def child():
    if kind == "async client":
        global loop
        loop = asyncio.new_event_loop()
    post()
post()
fork(child)
post()
first, childs, second = ports
assert childs != first == second, ports
limiter.close()
""",
    )
