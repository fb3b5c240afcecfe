"""The embedded STUN server: a :class:`~stun.binding_server.BindingServer` on UDP, TCP, TLS and DTLS."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from stun.address import TransportAddress
from stun.aio.link import ALPN_NAT_DISCOVERY
from stun.aio.stream_driver import StreamDriver
from stun.aio.tls import server_context
from stun.aio.udp import UdpNetwork
from stun.behaviour_server import BehaviourRules, other_addresses
from stun.binding_server import BindingServer, BindingServerStats
from stun.config import BehaviourServerConfig, BindingServerConfig, ListenerConfig, StreamConfig, UdpConfig
from stun.network import Interface

if TYPE_CHECKING:
    from OpenSSL import SSL

__all__ = ["BehaviourServing", "SecureServing", "StunServer", "serve"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SecureServing:
    """What a server needs for TLS and DTLS."""

    certificate: str
    """Path of a PEM file: the certificate, and the chain after it."""
    key: str | None = None
    """Path of a PEM file with the key; None when it is in ``certificate``."""
    port: int = 5349
    """The port on every address (RFC 8489 section 8.1); 0 picks one that is free everywhere."""
    alpn: Sequence[str] = (ALPN_NAT_DISCOVERY,)
    """What to agree to in ALPN (RFC 7443)."""
    limits: ListenerConfig = field(default_factory=ListenerConfig)
    """How many connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourServing:
    """What a server needs for NAT behaviour discovery (RFC 5780)."""

    other_hosts: Sequence[str] = ()
    """A second IP address for each family that has one. With none, nothing is served that needs one; a server with
    ``port`` then still tells its clients their RESPONSE-ORIGIN, and answers RESPONSE-PORT and PADDING."""
    port: int = 3479
    """The second port on every address; 0 picks one that is free everywhere."""
    only_ports: bool = False
    """Whether a family without a second address changes its port alone, which RFC 5780 does not foresee."""
    config: BehaviourServerConfig = field(default_factory=BehaviourServerConfig)
    """Limits."""


class StunServer:
    """A running server; :func:`serve` starts one. Also an async context manager that closes it."""

    def __init__(self, driver: StreamDriver[None], machine: BindingServer) -> None:
        self.udp: list[TransportAddress] = []
        """Where it answers over UDP."""
        self.tcp: list[TransportAddress] = []
        """Where it answers over TCP."""
        self.tls: list[TransportAddress] = []
        """Where it answers over TLS, and (the same ports of UDP) over DTLS."""
        self._driver = driver
        self._machine = machine

    @property
    def stats(self) -> BindingServerStats:
        """What it has done so far."""
        return self._machine.stats

    def close(self) -> None:
        """Stop answering and free the ports; harmless twice."""
        self._driver.close()

    async def __aenter__(self) -> StunServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await asyncio.sleep(0)  # lets the connections' last callbacks run


async def serve(
    hosts: Sequence[str] = ("127.0.0.1", "::1"),
    port: int = 3478,
    *,
    config: BindingServerConfig | None = None,
    udp_config: UdpConfig | None = None,
    stream_config: StreamConfig | None = None,
    secure: SecureServing | None = None,
    behaviour: BehaviourServing | None = None,
) -> StunServer:
    """Start a STUN server on UDP and TCP, the same port on every address; and on TLS and DTLS with ``secure``.

    Args:
        hosts: IP literals. A wildcard stands for all addresses that the host has now, each bound by itself, because a
            response has to come from the address that was asked. ``::1`` is left out where there is no IPv6.
        port: 0 picks one that is free everywhere.
        config: what to answer, and limits.
        udp_config: socket buffers.
        stream_config: limits of connections.
        secure: certificate and port for TLS and DTLS; None serves neither.
        behaviour: second addresses for RFC 5780; None does not serve it.

    Raises:
        OSError: an address cannot be bound, or the certificate cannot be used.
        ValueError: a host is no IP literal.
    """
    network = UdpNetwork(udp_config)
    addresses = _expand(hosts, network.interfaces())
    if not addresses:
        raise OSError(errno.EADDRNOTAVAIL, "this host has none of the addresses to serve")
    config = config or BindingServerConfig()
    any_port = 0 in (port, secure.port if secure else None, behaviour.port if behaviour else None)
    for tries_left in reversed(range(config.port_tries if any_port else 1)):
        rules = BehaviourRules(behaviour.config) if behaviour is not None else None
        machine = BindingServer(config, rules)
        server = StunServer(StreamDriver(machine, network, lambda event: None, config=stream_config), machine)
        try:
            await _bind(server, addresses, port)
            if rules is not None and behaviour is not None:
                await _bind_others(server, rules, behaviour)
            if secure is not None:
                await _bind_secure(server, addresses, secure)
        except OSError as error:
            server.close()
            if error.errno != errno.EADDRINUSE or tries_left == 0:
                raise
        except BaseException:
            server.close()
            raise
        else:
            return server
    raise AssertionError("the last try returns or raises")


async def _bind(server: StunServer, addresses: Sequence[str], port: int) -> None:
    driver = server._driver
    for host in addresses:
        bound = await driver.bind(TransportAddress(host, port))
        port = bound.port
        server.udp.append(bound)
        server.tcp.append(await driver.listen(TransportAddress(host, port)))


async def _bind_others(server: StunServer, rules: BehaviourRules, behaviour: BehaviourServing) -> None:
    driver = server._driver
    port = behaviour.port
    for family in (4, 6):
        primary = next((address for address in server.udp if address.family == family), None)
        hosts = [host for host in behaviour.other_hosts if TransportAddress(host, 0).family == family]
        if primary is None or not (hosts or behaviour.only_ports):
            continue
        if port == 0:
            bound = await driver.bind(TransportAddress(primary.host, 0))
            port = bound.port
        others = other_addresses(primary, hosts[0] if hosts else None, port)
        for address in others:
            if driver.socket_at(address) is None:
                await driver.bind(address)
            if address not in server.tcp:
                server.tcp.append(await driver.listen(address))
        server.udp += [address for address in others if address not in server.udp]
        rules.add(others)


async def _bind_secure(server: StunServer, addresses: Sequence[str], secure: SecureServing) -> None:
    driver = server._driver
    tls = await asyncio.to_thread(server_context, secure.certificate, secure.key, secure.alpn)
    dtls = await asyncio.to_thread(_dtls_context, secure)
    port = secure.port
    for host in addresses:
        bound = await driver.listen_tls(TransportAddress(host, port), tls, secure.limits)
        port = bound.port
        await driver.listen_dtls(bound, dtls, secure.limits)
        server.tls.append(bound)


def _dtls_context(secure: SecureServing) -> SSL.Context:
    from stun.aio.dtls_session import dtls_server_context  # With OpenSSL, which only these servers need.

    return dtls_server_context(secure.certificate, secure.key, secure.alpn)


def _expand(hosts: Sequence[str], interfaces: Sequence[Interface]) -> list[str]:
    here = [interface.host for interface in interfaces]
    found: list[str] = []
    for host in hosts:
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            of_family = [other for other in here if ipaddress.ip_address(other).version == address.version]
            found += [other for other in of_family if not ipaddress.ip_address(other).is_link_local]
        elif host != "::1" or "::1" in here:
            found.append(str(address))
    return list(dict.fromkeys(found))
