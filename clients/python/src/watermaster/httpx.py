"""The wrapper over httpx, for SDKs that take its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .transport import AsyncClient, AsyncTransport, Client, Transport
else:
    from .library import over

    _transports = over("httpx")
    AsyncClient, AsyncTransport = _transports.AsyncClient, _transports.AsyncTransport
    Client, Transport = _transports.Client, _transports.Transport

__all__ = ["AsyncClient", "AsyncTransport", "Client", "Transport"]
