"""The embedded STUN server: a :class:`~stun.binding_server.BindingServer` on real sockets, UDP and TCP."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections.abc import Sequence
from types import TracebackType

from stun.address import TransportAddress
from stun.aio.driver import StreamDriver
from stun.aio.udp import UdpNetwork
from stun.binding_server import BindingServer, BindingServerStats
from stun.config import BindingServerConfig, StreamConfig, UdpConfig
from stun.network import Interface

__all__ = ["StunServer", "serve"]


class StunServer:
    """A running server; :func:`serve` starts one. Also an async context manager that closes it."""

    def __init__(self, driver: StreamDriver[None], machine: BindingServer) -> None:
        self.udp: list[TransportAddress] = []
        """Where it answers over UDP."""
        self.tcp: list[TransportAddress] = []
        """Where it answers over TCP."""
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
) -> StunServer:
    """Start a STUN server on UDP and TCP, the same port on every address.

    Args:
        hosts: IP literals. A wildcard stands for all addresses that the host has now, each bound by itself, because a
            response has to come from the address that was asked. ``::1`` is left out where there is no IPv6.
        port: 0 picks one that is free everywhere.
        config: what to answer, and limits.
        udp_config: socket buffers.
        stream_config: limits of connections.

    Raises:
        OSError: an address cannot be bound.
        ValueError: a host is no IP literal.
    """
    network = UdpNetwork(udp_config)
    addresses = _expand(hosts, network.interfaces())
    if not addresses:
        raise OSError(errno.EADDRNOTAVAIL, "this host has none of the addresses to serve")
    config = config or BindingServerConfig()
    for tries_left in reversed(range(config.port_tries if port == 0 else 1)):
        machine = BindingServer(config)
        server = StunServer(StreamDriver(machine, network, lambda event: None, config=stream_config), machine)
        try:
            await _bind(server, addresses, port)
        except OSError as error:
            server.close()
            if error.errno != errno.EADDRINUSE or tries_left == 0:
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
