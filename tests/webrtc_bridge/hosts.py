"""A relay and hosts that speak ``/webrtc`` through it, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from ice import IceConfig
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from webrtc_bridge.config import PeerConfig, WebRtcConfig
from webrtc_bridge.transport import WebRtcTransport

ECHO = "/test/echo/1.0.0"
LOOPBACK = WebRtcConfig(peer=PeerConfig(ice=IceConfig.for_loopback()))


@dataclass
class Relay:
    """A host with the relay service, and where it is."""

    host: Host
    service: RelayService
    address: Multiaddr


@asynccontextmanager
async def relay(config: RelayConfig | None = None) -> AsyncIterator[Relay]:
    """Run a relay on a loopback port."""
    async with Host(PrivateKey.generate()) as host:
        await host.listen("/ip4/127.0.0.1/tcp/0")
        service = RelayService(host, config)
        try:
            yield Relay(host, service, host.addresses()[0])
        finally:
            await service.close()


@dataclass
class WebRtcHost:
    """A host with the transport under test."""

    host: Host
    transport: WebRtcTransport

    async def listen(self, at: Relay) -> Multiaddr:
        """Listen on ``/webrtc`` behind ``at`` and return the address to dial."""
        listener = await self.host.listen(at.address.encapsulate("/p2p-circuit/webrtc"))
        return listener.addresses[0].encapsulate(f"/p2p/{self.host.peer_id}")


@asynccontextmanager
async def webrtc_host(config: WebRtcConfig = LOOPBACK, **changes: object) -> AsyncIterator[WebRtcHost]:
    """Run a host that echoes on any unlimited connection."""
    async with Host(PrivateKey.generate()) as host:
        transport = WebRtcTransport(host, replace(config, **changes))  # type: ignore[arg-type]
        host.add_transport(transport)
        host.handle(ECHO, echo)
        yield WebRtcHost(host, transport)


async def echo(stream: Stream) -> None:
    """Send back whatever comes, until the peer closes."""
    while data := await stream.read():
        await stream.write(data)


async def echoed(host: Host, connection: Connection, data: bytes) -> bytes:
    """Send ``data`` to the echo of the peer in one stream, and return what came back."""
    stream = await host.new_stream(connection, [ECHO])
    await stream.write(data)
    await stream.close_write()
    back = bytearray()
    while chunk := await stream.read():
        back += chunk
    await stream.close()
    return bytes(back)
