"""The wrapper as clients and transports of an HTTP library: of httpx2, or of httpx, which has the same names.

SDKs of 2026 take httpx2 (Anthropic's nothing else), older ones httpx. So this module is loaded once for each that
is wanted, with the library in its global `httpx`: see watermaster.httpx and watermaster.httpx2.
"""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .conduct import MOST_OF_ERROR, Answer, Conduct, NotSent, Read, Send, Settle, Sleep, Wait
from .ending import Ending
from .exchange import run, run_async
from .header import PREFIX
from .limiter import Limiter
from .request import wire_of

if TYPE_CHECKING:
    import httpx2 as httpx

_OPTIONS = frozenset(inspect.signature(Limiter.__init__).parameters) - {"self", "address"}

# As the SDKs have them by default.
_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100)

# Nothing has left when these are raised.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    encoding = request.headers.encoding
    return [(name.decode(encoding), value.decode(encoding)) for name, value in request.headers.raw]


def _request(send: Send, of: httpx.Request, waits: bool) -> httpx.Request:
    """The request as it is sent. Its last chance to be too late is when a connection is there to write it to."""
    trace, outgoing = of.extensions.get("trace"), send.outgoing

    def started(name: str, info: Any) -> Any:
        if name.endswith(".send_request_headers.started"):
            send.leaves()
        return trace(name, info) if trace is not None else None

    async def awaited(name: str, info: Any) -> None:
        if name.endswith(".send_request_headers.started"):
            send.leaves()
        if trace is not None:
            await trace(name, info)

    extensions = {**of.extensions, "trace": awaited if waits else started}
    url = of.url if str(of.url) == outgoing.url else outgoing.url  # which would be parsed
    return httpx.Request(
        outgoing.method, url, headers=outgoing.headers, content=outgoing.body, extensions=extensions
    )


def _answer(response: httpx.Response) -> Answer:
    encoding = response.headers.encoding
    # It is decoded on its way through, if it was encoded in spite of what was asked for.
    gone = (b"content-encoding", b"content-length") if "content-encoding" in response.headers else ()
    headers = [(n.decode(encoding), v.decode(encoding)) for n, v in response.headers.raw if n.lower() not in gone]
    return Answer(response.status_code, headers, response=response)


def _whole(answer: Answer) -> httpx.Response:
    """A response whose body is there, or the beginning of it."""
    if answer.rest is not None:
        kind = _AsyncRest if hasattr(answer.rest, "__anext__") else _Rest
        return httpx.Response(
            answer.status, headers=answer.headers, stream=kind(answer), extensions=answer.response.extensions
        )
    gone = ("content-length", "transfer-encoding")
    headers = [(name, value) for name, value in answer.headers if name.lower() not in gone]
    extensions = answer.response.extensions if answer.response is not None else {}
    return httpx.Response(answer.status, headers=headers, content=answer.body, extensions=extensions)


class _Rest(httpx.SyncByteStream):
    """An error's body that is too large to be read before it is handed on."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield self._answer.body or b""
        yield from self._answer.rest

    def close(self) -> None:
        self._answer.response.close()


class _AsyncRest(httpx.AsyncByteStream):
    """As _Rest."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._answer.body or b""
        async for chunk in self._answer.rest:
            yield chunk

    async def aclose(self) -> None:
        await self._answer.response.aclose()


class _Body(httpx.SyncByteStream):
    """The body of a good answer on its way to the caller."""

    def __init__(self, response: httpx.Response, ending: Ending) -> None:
        self._response = response
        self._ending = ending

    def __iter__(self) -> Iterator[bytes]:
        ending = self._ending
        try:
            for chunk in self._response.iter_bytes():
                if chunk := ending.feed(chunk):
                    yield chunk
            if rest := ending.done():
                yield rest
        except BaseException:
            ending.cut()
            raise

    def close(self) -> None:
        try:
            self._response.close()
        finally:
            self._ending.cut()

    def __del__(self) -> None:
        self._ending.cut()


