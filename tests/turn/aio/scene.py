"""What the asyncio tests share: a simulated world with the small TURN server of ``tests.turn.fake_server`` in it."""

from __future__ import annotations

import turn
import turn.aio
from stun.address import TransportAddress
from tests.simulation import Host, LinkProfile, World
from tests.turn.fake_server import FakeServer
from turn.config import TurnServerConfig

SERVER_HOST = "203.0.113.53"
WIRE = LinkProfile(latency=0.005)


class Scene:
    """A client's host, and any number of servers."""

    def __init__(self) -> None:
        self.world = World()
        self.client: Host = self.world.host("client", self.world.internet, "198.51.100.1", link=WIRE)
        self.packets = 0
        """What all servers have received."""

    def serve(self, server: FakeServer | None = None, host: str = SERVER_HOST, port: int = 3478) -> FakeServer:
        """Put a server into the world."""
        server = server or FakeServer()
        machine = self.world.host(host, self.world.internet, host)

        def receive(data: bytes, remote: tuple[str, int]) -> None:
            self.packets += 1
            for reply in server.receive(data, TransportAddress(*remote), self.world.now):
                socket.send(reply, remote)

        socket = machine.bind(TransportAddress(host, port), receive)
        return server

    def allocate(self, url: str = f"turn:{SERVER_HOST}", **settings: object) -> turn.aio.Allocating:
        """Allocate from the client's host."""
        given: dict[str, object] = {"url": url}
        if "credentials" not in settings:
            given |= {"username": "maria", "password": "secret"}
        return turn.allocate(TurnServerConfig(**(given | settings)), network=self.client.network())  # type: ignore[arg-type]
