"""Two connected data peers in a simulated world, tied by signalling that carries later offers too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ice import IceConfig, Role
from ice.life_config import RoamingConfig, UpgradeConfig
from tests.ice.sessions import WIRE, behind, session
from tests.simulation import Host, World
from tests.webrtc_bridge.signalling_wire import SignallingWire
from tests.webrtc_bridge.test_simulated import Trip, talk
from webrtc_bridge.config import PeerConfig, RestartConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.peer import ConnectionState, DataPeer
from webrtc_bridge.sdp import SdpType
from webrtc_bridge.states import SignalingState

NEW = "198.51.100.7"
NEWER = "198.51.100.8"
PLAIN = IceConfig(roaming=RoamingConfig(poll_interval=1.0), upgrade=UpgradeConfig(renomination=False))
"""Only a restart moves such sessions to another pair (RFC 8445 section 8.1.1)."""
SILENT = RestartConfig(automatic=False)


@dataclass
class Stage:
    """Two connected data peers, their hosts and what ties them."""

    world: World
    hosts: tuple[Host, Host]
    offerer: DataPeer
    answerer: DataPeer
    wire: SignallingWire
    trip: Trip

    @property
    def peers(self) -> tuple[DataPeer, DataPeer]:
        return self.offerer, self.answerer

    def move(self, index: int, address: str = NEW) -> None:
        """Have a host get another address in the place of its own."""
        self.hosts[index].add_interface(self.world.internet, address, link=WIRE)
        self.hosts[index].remove_address(self.hosts[index].addresses[0])

    def credentials(self) -> tuple[str, str]:
        ours, theirs = (peer.session.local_description.ufrag for peer in self.peers)
        return ours, theirs

    async def agreed(self) -> None:
        """Both sides go by each other's last description, and data flows both ways."""
        assert [peer.signaling_state for peer in self.peers] == [SignalingState.STABLE] * 2
        for one, other in (self.peers, reversed(self.peers)):
            assert one.session.remote_description is not None
            assert one.session.remote_description.ufrag == other.session.local_description.ufrag
            assert one.connection_state is ConnectionState.CONNECTED
        assert await talk(self.trip, 20_000) == bytes(20_000)
        assert await talk(Trip(self.hosts, self.trip.b, self.trip.a), 20_000) == bytes(20_000)


@asynccontextmanager
async def stage(config: PeerConfig | None = None, answerer_config: PeerConfig | None = None) -> AsyncIterator[Stage]:
    config = config or PeerConfig(ice=PLAIN)
    world = World(3)
    hosts = (behind(world, 1, None), behind(world, 2, None))
    configs = (config, answerer_config or config)
    sessions = [session(host, role, one.ice) for host, role, one in zip(hosts, Role, configs, strict=True)]
    offerer, answerer = (
        DataPeer(side, one, session=below) for side, one, below in zip(SdpType, configs, sessions, strict=True)
    )
    trip = Trip(hosts, DataChannelMuxer(offerer), DataChannelMuxer(answerer))
    wire = SignallingWire(offerer, answerer)
    try:
        await asyncio.gather(offerer.wait_connected(), answerer.wait_connected())
        await asyncio.sleep(1)
        yield Stage(world, hosts, offerer, answerer, wire, trip)
    finally:
        await asyncio.gather(offerer.close(), answerer.close())
