"""The real server on loopback, and peers that echo, for tests with sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from stun.address import TransportAddress, TransportProtocol
from stun.aio.udp import UdpNetwork, UdpSocket
from turn.aio.service import TurnService, serve
from turn.config import TurnServerConfig
from turn.service.config import TurnServiceConfig
from turn.service.policy import PeerPolicyConfig
from turn.service.settings import Listener, ServiceSettings

LOOPBACK = PeerPolicyConfig.of(allow=["127.0.0.0/8", "::1/128"])
USER, PASSWORD = "maria", "secret word"
SECRET = "north"


@asynccontextmanager
async def running(
    *protocols: TransportProtocol,
    hosts: tuple[str, ...] = ("127.0.0.1", "::1"),
    certificate: str | None = None,
    **settings: Any,
) -> AsyncIterator[TurnService]:
    """Run a server on loopback (UDP and TCP unless told) and check that it leaves no socket behind."""
    listeners = tuple(
        Listener(protocol=protocol, address=TransportAddress(host, 0))
        for protocol in protocols or (TransportProtocol.UDP, TransportProtocol.TCP)
        for host in hosts
    )
    service_settings = ServiceSettings(
        service=TurnServiceConfig(**{"realm": "example.org", "peers": LOOPBACK, **settings}),
        listeners=listeners,
        certificate=certificate,
        users={USER: PASSWORD},
        shared_secrets=(SECRET,),
    )
    logging.getLogger("turn").setLevel(logging.ERROR)
    service = await serve(service_settings)
    try:
        yield service
    finally:
        await service.close()
        await asyncio.sleep(0)
    snapshot = service.snapshot()
    assert (snapshot.allocations, snapshot.sockets, snapshot.ports) == (0, 0, 0)


def config_for(
    service: TurnService, protocol: TransportProtocol = TransportProtocol.UDP, host: str = "127.0.0.1", **settings: Any
) -> TurnServerConfig:
    """Return what our client needs to know of a running server."""
    port = next(address.port for address in service.addresses(protocol) if address.host == host)
    literal = f"[{host}]" if ":" in host else host
    secure = protocol in (TransportProtocol.TLS, TransportProtocol.DTLS)
    carrier = "tcp" if protocol.is_stream else "udp"
    url = f"{'turns' if secure else 'turn'}:{literal}:{port}?transport={carrier}"
    return TurnServerConfig(**{"url": url, "username": USER, "password": PASSWORD, **settings})


@asynccontextmanager
async def udp_echo(host: str = "127.0.0.1") -> AsyncIterator[TransportAddress]:
    """A UDP peer that sends back what it gets, empty datagrams too (asyncio's transports swallow those)."""
    peer: list[UdpSocket] = []

    def answer(data: bytes, remote: tuple[str, int]) -> None:
        peer[0].send(data, remote)

    peer.append(UdpNetwork().bind_now(TransportAddress(host, 0), answer))
    try:
        yield peer[0].local
    finally:
        peer[0].close()


@asynccontextmanager
async def tcp_echo(host: str = "127.0.0.1") -> AsyncIterator[TransportAddress]:
    """A TCP peer that sends back what it gets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, 0)
    try:
        yield TransportAddress(*server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        await asyncio.sleep(0.01)
