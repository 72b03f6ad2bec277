"""What may be raised. Being over a limit is no bug of the caller: it is Rejected, with what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass


class Error(Exception):
    """Whatever this package raises by itself."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A limit that stands in the way."""

    scope: str  # "organization", "project/NAME" or "pool/ACCOUNT/POOL"
    name: str
    metric: str  # "requests", "tokens", …
    window: float | None  # seconds; None: a stock, held from grant to release
    quota: int  # in the metric's unit
    utilization: float  # held and reserved, as a part of the quota; ≥ 0, 1 is full


class Rejected(Error):
    """The service (or the limit of this process) says no, and the caller is not queued.

    reason is the enum's name without REASON_ ("WAIT_TOO_LONG", "TOO_LARGE", …), or LOCAL_LIMIT.
    retry_after, in seconds, is a lower bound of the time after which asking again can help; None: never.
    """

    def __init__(
        self,
        reason: str,
        message: str = "",
        retry_after: float | None = None,
        binding: list[Binding] | None = None,
    ) -> None:
        super().__init__(message or reason)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.binding = binding if binding is not None else []


class Unavailable(Error):
    """No address answered within the caller's patience."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CallError(Error):
    """The service calls the request wrong; asking again does not help (but for RESOURCE_EXHAUSTED).

    code is gRPC's name: "NOT_FOUND", "INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", …
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class TooLate(Error):
    """The call did not leave within the grant's start_within; it must not be sent. Ask again."""
