"""Watermaster shares out the rate limits of LLM providers; this is its client.

    client = OpenAI(http_client=watermaster.Client("localhost:8081", project="search"))

or, for any other call, `with watermaster.Limiter(...).acquire(model=..., input_tokens=...) as lease:`.
"""

from .answer import Advice, Observation, Outcome, Pressure, Target, Usage
from .call import Ask, Call, options
from .errors import Binding, CallError, Error, Rejected, TooLate, Unavailable
from .lease import Lease
from .limiter import Acquisition, Limiter
from .settings import TLS, Local, Options

__version__ = "0.1.0"

__all__ = [
    "TLS",
    "Acquisition",
    "Advice",
    "Ask",
    "Binding",
    "Call",
    "CallError",
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
    "Unavailable",
    "Usage",
    "options",
]
