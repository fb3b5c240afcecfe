"""A network in memory: pipes instead of sockets, so that hosts run in virtual time.

Addresses look like TCP ones. A pipe holds a bounded number of bytes, so a slow reader is felt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from signalling.errors import StreamClosed, StreamReset
from signalling.libp2p.addresses import endpoint_of, with_peer, without_peer
from signalling.libp2p.aio.circuit import CircuitTransport
from signalling.libp2p.aio.connection import Connection, Direction
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.aio.upgrade import Upgraded, Upgrader
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role

PIPE = 64 * 1024


class _Half:
    """Bytes on their way in one direction."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.data = bytearray()
        self.ended = False
        self.reset = False
        self.changed = asyncio.Event()

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryStream:
    """One end of a pipe; a RawStream."""

    def __init__(self, incoming: _Half, outgoing: _Half) -> None:
        self._in = incoming
        self._out = outgoing

    async def read(self, max_bytes: int = 65536) -> bytes:
        half = self._in
        while not half.data:
            if half.reset:
                raise StreamReset("the pipe was reset")
            if half.ended:
                return b""
            await half.changed.wait()
        data = bytes(half.data[:max_bytes])
        del half.data[:max_bytes]
        half.tell()
        return data

    async def write(self, data: bytes) -> None:
        half = self._out
        for start in range(0, len(data), 4096):
            while len(half.data) >= half.limit and not half.reset:
                await half.changed.wait()
            if half.reset:
                raise StreamReset("the pipe was reset")
            if half.ended:
                raise StreamClosed("the pipe was closed")
            half.data += data[start : start + 4096]
            half.tell()

    async def close_write(self) -> None:
        self._out.ended = True
        self._out.tell()

    async def close_read(self) -> None:
        self._in.limit = 1 << 60

    async def close(self) -> None:
        await self.close_write()
        await self.close_read()

    async def reset(self) -> None:
        for half in (self._in, self._out):
            half.reset = True
            half.data.clear()
            half.tell()


def pipe(limit: int = PIPE) -> tuple[MemoryStream, MemoryStream]:
    """Return both ends of a new pipe."""
    one, other = _Half(limit), _Half(limit)
    return MemoryStream(one, other), MemoryStream(other, one)


class Network:
    """Who listens where. Dials to ``black_holes`` hang, others fail when nobody listens."""

    def __init__(self) -> None:
        self.listeners: dict[Multiaddr, MemoryListener] = {}
        self.black_holes: set[Multiaddr] = set()
        self.pipes: list[tuple[MemoryStream, MemoryStream]] = []
        self.ports = iter(range(1, 1 << 16))

    def host(self, config: HostConfig | None = None, seed: int | None = None) -> Host:
        """Return a host on this network, with circuits."""
        identity = PrivateKey.generate()
        config = config or HostConfig()
        host = Host(identity, config, [MemoryTransport(self, identity, config)])
        host.add_transport(CircuitTransport(host))
        return host

    async def cut(self) -> None:
        """Break every connection."""
        pipes, self.pipes = self.pipes, []
        for end, _ in pipes:
            await end.reset()


class MemoryTransport:
    """A Transport over the network in memory."""

    def __init__(self, network: Network, identity: PrivateKey, config: HostConfig) -> None:
        self._network = network
        self.config = config
        self.upgrader = Upgrader(identity, config.upgrade)

    def can_dial(self, address: Multiaddr) -> bool:
        return endpoint_of(address) is not None and "p2p-circuit" not in address.protocols()

    can_listen = can_dial

    async def dial(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        place = without_peer(address, peer) if peer is not None else address
        if place in self._network.black_holes:
            await asyncio.get_running_loop().create_future()
        listener = self._network.listeners.get(place)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {place}")
        ours, theirs = pipe()
        self._network.pipes.append((ours, theirs))
        local = Multiaddr(f"/ip4/10.0.0.1/tcp/{next(self._network.ports)}")
        listener.take(theirs, local)
        upgraded = await self.upgrader.upgrade_stream(ours, Role.INITIATOR, peer)
        return self.connection(upgraded, Direction.OUTBOUND, place, local)

    async def listen(self, address: Multiaddr, accept: Callable[[Connection], None]) -> MemoryListener:
        if endpoint_of(address)[1] == 0:  # type: ignore[index]
            address = Multiaddr(str(address).replace("/tcp/0", f"/tcp/{next(self._network.ports)}"))
        if address in self._network.listeners:
            raise OSError("the address is in use")
        listener = MemoryListener(self._network, self, address, accept)
        self._network.listeners[address] = listener
        return listener

    def connection(self, upgraded: Upgraded, direction: Direction, remote: Multiaddr, local: Multiaddr) -> Connection:
        peer = upgraded.remote_peer
        return Connection(
            upgraded.muxer,
            remote_peer=peer,
            remote_address=with_peer(remote, peer),
            local_address=local,
            direction=direction,
            negotiation=self.config.upgrade.multistream,
        )


class MemoryListener:
    """A Listener in memory."""

    def __init__(
        self, network: Network, transport: MemoryTransport, address: Multiaddr, accept: Callable[[Connection], None]
    ) -> None:
        self._network = network
        self._transport = transport
        self._address = address
        self._accept = accept
        self._tasks = TaskSet()

    @property
    def addresses(self) -> list[Multiaddr]:
        return [self._address] if self._address in self._network.listeners else []

    def take(self, stream: MemoryStream, remote: Multiaddr) -> None:
        self._tasks.spawn(self._upgrade(stream, remote), "memory upgrade")

    async def _upgrade(self, stream: MemoryStream, remote: Multiaddr) -> None:
        try:
            upgraded = await self._transport.upgrader.upgrade_stream(stream, Role.RESPONDER)
        except ConnectionError:
            return
        self._accept(self._transport.connection(upgraded, Direction.INBOUND, remote, self._address))

    async def close(self) -> None:
        self._network.listeners.pop(self._address, None)
        await self._tasks.close()
