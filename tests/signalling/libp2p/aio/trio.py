"""A relay, a peer with a reservation there and one that dials it, in memory and virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.circuit_messages import (
    HOP_PROTOCOL,
    HopMessage,
)
from signalling.libp2p.host_config import HostConfig, RelayConfig
from signalling.libp2p.multiaddr import Multiaddr
from tests.signalling.libp2p.memory import Network

RELAY_PLACE = "/ip4/192.0.2.1/tcp/4001"
ECHO = "/echo/1.0.0"
POUR = "/pour/1.0.0"

LIMITS = RelayConfig(circuit_duration=60, circuit_data=100_000)


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def settle() -> None:
    await asyncio.sleep(0.001)


def clock() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Trio:
    """A relay, a peer with a reservation there, and one that dials it."""

    network: Network
    relay: Host
    service: RelayService
    target: Host
    source: Host

    @property
    def relay_address(self) -> Multiaddr:
        return self.relay.addresses()[0]

    @property
    def address(self) -> Multiaddr:
        return self.relay_address.encapsulate(f"/p2p-circuit/p2p/{self.target.peer_id}")


@contextlib.asynccontextmanager
async def trio(config: RelayConfig = LIMITS, host: HostConfig | None = None) -> AsyncIterator[Trio]:
    network = Network()
    async with network.host() as relay, network.host(host) as target, network.host(host) as source:
        await relay.listen(RELAY_PLACE)
        service = RelayService(relay, config)
        target.handle(ECHO, echo, allow_limited=True)
        yield Trio(network, relay, service, target, source)
        await service.close()


async def hop(host: Host, relay: Multiaddr, message: bytes) -> Stream:
    """Send a raw message to the relay."""
    stream = await host.new_stream(await host.connect(relay), [HOP_PROTOCOL])
    await stream.write_delimited(message)
    return stream


async def answer(stream: Stream) -> HopMessage:
    message = await stream.read_delimited(4096)
    assert message is not None
    return HopMessage.parse(message)
