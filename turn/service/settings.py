"""The server's settings as an operator writes them: a TOML file, read without touching the disk."""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from stun.address import TransportAddress, TransportProtocol
from turn.access_token import TokenKey
from turn.errors import TurnConfigError
from turn.service.config import (
    RelayHost,
    RelayLimits,
    RelayTimes,
    StreamLimits,
    TokenConfig,
    TurnServiceConfig,
    UnauthenticatedLimits,
)
from turn.service.policy import PeerPolicyConfig

__all__ = ["Listener", "MetricsSettings", "ServiceSettings", "parse_settings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """One address to listen on."""

    protocol: TransportProtocol
    """UDP, TCP, TLS or DTLS."""
    address: TransportAddress
    """A wildcard stands for all addresses of its family; port 0 picks one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricsSettings:
    """Where Prometheus asks."""

    address: TransportAddress
    """The address of the HTTP endpoint."""


_LOCAL = ("127.0.0.1", "::1")


def _default_listeners() -> tuple[Listener, ...]:
    return tuple(
        Listener(protocol=protocol, address=TransportAddress(host, 3478))
        for host in _LOCAL
        for protocol in (TransportProtocol.UDP, TransportProtocol.TCP)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """A server with its users and listeners."""

    service: TurnServiceConfig
    """Limits and rules."""
    listeners: tuple[Listener, ...] = field(default_factory=_default_listeners)
    """Where clients come; by default this machine only, port 3478, UDP and TCP."""
    certificate: str | None = None
    """Path of the PEM file with the certificate and its chain, for TLS and DTLS."""
    private_key: str | None = None
    """Path of the PEM file with the key; None when it is in ``certificate``."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Passwords by user name; only keys made of them are kept once the server runs."""
    shared_secrets: tuple[str, ...] = ()
    """What time-limited credentials are made from, the newest first."""
    metrics: MetricsSettings | None = None
    """The Prometheus endpoint, or none."""
    log_format: str = "text"
    """``text`` or ``json``."""
    drain_seconds: float = 30.0
    """How long a server that is asked to stop waits for its allocations to end."""


class _Table:
    """One table of the file; what nobody asks for is an error, for it would be a setting without effect."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self._values = dict(values)

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        """Return a value and count it as known."""
        value = self._values.pop(key, default)
        if value is default:
            return value
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            expected = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
            raise TurnConfigError(f"{self._path(key)} has to be of type {expected}, and is {value!r}")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self.take(key, list, None)
        if values is None:
            return default
        if not all(isinstance(value, str) for value in values):
            raise TurnConfigError(f"{self._path(key)} has to be a list of texts")
        return tuple(values)

    def rest(self) -> dict[str, Any]:
        """Return and count as known all that is left."""
        values, self._values = self._values, {}
        return values

    def finish(self) -> None:
        """Complain about what is left."""
        if self._values:
            raise TurnConfigError(f"unknown setting: {self._path(sorted(self._values)[0])}")

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def parse_settings(text: str) -> ServiceSettings:
    """Read the settings from TOML (docs/turn.md lists them).

    Raises:
        TurnConfigError: it is no TOML, a setting is unknown or of the wrong type, or settings contradict each other.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TurnConfigError(f"no TOML: {error}") from error
    try:
        return _settings(values)
    except TurnConfigError:
        raise
    except (ValueError, TypeError) as error:  # what the frozen dataclasses check
        raise TurnConfigError(str(error)) from error


def _settings(values: Mapping[str, Any]) -> ServiceSettings:
    top = _Table("", {key: value for key, value in values.items() if not isinstance(value, dict)})
    tables = {key: _Table(key, value) for key, value in values.items() if isinstance(value, dict)}

    def table(name: str) -> _Table:
        return tables.pop(name, _Table(name, {}))

    listen, tls, users, credentials = table("listen"), table("tls"), table("users"), table("credentials")
    metrics, log = table("metrics"), table("log")
    passwords = users.rest()
    if not all(isinstance(password, str) for password in passwords.values()):
        raise TurnConfigError("users: every password is a text")
    settings = ServiceSettings(
        service=_service(top, table),
        listeners=_listeners(listen) or _default_listeners(),
        certificate=tls.take("certificate", str),
        private_key=tls.take("private_key", str),
        users=passwords,
        shared_secrets=credentials.texts("shared_secrets"),
        metrics=_metrics(metrics),
        log_format=log.take("format", str, "text"),
        drain_seconds=float(top.take("drain_seconds", (int, float), 30.0)),
    )
    if settings.log_format not in ("text", "json"):
        raise TurnConfigError("log.format has to be text or json")
    for one in (top, listen, tls, credentials, metrics, log):
        one.finish()
    if tables:
        raise TurnConfigError(f"unknown table: [{sorted(tables)[0]}]")
    return settings


def _service(top: _Table, table: Callable[[str], _Table]) -> TurnServiceConfig:
    relay, peers = table("relay"), table("peers")
    ports = relay.take("ports", list, [49152, 65535])
    if len(ports) != 2 or not all(isinstance(port, int) for port in ports):
        raise TurnConfigError("relay.ports has to be two numbers, the first and the last port")
    realm = top.take("realm", str)
    if realm is None:
        raise TurnConfigError("realm is missing: the name of your service, such as example.org")
    config = TurnServiceConfig(
        realm=realm,
        relays=tuple(_relay_host(text) for text in relay.texts("addresses")),
        ports=(ports[0], ports[1]),
        udp=relay.take("udp", bool, True),
        tcp=relay.take("tcp", bool, True),
        mobility=relay.take("mobility", bool, False),
        times=_numbers(RelayTimes, table("times")),
        limits=_numbers(RelayLimits, table("limits")),
        streams=_numbers(StreamLimits, table("streams")),
        unauthenticated=_numbers(UnauthenticatedLimits, table("unauthenticated")),
        peers=PeerPolicyConfig.of(
            peers.texts("allow"), peers.texts("deny"), own_relays=peers.take("own_relays", bool, True)
        ),
        rfc5766_channels=relay.take("rfc5766_channels", bool, True),
        sha256=top.take("sha256", bool, True),
        nonce_lifetime=float(top.take("nonce_lifetime", (int, float), 600.0)),
        alternates=tuple(_address(text) for text in top.texts("alternates")),
        alternate_domain=top.take("alternate_domain", str),
        software=top.take("software", str),
        tokens=_tokens(table("tokens")),
    )
    relay.finish()
    peers.finish()
    return config


def _tokens(table: _Table) -> TokenConfig | None:
    """Read whose access tokens are taken: ``server_name``, ``keys`` (Base64 by name) and ``delta``."""
    name, delta = table.take("server_name", str), float(table.take("delta", (int, float), 5.0))
    given = table.texts("keys")
    table.finish()
    if name is None and not given:
        return None
    keys: list[TokenKey] = []
    for text in given:
        kid, _, encoded = text.partition(":")
        try:
            keys.append(TokenKey(kid=kid, key=base64.b64decode(encoded, validate=True)))
        except ValueError as error:
            raise TurnConfigError(f"tokens.keys: {kid!r} needs <name>:<Base64 of 32 bytes>") from error
    return TokenConfig(server_name=name or "", keys=tuple(keys), delta=delta)


def _numbers(kind: type[Any], table: _Table) -> Any:
    """Fill one of the dataclasses of numbers."""
    found: dict[str, float] = {}
    for one in fields(kind):
        whole = one.type in ("int", int)  # The text where it is interpreted, the type where it is compiled.
        value = table.take(one.name, int if whole else (int, float))
        if value is not None:
            found[one.name] = value if whole else float(value)
    table.finish()
    return kind(**found)


def _listeners(table: _Table) -> tuple[Listener, ...]:
    return tuple(
        Listener(protocol=protocol, address=_address(text))
        for protocol in TransportProtocol
        for text in table.texts(str(protocol))
    )


def _metrics(table: _Table) -> MetricsSettings | None:
    text = table.take("listen", str)
    return MetricsSettings(address=_address(text)) if text is not None else None


def _relay_host(text: str) -> RelayHost:
    host, _, advertise = text.partition("/")
    return RelayHost(host=host, advertise=advertise or None)


def _address(text: str) -> TransportAddress:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        raise TurnConfigError(f"{text!r} is no address with a port, such as 0.0.0.0:3478 or [::]:3478")
    try:
        return TransportAddress.parse(host.removeprefix("[").removesuffix("]"), int(port))
    except ValueError as error:
        raise TurnConfigError(f"{text!r}: {error}") from error
