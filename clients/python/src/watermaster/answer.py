"""What is told to the service of a call, and what it answers, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from google.protobuf.duration_pb2 import Duration

from .errors import Binding, Rejected
from .v1 import limiter_pb2 as pb


class Outcome(IntEnum):
    """How a call ended; watermaster.v1.Outcome."""

    UNSPECIFIED = 0  # derived from the observation
    SUCCEEDED = 1
    FAILED = 2
    THROTTLED = 3
    UNSENT = 4  # it never left: everything is given back
    UNKNOWN = 5  # it may have run: charged as the larger of the estimate and of what was told


@dataclass(slots=True)
class Usage:
    """What a call has used so far, cumulative. None: unknown, settled as estimated."""

    input_tokens: int | None = None  # cached and cache-written ones included
    output_tokens: int | None = None  # reasoning included
    cached_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    units: Mapping[str, int] = field(default_factory=dict)

    def message(self) -> pb.Usage:
        return pb.Usage(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_input_tokens=self.cached_input_tokens,
            cache_write_input_tokens=self.cache_write_input_tokens,
            units=self.units,
        )


@dataclass(slots=True)
class Observation:
    """What was seen of a provider's answer. Never a prompt or a key."""

    http_status: int = 0  # 0: no answer came
    headers: Mapping[str, str] = field(default_factory=dict)  # those that speak of rates; at most 64
    body: str = ""  # at status 400 and above; at most 4,096 bytes

    def message(self, number: int = 0) -> pb.Observation:
        return pb.Observation(number=number, http_status=self.http_status, headers=self.headers, body=self.body)


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a failure."""

    retry: bool
    retry_after: float | None = None  # seconds; None: at once, or never if retry is false
    other_target: bool = False
    failure_class: str = "UNSPECIFIED"  # the enum's name without FAILURE_CLASS_


@dataclass(frozen=True, slots=True)
class Pressure:
    """How scarce things are for the caller's class."""

    level: str = "NORMAL"  # NORMAL, ELEVATED, HIGH, SATURATED
    utilization: float = 0.0  # ≥ 0, 1 is full
    total_utilization: float = 0.0
    waiting: int = 0
    max_tool_calls: int | None = None  # None: no advice
    agent_profile: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes. attributes are the configuration's (base_url, deployment, …); never a key."""

    account: str
    provider: str
    model: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


def seconds(d: Duration) -> float:
    return d.seconds + d.nanos / 1e9


def pressure(p: pb.Pressure) -> Pressure:
    # A level of a newer service is unknown here; the contract says to take that for normal.
    known = p.level in pb.PressureLevel.values() and p.level != pb.PRESSURE_LEVEL_UNSPECIFIED
    return Pressure(
        level=pb.PressureLevel.Name(p.level).removeprefix("PRESSURE_LEVEL_") if known else "NORMAL",
        utilization=p.utilization,
        total_utilization=p.total_utilization,
        waiting=p.waiting,
        max_tool_calls=p.max_tool_calls if p.HasField("max_tool_calls") else None,
        agent_profile=p.agent_profile if p.HasField("agent_profile") else None,
    )


def advice(a: pb.Advice) -> Advice:
    known = a.failure_class in pb.FailureClass.values()
    return Advice(
        retry=a.retry,
        retry_after=seconds(a.retry_after) if a.HasField("retry_after") else None,
        other_target=a.other_target,
        failure_class=pb.FailureClass.Name(a.failure_class).removeprefix("FAILURE_CLASS_")
        if known
        else "UNSPECIFIED",
    )


def rejected(r: pb.Rejected) -> Rejected:
    known = r.reason in pb.Reason.values()
    return Rejected(
        pb.Reason.Name(r.reason).removeprefix("REASON_") if known else "UNSPECIFIED",
        r.message,
        seconds(r.retry_after) if r.HasField("retry_after") else None,
        [
            Binding(
                b.scope,
                b.name,
                b.metric,
                seconds(b.window) if b.HasField("window") else None,
                b.quota,
                b.utilization,
            )
            for b in r.binding
        ],
    )
