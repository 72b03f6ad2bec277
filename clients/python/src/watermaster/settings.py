"""What a limiter is made with, checked at once."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import grpc

from .answer import Pressure
from .call import UNSET, Call
from .errors import Error


@dataclass(frozen=True, slots=True)
class Local:
    """A limit a minute of this process, for while the service is away. None: unlimited."""

    requests: int | None = None
    tokens: int | None = None  # input and output

    def __post_init__(self) -> None:
        if any(v is not None and v < 1 for v in (self.requests, self.tokens)):
            raise Error("when_away: a Local limit must be at least 1; use 'closed' for none at all")


@dataclass(frozen=True, slots=True)
class TLS:
    """PEM of the certificates: bytes, or the path of a file. ca None: the system's roots."""

    ca: bytes | str | os.PathLike[str] | None = None
    cert: bytes | str | os.PathLike[str] | None = None
    key: bytes | str | os.PathLike[str] | None = None


Tokenizer = Callable[[str, str], int]  # (model, text) -> tokens
WhenAway = Literal["closed", "open"] | Local


@dataclass(frozen=True, slots=True)
class Options:
    """All options of a limiter; the README has the table."""

    addresses: tuple[str, ...] = ("localhost:8081",)
    organization: str = ""
    call: Call = UNSET  # defaults of each call
    token: str | None = field(default=None, repr=False)
    tls: bool | TLS = False
    insecure: bool = False  # lets a token go in plaintext beyond loopback
    account: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    retries: int = 2
    when_away: WhenAway = "closed"
    lease_ttl: float = 30.0  # seconds, 1 to 86,400
    on_pressure: Callable[[Pressure], None] | None = None
    tokenizer: Literal["auto"] | Tokenizer | None = "auto"

    def __post_init__(self) -> None:
        if not self.addresses or any(not a or a.isspace() for a in self.addresses):
            raise Error("address: give one 'host:port' or several")
        if not 1 <= self.lease_ttl <= 86_400:
            raise Error("lease_ttl: must be 1 to 86,400 seconds")
        if self.retries < 0:
            raise Error("retries: must not be negative")
        if self.when_away not in ("closed", "open") and not isinstance(self.when_away, Local):
            raise Error("when_away: must be 'closed', 'open' or watermaster.Local(requests, tokens)")
        if self.token and not self.tls and not self.insecure:
            for address in self.addresses:
                if not loopback(address):
                    raise Error(
                        f"token: would go to {address} in plaintext; set tls=True, or insecure=True to allow it"
                    )

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What channels are secured with. None: plaintext. Raises OSError for a file that cannot be read."""
        if not self.tls:
            return None
        tls = self.tls if isinstance(self.tls, TLS) else TLS()
        return grpc.ssl_channel_credentials(_pem(tls.ca) or _system_roots(), _pem(tls.key), _pem(tls.cert))


def addresses(address: str | Sequence[str]) -> tuple[str, ...]:
    return (address,) if isinstance(address, str) else tuple(dict.fromkeys(address))


def loopback(address: str) -> bool:
    """Whether what is sent to a gRPC address stays on this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rsplit("/", 1)[-1]  # dns:///host:port
    if host.startswith("ipv4:") or host.startswith("ipv6:"):
        host = host[5:]
    host = host[1:].split("]")[0] if host.startswith("[") else host.rsplit(":", 1)[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _pem(value: bytes | str | os.PathLike[str] | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    with open(value, "rb") as f:
        return f.read()


def _system_roots() -> bytes | None:
    # gRPC's wheel has roots of its own and would take those rather than the system's.
    cafile = ssl.get_default_verify_paths().cafile
    if os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH") or not cafile:
        return None
    return _pem(cafile)
