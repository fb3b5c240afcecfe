"""What runs an agent: sockets for its host bases, links to its TURN servers, and the short way for data on both."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

import ice.aio
from ice.agent import Agent
from ice.aio.base_receiver import BaseReceiver
from ice.aio.flag import Flag
from ice.aio.mdns import NameService
from ice.aio.server_links import ServerLinks
from ice.aio.shared_network import NetworkSeat, SharedNetwork
from ice.aio.stats import Traffic
from ice.aio.tcp_driver import TcpDriver
from ice.candidate import Base
from ice.config import IceConfig
from ice.errors import MuxError
from ice.events import Event, PairSelected, Restarted
from ice.mdns import PublishName, ResolveName, WithdrawName
from ice.portmap.events import MapperEvent, PortMapped, PortMappingFailed, PortUnmapped
from ice.relay import FetchCredentials, OpenLink, Relay
from ice.relayed_tcp import OpenPeerConnection
from ice.tcp import Connect, ConnectError
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio import Driver
from stun.demux import is_stun
from stun.machine import Release, Transmit
from stun.network import Network, provides
from stun.nothing import NO_MEMBERS
from turn.aio.credentials import fetch_again
from turn.aio.peer_stream import open_peer_stream
from turn.errors import TurnCredentialsError, TurnError

if TYPE_CHECKING:
    from ice.aio.portmapping import PortMapping

__all__ = ["AgentDriver", "Send"]

logger = logging.getLogger("ice")

Send = Callable[[bytes, tuple[str, int]], bool]
"""Sends one datagram to the peer; False when it was not taken."""

_UDP: Final = TransportProtocol.UDP
_TCP: Final = TransportProtocol.TCP


class AgentDriver(Driver[Event]):
    """Drives one agent. STUN goes to the agent; data goes to ``put`` without any object around it."""

    __slots__ = (
        "_links",
        "_mapping",
        "_mdns",
        "_names",
        "_put",
        "_retired",
        "_soon",
        "_tasks",
        "_traffic",
        "agent",
        "finished",
        "path",
        "seat",
        "tcp",
    )

    def __init__(
        self,
        agent: Agent,
        network: Network,
        on_event: Callable[[Event], None],
        put: Callable[[bytes], None],
        traffic: Traffic,
        config: IceConfig,
    ) -> None:
        """Args:
        agent: what to run.
        network: where sockets come from.
        on_event: takes the agent's events; it may call the agent and :meth:`pump`.
        put: takes the peer's data.
        traffic: where discarded datagrams are counted.
        config: the settings.

        Raises:
            MuxError: the network is shared, and has no room.
        """
        super().__init__(agent, network, on_event)
        self.agent = agent
        """What is run."""
        self._links: ServerLinks | None = None
        self.finished = Flag()
        """Set when everything is closed."""
        self.seat: NetworkSeat | None = None
        """The session's place on a network that it shares with others; its user name fragments are told there."""
        if provides(type(network), SharedNetwork):
            self.seat = cast(SharedNetwork, network).join(agent.local_description.ufrag)
        self.tcp = TcpDriver(self, self.seat or network, config.tcp, put, traffic)
        """The connections of TCP candidates."""
        self._put = put
        self._traffic = traffic
        self._mdns = config.mdns
        self._tasks: set[asyncio.Task[None]] = NO_MEMBERS
        self._names: NameService | None = None
        self._mapping: PortMapping | None = None
        self._retired: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self.path: FiveTuple | None = None
        """That of the last STUN message at a socket, and mostly of the next."""

    # -- life --

    async def bind_base(self, wanted: TransportAddress) -> None:
        """Bind a socket and make it a base of the agent.

        Raises:
            OSError: the address cannot be bound, or the session is over.
        """
        receiver = BaseReceiver(self, self._put, self._traffic)
        socket = await (self.seat or self.network).bind(wanted, receiver.receive)
        if self._closed or self.agent.state.is_over:
            socket.close()
            raise OSError("the session is closed")
        self.sockets += (socket,)
        self.agent.add_local_base(socket.local, self._loop.time())
        receiver.open_to(socket.local)

    def bases(self) -> list[TransportAddress]:
        """Return the addresses of the bound sockets."""
        return [bound.local for bound in self.sockets]

    def unbind_base(self, base: TransportAddress) -> None:
        """The address of a base is gone: close its socket."""
        self.unbind(base)
        now = self._loop.time()
        self.agent.remove_local_base(base, now)
        self.agent.remove_tcp_bases(base.host, now)
        self.pump()

    def pump_soon(self) -> None:
        """Pump at the end of this turn of the loop: what an application tells comes in crowds.

        It has a handle of its own: what listeners do with the events runs in the context of whoever told it.
        """
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._pump_now)

    def _pump_now(self) -> None:
        self._soon = None
        self.pump()

    def retire(self) -> None:
        """The session is over: close the sockets, and the links once the servers have confirmed, or had their time."""
        if self._closed or self._retired is not None:
            return
        self.pump()
        for bound in self.sockets:
            bound.close()
        self.sockets = ()
        self.tcp.close()
        if self._links is not None:
            self._links.retire()
        self._leave()
        for task in self._tasks:
            task.cancel()
        if self.agent.relays.is_idle:
            self.close()
            return
        patience = max(relay.config.client.close_timeout for relay in self.agent.relays.by_path.values())
        self._retired = self._loop.call_later(patience, self.close)

    def close(self) -> None:
        """As of the base, the links too."""
        if self._retired is not None:
            self._retired.cancel()
            self._retired = None
        super().close()
        self.tcp.close()
        self._leave()
        if self._links is not None:
            self._links.close()
        for task in self._tasks:
            task.cancel()
        for outside in (self._names, self._mapping):
            if outside is not None:
                outside.end()
        self.finished.set()

    def _leave(self) -> None:
        if self.seat is not None:
            self.seat.leave()

    def _notice(self, event: Event) -> None:
        if isinstance(event, PairSelected) and event.pair.path.protocol is _UDP:
            self.path = event.pair.path  # Rather than another one that is equal.
        if self.seat is not None and isinstance(event, Restarted):
            try:
                self.seat.set_ufrags(self.agent.local_ufrags)
            except MuxError as error:  # One in 2^48: the peer's checks get lost, ours find the way without.
                logger.warning("checks of the restarted session do not reach it: %s", error)
        self._on_event(event)

    # -- data --

    def sender(self, path: FiveTuple) -> Send | None:
        """Return what sends data on a path that begins at a relayed base or runs over TCP; None for any other."""
        if path.protocol is _TCP:
            return self.tcp.sender(path)
        relay = self.agent.relays.by_base.get(Base.of(path))
        if relay is None or relay.client is None or relay.path is None or self._links is None:
            return None
        encode, send_wire = relay.client.encode, self._links.sender(relay.path)
        if send_wire is None:
            return None

        def send(data: bytes, remote: tuple[str, int]) -> bool:
            try:
                wire = encode(remote, data)
            except ValueError:  # Too long for any datagram: lost, as on every path.
                return False
            return wire is not None and send_wire(wire)

        return send

    def _drain(self) -> None:
        agent = self.agent
        while True:  # As the base does, without a call for it.
            while (effect := agent.next_effect()) is not None:
                if isinstance(effect, Transmit):
                    self._transmit(effect)
                else:
                    self._perform(effect)
            if (event := agent.next_event()) is None:
                break
            self._notice(event)
        while (data := agent.next_data()) is not None:
            self._put(data)
        if self._retired is not None and agent.relays.is_idle:
            self.close()  # With the last answer of a server.

    def receive_stun(self, data: bytes, path: FiveTuple) -> None:
        """Hand the agent what came on a path."""
        self.agent.receive_datagram(data, path, self._loop.time())
        self.pump()

    def _receive_relayed(self, data: bytes, relay: Relay, peer: TransportAddress) -> None:
        """Take what a peer sent to a relayed base, out of its ChannelData message."""
        base = relay.bases.get(peer.family)
        if not data or base is None:
            self._traffic.discarded += 1
        elif data[0] < 4 and is_stun(data):
            self.receive_stun(data, FiveTuple(base, peer))
        elif self.agent.is_valid_path(base, peer):
            self._put(data)
        else:
            self._traffic.discarded += 1

    # -- links --

    def _transmit(self, effect: Transmit) -> None:
        data, path = effect.data, effect.path
        if path.protocol is _UDP:
            for bound in self.sockets:  # As of socket_at, without the call.
                if bound.local == path.local:
                    bound.send(data, path.remote)
                    return
        if self._links is None or not self._links.transmit(effect):
            if path.protocol is _TCP:
                self.tcp.transmit(effect)
            else:
                self.unsendable += 1

    def _perform(self, effect: object) -> None:
        match effect:
            case OpenLink():
                if self._links is None:
                    self._links = ServerLinks(self.agent, self.network, self.pump, self._receive_relayed)
                self._start(self._links.open(effect), f"ice: link to {effect.config.url}")
            case FetchCredentials():
                self._start(self._fetch(effect), f"ice: credentials for {effect.config.url}")
            case OpenPeerConnection():
                self._start(self._open_peer(effect), f"ice: connection with {effect.path.remote} at a relay")
            case Connect():
                self.tcp.connect(effect)
            case Release(path):
                if self._links is not None:
                    self._links.release(path)
                self.tcp.release(path)
            case ResolveName() | PublishName() | WithdrawName():
                if self._names is None:
                    self._names = NameService(self.agent.names, self._mdns, self.network, self.pump)
                self._names.perform(effect)

    async def freed(self) -> None:
        """Return when everything is closed and what the network was told is taken back."""
        await self.finished.wait()
        for outside in (self._names, self._mapping):
            if outside is not None:
                await outside.ended()

    async def map_ports(self, config: IceConfig, rng: random.Random) -> None:
        """Have the router map the agent's bases, and return when it has answered or had its time.

        Args:
            config: the settings; ``config.portmap`` says how and for how long.
            rng: a CSPRNG.
        """
        # What is loaded needs no thread, of which there is none in virtual time. Python gives a package its room when
        # the whole of it is there.
        if not hasattr(ice.aio, "portmapping"):
            await asyncio.to_thread(_load_port_mapping)
        if self._closed or self.agent.state.is_over:
            return
        from ice.aio.portmapping import PortMapping

        self._mapping = PortMapping(config.portmap, self.network, rng, self._on_mapping)
        await self._mapping.map(self.agent.mappable_bases)

    def _on_mapping(self, event: MapperEvent) -> None:
        agent, now = self.agent, self._loop.time()
        match event:
            case PortMapped(base, external, gateway):
                agent.add_mapped_address(base, external, gateway, now)
            case PortUnmapped(base, external):
                agent.remove_mapped_address(base, external, now)
            case PortMappingFailed(base, reason):
                logger.info("no port is mapped for %s: %s", base.address, reason)
        self.pump()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        if self._tasks is NO_MEMBERS:
            self._tasks = set()
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open_peer(self, wanted: OpenPeerConnection) -> None:
        relay, path = wanted.relay, wanted.path
        if relay.client is None:
            return
        try:
            name = relay.target.server_name
            stream = await open_peer_stream(relay.client, path.remote, wanted.connection_id, name)
        except TurnError as error:
            logger.info("%s", error)
            self.agent.path_failed(path, ConnectError.OTHER, self._loop.time())
            self.pump()
        else:
            self.tcp.adopt(path, stream)

    async def _fetch(self, wanted: FetchCredentials) -> None:
        relays, url = self.agent.relays, wanted.config.url
        try:
            credentials = await fetch_again(wanted.config, wanted.server_name)
            relays.renew(wanted.number, credentials, self._loop.time())
        except TurnCredentialsError as error:
            relays.renewal_failed(wanted.number, error, self._loop.time())
        except ValueError as error:
            problem = TurnCredentialsError(f"the new credentials cannot be sent: {error}", server=url)
            relays.renewal_failed(wanted.number, problem, self._loop.time())
        self.pump()


def _load_port_mapping() -> None:
    """Load what is off by default, and much code: in a thread, because a loop that does it stands still meanwhile."""
    import ice.aio.portmapping  # noqa: F401
