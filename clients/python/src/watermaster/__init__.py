"""Watermaster shares out the rate limits of LLM providers; this is its client.

    client = OpenAI(http_client=watermaster.Client("localhost:8081", project="search"))

or, for any other call, `with watermaster.Limiter(...).acquire(model=..., input_tokens=...) as lease:`.
"""

from typing import TYPE_CHECKING, Any

from .acquisition import Acquisition
from .answer import Advice, Observation, Outcome, Pressure, Target, Usage
from .call import Ask, Call, options
from .errors import Binding, CallError, Error, Rejected, TooLate, Unavailable
from .lease import Lease
from .limiter import Limiter
from .settings import TLS, Local, Options

if TYPE_CHECKING:
    from .transport import AsyncClient, AsyncTransport, Client, Transport

__version__ = "0.1.0"

__all__ = [
    "TLS",
    "Acquisition",
    "Advice",
    "Ask",
    "AsyncClient",
    "AsyncTransport",
    "Binding",
    "Call",
    "CallError",
    "Client",
    "Error",
    "Lease",
    "Limiter",
    "Local",
    "Observation",
    "Options",
    "Outcome",
    "Pressure",
    "Rejected",
    "Target",
    "TooLate",
    "Transport",
    "Unavailable",
    "Usage",
    "options",
]


_TRANSPORTS = ("AsyncClient", "AsyncTransport", "Client", "Transport")


def __getattr__(name: str) -> Any:
    # Who uses the plain API alone needs no HTTP library.
    if name in _TRANSPORTS:
        from .library import newest

        return getattr(newest(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
