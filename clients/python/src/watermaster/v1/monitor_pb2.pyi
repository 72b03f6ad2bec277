from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LimitShape(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIMIT_SHAPE_UNSPECIFIED: _ClassVar[LimitShape]
    LIMIT_SHAPE_SLIDING_WINDOW: _ClassVar[LimitShape]
    LIMIT_SHAPE_TOKEN_BUCKET: _ClassVar[LimitShape]
    LIMIT_SHAPE_CALENDAR: _ClassVar[LimitShape]
    LIMIT_SHAPE_STOCK: _ClassVar[LimitShape]
LIMIT_SHAPE_UNSPECIFIED: LimitShape
LIMIT_SHAPE_SLIDING_WINDOW: LimitShape
LIMIT_SHAPE_TOKEN_BUCKET: LimitShape
LIMIT_SHAPE_CALENDAR: LimitShape
LIMIT_SHAPE_STOCK: LimitShape

class GetHeadroomRequest(_message.Message):
    __slots__ = ("organization", "account", "pool", "project", "log")
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    organization: str
    account: str
    pool: str
    project: str
    log: bool
    def __init__(self, organization: _Optional[str] = ..., account: _Optional[str] = ..., pool: _Optional[str] = ..., project: _Optional[str] = ..., log: bool = ...) -> None: ...

class GetHeadroomResponse(_message.Message):
    __slots__ = ("headroom",)
    HEADROOM_FIELD_NUMBER: _ClassVar[int]
    headroom: Headroom
    def __init__(self, headroom: _Optional[_Union[Headroom, _Mapping]] = ...) -> None: ...

class WatchHeadroomRequest(_message.Message):
    __slots__ = ("organization", "account", "pool", "project", "interval", "log")
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    organization: str
    account: str
    pool: str
    project: str
    interval: _duration_pb2.Duration
    log: bool
    def __init__(self, organization: _Optional[str] = ..., account: _Optional[str] = ..., pool: _Optional[str] = ..., project: _Optional[str] = ..., interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., log: bool = ...) -> None: ...

class WatchHeadroomResponse(_message.Message):
    __slots__ = ("headroom",)
    HEADROOM_FIELD_NUMBER: _ClassVar[int]
    headroom: Headroom
    def __init__(self, headroom: _Optional[_Union[Headroom, _Mapping]] = ...) -> None: ...

class Headroom(_message.Message):
    __slots__ = ("organization", "time", "config_revision", "limits", "log")
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_REVISION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    organization: str
    time: _timestamp_pb2.Timestamp
    config_revision: int
    limits: _containers.RepeatedCompositeFieldContainer[LimitHeadroom]
    log: SharedLog
    def __init__(self, organization: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., config_revision: _Optional[int] = ..., limits: _Optional[_Iterable[_Union[LimitHeadroom, _Mapping]]] = ..., log: _Optional[_Union[SharedLog, _Mapping]] = ...) -> None: ...

class SharedLog(_message.Message):
    __slots__ = ("replicas", "position", "end", "age", "entries", "log_bytes", "snapshot_bytes", "behaviour", "roll_call", "away")
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_BYTES_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    ROLL_CALL_FIELD_NUMBER: _ClassVar[int]
    AWAY_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[Replica]
    position: str
    end: str
    age: _duration_pb2.Duration
    entries: int
    log_bytes: int
    snapshot_bytes: int
    behaviour: int
    roll_call: RollCall
    away: _duration_pb2.Duration
    def __init__(self, replicas: _Optional[_Iterable[_Union[Replica, _Mapping]]] = ..., position: _Optional[str] = ..., end: _Optional[str] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., entries: _Optional[int] = ..., log_bytes: _Optional[int] = ..., snapshot_bytes: _Optional[int] = ..., behaviour: _Optional[int] = ..., roll_call: _Optional[_Union[RollCall, _Mapping]] = ..., away: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Replica(_message.Message):
    __slots__ = ("incarnation", "self", "heard", "behaviour", "waiting")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SELF_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    incarnation: str
    self: bool
    heard: _duration_pb2.Duration
    behaviour: int
    waiting: int
    def __init__(self_, incarnation: _Optional[str] = ..., self: bool = ..., heard: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., behaviour: _Optional[int] = ..., waiting: _Optional[int] = ...) -> None: ...

class RollCall(_message.Message):
    __slots__ = ("since", "missing")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    since: _duration_pb2.Duration
    missing: int
    def __init__(self, since: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., missing: _Optional[int] = ...) -> None: ...

class LimitHeadroom(_message.Message):
    __slots__ = ("scope", "name", "metric", "shape", "window", "quota", "effective_quota", "held", "reserved", "remaining", "utilization", "by_class", "trend", "time_to_exhaustion", "gates", "top_consumers")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_QUOTA_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    BY_CLASS_FIELD_NUMBER: _ClassVar[int]
    TREND_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_EXHAUSTION_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    TOP_CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    scope: str
    name: str
    metric: str
    shape: LimitShape
    window: _duration_pb2.Duration
    quota: int
    effective_quota: int
    held: int
    reserved: int
    remaining: int
    utilization: float
    by_class: _containers.RepeatedCompositeFieldContainer[ClassHeadroom]
    trend: Trend
    time_to_exhaustion: _duration_pb2.Duration
    gates: _containers.RepeatedCompositeFieldContainer[PoolGate]
    top_consumers: _containers.RepeatedCompositeFieldContainer[Consumer]
    def __init__(self, scope: _Optional[str] = ..., name: _Optional[str] = ..., metric: _Optional[str] = ..., shape: _Optional[_Union[LimitShape, str]] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., quota: _Optional[int] = ..., effective_quota: _Optional[int] = ..., held: _Optional[int] = ..., reserved: _Optional[int] = ..., remaining: _Optional[int] = ..., utilization: _Optional[float] = ..., by_class: _Optional[_Iterable[_Union[ClassHeadroom, _Mapping]]] = ..., trend: _Optional[_Union[Trend, _Mapping]] = ..., time_to_exhaustion: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., gates: _Optional[_Iterable[_Union[PoolGate, _Mapping]]] = ..., top_consumers: _Optional[_Iterable[_Union[Consumer, _Mapping]]] = ...) -> None: ...

class ClassHeadroom(_message.Message):
    __slots__ = ("priority_class", "held", "utilization", "waiting", "longest_wait")
    PRIORITY_CLASS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LONGEST_WAIT_FIELD_NUMBER: _ClassVar[int]
    priority_class: str
    held: int
    utilization: float
    waiting: int
    longest_wait: _duration_pb2.Duration
    def __init__(self, priority_class: _Optional[str] = ..., held: _Optional[int] = ..., utilization: _Optional[float] = ..., waiting: _Optional[int] = ..., longest_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Trend(_message.Message):
    __slots__ = ("utilization", "step", "slope_per_hour")
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SLOPE_PER_HOUR_FIELD_NUMBER: _ClassVar[int]
    utilization: _containers.RepeatedScalarFieldContainer[float]
    step: _duration_pb2.Duration
    slope_per_hour: float
    def __init__(self, utilization: _Optional[_Iterable[float]] = ..., step: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., slope_per_hour: _Optional[float] = ...) -> None: ...

class PoolGate(_message.Message):
    __slots__ = ("metric", "remaining", "blocked")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_FIELD_NUMBER: _ClassVar[int]
    metric: str
    remaining: _duration_pb2.Duration
    blocked: bool
    def __init__(self, metric: _Optional[str] = ..., remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., blocked: bool = ...) -> None: ...

class Consumer(_message.Message):
    __slots__ = ("project", "held", "utilization")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    project: str
    held: int
    utilization: float
    def __init__(self, project: _Optional[str] = ..., held: _Optional[int] = ..., utilization: _Optional[float] = ...) -> None: ...
