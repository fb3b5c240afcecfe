"""Two libp2p hosts with a TCP connection between them, and a peer of the demo on one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from browser_demo.config import FileConfig, PeerSettings
from browser_demo.peer.files import Transferred
from browser_demo.peer.native import NativePeer
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.keys import PrivateKey


@dataclass
class Visit:
    """A guest host connected to a native peer."""

    peer: NativePeer
    guest: Host
    connection: Connection
    files: list[Transferred] = field(default_factory=list)

    async def open(self, protocol: str) -> Stream:
        return await self.guest.new_stream(self.connection, [protocol])


@asynccontextmanager
async def visit(files: FileConfig | None = None, share: Path | None = None) -> AsyncIterator[Visit]:
    settings = PeerSettings(name="host", files=files or FileConfig(sample_size=1000), share=share)
    async with NativePeer(PrivateKey.generate(), settings) as peer, Host(PrivateKey.generate()) as guest:
        connection = await guest.connect(peer.host.addresses()[0])
        await guest.identified(connection)
        here = Visit(peer, guest, connection)
        peer.on("file", here.files.append)
        yield here
