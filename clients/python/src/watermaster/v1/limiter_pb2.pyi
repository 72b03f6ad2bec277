from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_TOO_LARGE: _ClassVar[Reason]
    REASON_QUEUE_FULL: _ClassVar[Reason]
    REASON_WAIT_TOO_LONG: _ClassVar[Reason]
    REASON_GATED: _ClassVar[Reason]
    REASON_PROVIDER_BLOCKED: _ClassVar[Reason]
    REASON_NO_TARGET: _ClassVar[Reason]
    REASON_RETRY_BUDGET: _ClassVar[Reason]
    REASON_PAUSED: _ClassVar[Reason]

class PressureLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRESSURE_LEVEL_UNSPECIFIED: _ClassVar[PressureLevel]
    PRESSURE_LEVEL_NORMAL: _ClassVar[PressureLevel]
    PRESSURE_LEVEL_ELEVATED: _ClassVar[PressureLevel]
    PRESSURE_LEVEL_HIGH: _ClassVar[PressureLevel]
    PRESSURE_LEVEL_SATURATED: _ClassVar[PressureLevel]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_SUCCEEDED: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]
    OUTCOME_THROTTLED: _ClassVar[Outcome]
    OUTCOME_UNSENT: _ClassVar[Outcome]
    OUTCOME_UNKNOWN: _ClassVar[Outcome]

class FailureClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_CLASS_UNSPECIFIED: _ClassVar[FailureClass]
    FAILURE_CLASS_THROTTLED: _ClassVar[FailureClass]
    FAILURE_CLASS_OVERLOADED: _ClassVar[FailureClass]
    FAILURE_CLASS_QUOTA_EXHAUSTED: _ClassVar[FailureClass]
    FAILURE_CLASS_TOO_LARGE: _ClassVar[FailureClass]
    FAILURE_CLASS_BILLING: _ClassVar[FailureClass]
    FAILURE_CLASS_INVALID: _ClassVar[FailureClass]
    FAILURE_CLASS_TRANSIENT: _ClassVar[FailureClass]
REASON_UNSPECIFIED: Reason
REASON_TOO_LARGE: Reason
REASON_QUEUE_FULL: Reason
REASON_WAIT_TOO_LONG: Reason
REASON_GATED: Reason
REASON_PROVIDER_BLOCKED: Reason
REASON_NO_TARGET: Reason
REASON_RETRY_BUDGET: Reason
REASON_PAUSED: Reason
PRESSURE_LEVEL_UNSPECIFIED: PressureLevel
PRESSURE_LEVEL_NORMAL: PressureLevel
PRESSURE_LEVEL_ELEVATED: PressureLevel
PRESSURE_LEVEL_HIGH: PressureLevel
PRESSURE_LEVEL_SATURATED: PressureLevel
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_SUCCEEDED: Outcome
OUTCOME_FAILED: Outcome
OUTCOME_THROTTLED: Outcome
OUTCOME_UNSENT: Outcome
OUTCOME_UNKNOWN: Outcome
FAILURE_CLASS_UNSPECIFIED: FailureClass
FAILURE_CLASS_THROTTLED: FailureClass
FAILURE_CLASS_OVERLOADED: FailureClass
FAILURE_CLASS_QUOTA_EXHAUSTED: FailureClass
FAILURE_CLASS_TOO_LARGE: FailureClass
FAILURE_CLASS_BILLING: FailureClass
FAILURE_CLASS_INVALID: FailureClass
FAILURE_CLASS_TRANSIENT: FailureClass

