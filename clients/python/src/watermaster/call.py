"""Options of one call: given, by context, or the limiter's defaults."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields

from .v1 import limiter_pb2 as pb


@dataclass(frozen=True, slots=True)
class Call:
    """What may be said of one call. None: unset, so that a weaker source decides."""

    project: str | None = None
    priority_class: str | None = None
    route: str | None = None
    request_id: str | None = None  # unique within the organization; the same over all attempts
    max_wait: float | None = None  # the caller's whole patience, seconds, 0 to 86,400; 0: never queue
    min_quality: float | None = None  # 0 to 1
    affinity_key: str | None = None
    capabilities: Sequence[str] | None = None
    labels: Mapping[str, str] | None = None

    def over(self, base: Call) -> Call:
        """This call's options where they are set, base's elsewhere. Labels of both are kept."""
        if self is UNSET or base is UNSET:
            return base if self is UNSET else self
        values = {
            f: mine if (mine := getattr(self, f)) is not None else getattr(base, f)
            for f in _FIELDS
            if f != "labels"
        }
        labels = {**(base.labels or {}), **(self.labels or {})} or None
        return Call(labels=labels, **values)


_FIELDS = tuple(f.name for f in fields(Call))
UNSET = Call()
_current: ContextVar[Call] = ContextVar("watermaster_call", default=UNSET)


def current() -> Call:
    """The options of the context."""
    return _current.get()


@contextlib.contextmanager
def options(
    *,
    project: str | None = None,
    priority_class: str | None = None,
    route: str | None = None,
    request_id: str | None = None,
    max_wait: float | None = None,
    min_quality: float | None = None,
    affinity_key: str | None = None,
    capabilities: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Iterator[Call]:
    """Sets options for the calls made within the block, in this thread or task and tasks made in it.

    They are laid over those of an outer block. See Call for units and ranges.
    """
    inner = Call(
        project, priority_class, route, request_id, max_wait, min_quality, affinity_key, capabilities, labels
    )
    token = _current.set(call := inner.over(_current.get()))
    try:
        yield call
    finally:
        _current.reset(token)


@dataclass(slots=True)
class Ask:
    """One ask for one HTTP attempt."""

    call: Call  # merged
    model: str
    input_tokens: int
    request_id: str
    attempt: int = 0  # 0 to 1,000
    max_output_tokens: int | None = None  # None: the model's maximum
    cached_input_tokens: int | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    accounts: Sequence[str] = ()
    exclude_accounts: Sequence[str] = ()
    providers: Sequence[str] = ()

    def message(self, organization: str) -> pb.AcquireRequest:
        call = self.call
        request = pb.AcquireRequest(
            request_id=self.request_id,
            attempt=self.attempt,
            organization=organization,
            project=call.project or "",
            priority_class=call.priority_class or "",
            input_tokens=self.input_tokens,
            max_output_tokens=self.max_output_tokens,
            cached_input_tokens=self.cached_input_tokens,
            units=self.units,
            affinity_key=call.affinity_key or "",
            labels=call.labels or {},
        )
        if call.route:
            request.route = call.route
        else:
            request.model = self.model
        if (
            self.accounts
            or self.exclude_accounts
            or self.providers
            or call.capabilities
            or call.min_quality is not None
        ):
            request.constraints.CopyFrom(
                pb.Constraints(
                    accounts=self.accounts,
                    exclude_accounts=self.exclude_accounts,
                    providers=self.providers,
                    capabilities=call.capabilities or (),
                    min_quality=call.min_quality,
                )
            )
        return request