class _AsyncBody(httpx.AsyncByteStream):
    """As _Body."""

    def __init__(self, response: httpx.Response, ending: Ending) -> None:
        self._response = response
        self._ending = ending

    async def __aiter__(self) -> AsyncIterator[bytes]:
        ending = self._ending
        try:
            async for chunk in self._response.aiter_bytes():
                if chunk := ending.feed(chunk):
                    yield chunk
            if rest := ending.done():
                yield rest
        except BaseException:
            ending.cut()
            raise

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        finally:
            self._ending.cut()

    def __del__(self) -> None:
        self._ending.cut()


class _Forked:
    """A transport whose connections a child process must not share: two would write on one at a time.

    They stay the parent's. The child makes new ones when it first sends, by `fresh`; None: what is below was
    given, and is its giver's to replace.
    """

    _inner: Any
    _stale = False

    def _heed(self, fresh: Callable[[], Any] | None) -> None:
        self._fresh = fresh
        if fresh is not None:
            _transports.add(self)

    def _below(self) -> Any:
        if self._stale and self._fresh is not None:
            # What it was is kept: to close it, or its locks that another thread had, is not for the child.
            _abandoned.append(self._inner)
            self._inner, self._stale = self._fresh(), False
        return self._inner


_transports: weakref.WeakSet[_Forked] = weakref.WeakSet()
_abandoned: list[Any] = []


def _after_fork() -> None:
    for transport in list(_transports):
        transport._stale = True


if hasattr(os, "register_at_fork"):  # Windows has none
    os.register_at_fork(after_in_child=_after_fork)


class Transport(_Forked, httpx.BaseTransport):
    """Asks the limiter before each request that inner sends; inner None: a new HTTPTransport.

    What is not limited (files, models, count_tokens …) passes through. See clients/README.md for what is.
    """

    def __init__(self, limiter: Limiter, inner: httpx.BaseTransport | None = None) -> None:
        self.limiter = limiter
        self._inner = inner if inner is not None else httpx.HTTPTransport(limits=_LIMITS)
        self._heed(None if inner is not None else partial(httpx.HTTPTransport, limits=_LIMITS))
        self._conduct = Conduct(limiter)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        steps = self._conduct.steps(request.method, str(request.url), _headers(request), request.read)
        if steps is None:
            passed: httpx.Response = self._below().handle_request(_pass(request))
            return passed
        answer = run(steps, partial(self._do, request))
        if answer.ending is None:
            return _whole(answer)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer.response, answer.ending),
            extensions=answer.response.extensions,
        )

    def _do(self, request: httpx.Request, step: Any) -> Any:
        match step:
            case Wait():
                return self.limiter.ask(step.question, step.deadline)
            case Send():
                try:
                    return _answer(self._below().handle_request(_request(step, request, False)))
                except _NOT_SENT as error:
                    raise NotSent from error
            case Read():
                answer, body = step.answer, bytearray()
                chunks = answer.response.iter_bytes()
                try:
                    for chunk in chunks:
                        body += chunk
                        if len(body) > MOST_OF_ERROR:
                            answer.rest = chunks
                            break
                finally:
                    if answer.rest is None:
                        answer.response.close()
                return bytes(body)
            case Settle():
                return step.lease.release_for_advice(**step.ending)
            case Sleep():
                return self.limiter.clock.sleep(step.seconds)

    def close(self) -> None:
        self._inner.close()