class AcquireRequest(_message.Message):
    __slots__ = ("request_id", "attempt", "organization", "project", "route", "model", "priority_class", "input_tokens", "max_output_tokens", "cached_input_tokens", "units", "max_wait", "block", "lease_ttl", "affinity_key", "constraints", "labels")
    class UnitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_CLASS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    LEASE_TTL_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_KEY_FIELD_NUMBER: _ClassVar[int]
    CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    attempt: int
    organization: str
    project: str
    route: str
    model: str
    priority_class: str
    input_tokens: int
    max_output_tokens: int
    cached_input_tokens: int
    units: _containers.ScalarMap[str, int]
    max_wait: _duration_pb2.Duration
    block: _duration_pb2.Duration
    lease_ttl: _duration_pb2.Duration
    affinity_key: str
    constraints: Constraints
    labels: _containers.ScalarMap[str, str]
    def __init__(self, request_id: _Optional[str] = ..., attempt: _Optional[int] = ..., organization: _Optional[str] = ..., project: _Optional[str] = ..., route: _Optional[str] = ..., model: _Optional[str] = ..., priority_class: _Optional[str] = ..., input_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., units: _Optional[_Mapping[str, int]] = ..., max_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., block: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., lease_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., affinity_key: _Optional[str] = ..., constraints: _Optional[_Union[Constraints, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Constraints(_message.Message):
    __slots__ = ("accounts", "exclude_accounts", "providers", "capabilities", "min_quality")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MIN_QUALITY_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedScalarFieldContainer[str]
    exclude_accounts: _containers.RepeatedScalarFieldContainer[str]
    providers: _containers.RepeatedScalarFieldContainer[str]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    min_quality: float
    def __init__(self, accounts: _Optional[_Iterable[str]] = ..., exclude_accounts: _Optional[_Iterable[str]] = ..., providers: _Optional[_Iterable[str]] = ..., capabilities: _Optional[_Iterable[str]] = ..., min_quality: _Optional[float] = ...) -> None: ...

class AcquireResponse(_message.Message):
    __slots__ = ("request_id", "granted", "wait", "rejected", "pressure")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    PRESSURE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    granted: Granted
    wait: Wait
    rejected: Rejected
    pressure: Pressure
    def __init__(self, request_id: _Optional[str] = ..., granted: _Optional[_Union[Granted, _Mapping]] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ..., rejected: _Optional[_Union[Rejected, _Mapping]] = ..., pressure: _Optional[_Union[Pressure, _Mapping]] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("lease_id", "target", "start_within", "ttl", "renew_every", "waited", "charges")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    START_WITHIN_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    RENEW_EVERY_FIELD_NUMBER: _ClassVar[int]
    WAITED_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    target: Target
    start_within: _duration_pb2.Duration
    ttl: _duration_pb2.Duration
    renew_every: _duration_pb2.Duration
    waited: _duration_pb2.Duration
    charges: _containers.RepeatedCompositeFieldContainer[Charge]
    def __init__(self, lease_id: _Optional[str] = ..., target: _Optional[_Union[Target, _Mapping]] = ..., start_within: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., renew_every: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., waited: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., charges: _Optional[_Iterable[_Union[Charge, _Mapping]]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("account", "provider", "model", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    account: str
    provider: str
    model: str
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, account: _Optional[str] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Charge(_message.Message):
    __slots__ = ("scope", "metric", "amount", "on_completion")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ON_COMPLETION_FIELD_NUMBER: _ClassVar[int]
    scope: str
    metric: str
    amount: int
    on_completion: bool
    def __init__(self, scope: _Optional[str] = ..., metric: _Optional[str] = ..., amount: _Optional[int] = ..., on_completion: bool = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("retry_after", "binding")
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    retry_after: _duration_pb2.Duration
    binding: _containers.RepeatedCompositeFieldContainer[Binding]
    def __init__(self, retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., binding: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ...) -> None: ...

class Rejected(_message.Message):
    __slots__ = ("reason", "retry_after", "binding", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: Reason
    retry_after: _duration_pb2.Duration
    binding: _containers.RepeatedCompositeFieldContainer[Binding]
    message: str
    def __init__(self, reason: _Optional[_Union[Reason, str]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., binding: _Optional[_Iterable[_Union[Binding, _Mapping]]] = ..., message: _Optional[str] = ...) -> None: ...

class Binding(_message.Message):
    __slots__ = ("scope", "name", "metric", "window", "quota", "utilization")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    scope: str
    name: str
    metric: str
    window: _duration_pb2.Duration
    quota: int
    utilization: float
    def __init__(self, scope: _Optional[str] = ..., name: _Optional[str] = ..., metric: _Optional[str] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., quota: _Optional[int] = ..., utilization: _Optional[float] = ...) -> None: ...

class Pressure(_message.Message):
    __slots__ = ("level", "utilization", "total_utilization", "waiting", "max_tool_calls", "agent_profile")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    MAX_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    AGENT_PROFILE_FIELD_NUMBER: _ClassVar[int]
    level: PressureLevel
    utilization: float
    total_utilization: float
    waiting: int
    max_tool_calls: int
    agent_profile: str
    def __init__(self, level: _Optional[_Union[PressureLevel, str]] = ..., utilization: _Optional[float] = ..., total_utilization: _Optional[float] = ..., waiting: _Optional[int] = ..., max_tool_calls: _Optional[int] = ..., agent_profile: _Optional[str] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("lease_ids",)
    LEASE_IDS_FIELD_NUMBER: _ClassVar[int]
    lease_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lease_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("renewals",)
    RENEWALS_FIELD_NUMBER: _ClassVar[int]
    renewals: _containers.RepeatedCompositeFieldContainer[Renewal]
    def __init__(self, renewals: _Optional[_Iterable[_Union[Renewal, _Mapping]]] = ...) -> None: ...

class Renewal(_message.Message):
    __slots__ = ("lease_id", "gone", "ttl")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    gone: bool
    ttl: _duration_pb2.Duration
    def __init__(self, lease_id: _Optional[str] = ..., gone: bool = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_input_tokens", "units")
    class UnitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_input_tokens: int
    units: _containers.ScalarMap[str, int]
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., cache_write_input_tokens: _Optional[int] = ..., units: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("number", "http_status", "headers", "body", "age")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    number: int
    http_status: int
    headers: _containers.ScalarMap[str, str]
    body: str
    age: _duration_pb2.Duration
    def __init__(self, number: _Optional[int] = ..., http_status: _Optional[int] = ..., headers: _Optional[_Mapping[str, str]] = ..., body: _Optional[str] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("lease_id", "outcome", "usage", "provider_usage", "observation", "started_after")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_USAGE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AFTER_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    outcome: Outcome
    usage: Usage
    provider_usage: _struct_pb2.Struct
    observation: Observation
    started_after: _duration_pb2.Duration
    def __init__(self, lease_id: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., provider_usage: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., observation: _Optional[_Union[Observation, _Mapping]] = ..., started_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("settlements", "late", "advice")
    SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    settlements: _containers.RepeatedCompositeFieldContainer[Settlement]
    late: bool
    advice: Advice
    def __init__(self, settlements: _Optional[_Iterable[_Union[Settlement, _Mapping]]] = ..., late: bool = ..., advice: _Optional[_Union[Advice, _Mapping]] = ...) -> None: ...

class Settlement(_message.Message):
    __slots__ = ("scope", "metric", "charged", "refunded", "owed")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    CHARGED_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_FIELD_NUMBER: _ClassVar[int]
    OWED_FIELD_NUMBER: _ClassVar[int]
    scope: str
    metric: str
    charged: int
    refunded: int
    owed: int
    def __init__(self, scope: _Optional[str] = ..., metric: _Optional[str] = ..., charged: _Optional[int] = ..., refunded: _Optional[int] = ..., owed: _Optional[int] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("lease_id", "organization", "account", "model", "observation", "usage", "provider_usage", "started_after")
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_USAGE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AFTER_FIELD_NUMBER: _ClassVar[int]
    lease_id: str
    organization: str
    account: str
    model: str
    observation: Observation
    usage: Usage
    provider_usage: _struct_pb2.Struct
    started_after: _duration_pb2.Duration
    def __init__(self, lease_id: _Optional[str] = ..., organization: _Optional[str] = ..., account: _Optional[str] = ..., model: _Optional[str] = ..., observation: _Optional[_Union[Observation, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., provider_usage: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., started_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("advice", "pressure")
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    PRESSURE_FIELD_NUMBER: _ClassVar[int]
    advice: Advice
    pressure: Pressure
    def __init__(self, advice: _Optional[_Union[Advice, _Mapping]] = ..., pressure: _Optional[_Union[Pressure, _Mapping]] = ...) -> None: ...

class Advice(_message.Message):
    __slots__ = ("retry", "retry_after", "other_target", "failure_class")
    RETRY_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    OTHER_TARGET_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CLASS_FIELD_NUMBER: _ClassVar[int]
    retry: bool
    retry_after: _duration_pb2.Duration
    other_target: bool
    failure_class: FailureClass
    def __init__(self, retry: bool = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., other_target: bool = ..., failure_class: _Optional[_Union[FailureClass, str]] = ...) -> None: ...