class AsyncTransport(_Forked, httpx.AsyncBaseTransport):
    """As Transport, for asyncio."""

    def __init__(self, limiter: Limiter, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self.limiter = limiter
        self._inner = inner if inner is not None else httpx.AsyncHTTPTransport(limits=_LIMITS)
        self._heed(None if inner is not None else partial(httpx.AsyncHTTPTransport, limits=_LIMITS))
        self._conduct = Conduct(limiter)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        steps = None
        if wire_of(request.url.path) is not None:  # what else is sent may be large, and stays a stream
            content = await request.aread()
            steps = self._conduct.steps(request.method, str(request.url), _headers(request), lambda: content)
        if steps is None:
            passed: httpx.Response = await self._below().handle_async_request(_pass(request))
            return passed
        answer = await run_async(steps, partial(self._do, request))
        if answer.ending is None:
            return _whole(answer)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_AsyncBody(answer.response, answer.ending),
            extensions=answer.response.extensions,
        )

    async def _do(self, request: httpx.Request, step: Any) -> Any:
        match step:
            case Wait():
                return await self.limiter.ask_async(step.question, step.deadline)
            case Send():
                try:
                    return _answer(await self._below().handle_async_request(_request(step, request, True)))
                except _NOT_SENT as error:
                    raise NotSent from error
            case Read():
                answer, body = step.answer, bytearray()
                chunks = answer.response.aiter_bytes()
                try:
                    async for chunk in chunks:
                        body += chunk
                        if len(body) > MOST_OF_ERROR:
                            answer.rest = chunks
                            break
                finally:
                    if answer.rest is None:
                        await answer.response.aclose()
                return bytes(body)
            case Settle():
                return await step.lease.release_for_advice_async(**step.ending)
            case Sleep():
                return await self.limiter.clock.sleep_async(step.seconds)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _pass(request: httpx.Request) -> httpx.Request:
    """A request that is not limited, without the headers that are for the service."""
    for name in [name for name in request.headers if name.lower().startswith(PREFIX)]:
        del request.headers[name]
    return request


def _limiter(first: Limiter | str | Sequence[str], options: dict[str, Any]) -> tuple[Limiter, bool]:
    """Makes a limiter of the options that are one's; says whether it was made here."""
    mine = {name: options.pop(name) for name in list(options) if name in _OPTIONS}
    if not isinstance(first, Limiter):
        return Limiter(first, **mine), True
    if mine:
        raise TypeError(f"{', '.join(sorted(mine))}: these are options of the limiter, which is given already")
    return first, False


def _wrap(client: Any, library: type, wrapper: Callable[[Limiter, Any], Any], options: dict[str, Any]) -> None:
    """Puts the wrapper around all transports of a client, those of proxies as well; library is its class there."""

    def wrapped(inner: Any, given: bool, fresh: Callable[[], Any]) -> Any:
        outer = wrapper(client.limiter, inner)
        outer._heed(None if given else fresh)
        return outer

    def mounted(pattern: Any) -> Any:
        return library(**options)._mounts[pattern]

    mounts = options.get("mounts") or {}
    client._transport = wrapped(
        client._transport, options.get("transport") is not None, lambda: library(**options)._transport
    )
    client._mounts = {
        pattern: None
        if transport is None
        else wrapped(transport, pattern.pattern in mounts, partial(mounted, pattern))
        for pattern, transport in client._mounts.items()
    }


class Client(httpx.Client):
    """An HTTP client for the SDKs' http_client that asks before each call.

    First an address of the service, several, or a Limiter; then the options of Limiter and of the HTTP library's
    client, by name. Closing it closes the limiter that it made, too.
    """

    def __init__(self, limiter: Limiter | str | Sequence[str] = "localhost:8081", **options: Any) -> None:
        self.limiter, self._owned = _limiter(limiter, options)
        options = {"timeout": _TIMEOUT, "limits": _LIMITS, "follow_redirects": True, **options}
        super().__init__(**options)
        _wrap(self, httpx.Client, Transport, options)

    def close(self) -> None:
        super().close()
        if self._owned:
            self.limiter.close()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # which does not close as close does
        if self._owned:
            self.limiter.close()


class AsyncClient(httpx.AsyncClient):
    """As Client, for asyncio."""

    def __init__(self, limiter: Limiter | str | Sequence[str] = "localhost:8081", **options: Any) -> None:
        self.limiter, self._owned = _limiter(limiter, options)
        options = {"timeout": _TIMEOUT, "limits": _LIMITS, "follow_redirects": True, **options}
        super().__init__(**options)
        _wrap(self, httpx.AsyncClient, AsyncTransport, options)

    async def aclose(self) -> None:
        await super().aclose()
        if self._owned:
            await self.limiter.aclose()

    async def __aexit__(self, *error: Any) -> None:
        await super().__aexit__(*error)
        if self._owned:
            await self.limiter.aclose()
