"""An agent with two relays, of which one is better, and a peer: each relay lets the peer in when it is told to."""

from __future__ import annotations

from dataclasses import replace

from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig
from ice.events import PairSelected
from ice.life_config import UpgradeConfig
from ice.relay import RelayTarget
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method, parse
from tests.ice.relay_stage import CONFIG, ONLY, OTHER, PEER, SERVER, Stage
from tests.ice.stepper import Side
from tests.turn.fake_server import RELAYED6, data_indication
from turn.config import TurnServerConfig
from turn.errors import TurnUnreachableError

BETTER, LESSER = SERVER, OTHER
"""The servers: of two alike, the one that allocates first makes the better candidate."""
HOP = 0.005
"""Seconds from us to the peer or back, by either relay."""


class TwoRelays(Stage):
    """The relayed addresses have the hosts of their servers; requests of ours are answered at once, permissions late.

    Args:
        renomination: whether both sides say it.
        better: the settings of the better relay.
    """

    def __init__(self, *, renomination: bool = True, better: TurnServerConfig = CONFIG) -> None:
        upgrade = UpgradeConfig(renomination=renomination)
        super().__init__(replace(ONLY, upgrade=upgrade))
        self.far = Side(Role.CONTROLLED, PEER, seed=2, config=IceConfig(upgrade=upgrade))
        self.late: dict[TransportAddress, float | None] = {}
        """How many seconds a server takes to answer a CreatePermission; None for ever."""
        self.refusing: set[TransportAddress] = set()
        """Servers that let nobody in."""
        self.ports: dict[TransportAddress, int] = {}
        """The ports of the next relayed addresses, 50000 if it is not said."""
        self.checks: list[tuple[float, TransportAddress, Message]] = []
        """Our checks: when each was sent, and by which server."""
        self.peer = PEER
        """Where the peer is now."""
        self._admitted: dict[tuple[TransportAddress, str], float] = {}
        self._channels: dict[tuple[TransportAddress, bytes], TransportAddress] = {}
        self._asked: dict[bytes, Message] = {}
        self._flying: list[tuple[float, int, bytes, FiveTuple]] = []
        self._count = 0
        self.agent.begin_gathering(0.0)
        for server, config in ((BETTER, better), (LESSER, CONFIG)):
            self.agent.relays.add_server(config, RelayTarget(server, TransportProtocol.UDP), 0.0)
            self.pump()
        self.agent.end_of_stun_servers(0.0)
        self.pump()

    def priority(self, server: TransportAddress) -> int:
        """Return the priority of the candidate that a server has made."""
        [base] = self.agent.relays.by_path[self.link(server)].bases.values()
        return next(each.priority for each in self.agent.local_candidates if each.address == base)

    def relayed(self, server: TransportAddress) -> TransportAddress:
        """Return the relayed address of the next allocation at a server."""
        return TransportAddress(server.host, self.ports.get(server, 50000))

    def link(self, server: TransportAddress) -> FiveTuple:
        """Return the last way to a server."""
        return [path for path in self.open if path.remote == server][-1]

    def meet(self, *more: Candidate) -> None:
        """Tell both sides everything: from now on the servers are asked to let the peer in, ``more`` hosts as well."""
        near, far, now = self.agent, self.far.agent, self.now
        far.set_remote_description(near.local_description, now)
        near.set_remote_description(far.local_description, now)
        for candidate in (*far.local_candidates, *more):
            near.add_remote_candidate(candidate, now)
        near.end_of_remote_candidates(now)
        for candidate in near.local_candidates:
            far.add_remote_candidate(candidate, now)
        far.end_of_remote_candidates(now)
        self.pump()

    def restart(self) -> None:
        """Begin a new generation on both sides."""
        self.agent.restart(self.now)
        self.pump()
        self.meet()

    def lose(self, server: TransportAddress) -> None:
        """The way to a server breaks."""
        path = self.link(server)
        self._admitted = {key: until for key, until in self._admitted.items() if key[0] != server}
        self.agent.relays.path_failed(path, TurnUnreachableError("gone", server="turn"), self.now)
        self.pump()

    # -- the network --

    def pump(self) -> None:
        super().pump()
        while (effect := self.far.agent.next_effect()) is not None:
            assert isinstance(effect, Transmit)
            source, server = effect.path.local, effect.path.remote._replace(port=SERVER.port)
            if self.lets_in(server, source.host):  # Else the server drops it.
                self._fly(HOP, self._from_peer(effect.data, source, server), self.link(server))
        self.far.drain_events()

    def _fly(self, after: float, data: bytes, path: FiveTuple) -> None:
        self._count += 1
        self._flying.append((self.now + after, self._count, data, path))

    def _from_peer(self, data: bytes, peer: TransportAddress, server: TransportAddress) -> bytes:
        for (of, number), bound in self._channels.items():
            if (of, bound) == (server, peer):
                return number + len(data).to_bytes(2, "big") + data
        return data_indication(peer, data)

    def lets_in(self, server: TransportAddress, host: str) -> bool:
        """Whether a server holds a permission for a host."""
        return self.now < self._admitted.get((server, host), 0.0)

    def move_peer(self, address: TransportAddress) -> None:
        """From now on the peer has this address and no other."""
        self.far.agent.add_local_base(address, self.now)
        self.far.agent.remove_local_base(self.peer, self.now)
        self.peer = address
        self.pump()

    def _to_server(self, data: bytes, path: FiveTuple) -> None:
        if data[0] >= 0x40:
            self._relay(data[4 : 4 + int.from_bytes(data[2:4])], path.remote, self._channels[path.remote, data[:2]])
            return
        message = parse(data)
        peer = message.get(att.XOR_PEER_ADDRESS)
        if (relayed := message.get(att.DATA)) is not None and peer is not None:
            self._relay(relayed, path.remote, peer)
        elif message.method in (Method.CREATE_PERMISSION, Method.CHANNEL_BIND):
            self._permit(message, data, path)
        else:
            self.server.families = {4: self.relayed(path.remote), 6: RELAYED6}
            super()._to_server(data, path)

    def _relay(self, data: bytes, server: TransportAddress, peer: TransportAddress) -> None:
        message = parse(data)
        if message.message_class is MessageClass.REQUEST:
            self.checks.append((self.now, server, message))
        if peer == self.peer and self.lets_in(server, peer.host):
            self._fly(HOP, data, FiveTuple(peer, self.relayed(server)))

    def _permit(self, message: Message, data: bytes, path: FiveTuple) -> None:
        after = self.late.get(path.remote, 0.0)
        if after is None:
            return
        if path.remote in self.refusing:
            self.server.refuse(message.method, 403)
        self._asked[message.transaction_id] = message
        for answer in self.server.receive(data, path.local, self.now):
            self._fly(after, answer, path)

    def _let_in(self, answer: Message, server: TransportAddress) -> None:
        asked = self._asked.pop(answer.transaction_id, None)
        if asked is None or answer.message_class is not MessageClass.SUCCESS:
            return
        for peer in asked.get_all(att.XOR_PEER_ADDRESS):
            self._admitted[server, peer.host] = self.now + CONFIG.client.permission_lifetime
            if (number := asked.get(att.CHANNEL_NUMBER)) is not None:
                self._channels[server, number.to_bytes(2, "big")] = peer

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        self.pump()
        for _ in range(10_000):
            deadlines = [machine.next_timeout() for machine in (self.agent, self.far.agent)]
            times = [deadline.at for deadline in deadlines if deadline is not None]
            at = min([*times, *(item[0] for item in self._flying)], default=until + 1.0)
            if at > until:
                break
            self.now = max(self.now, at)
            self._step()
        else:
            raise AssertionError("the agents never come to rest")
        self.now = until

    def _step(self) -> None:
        arrived = sorted(item for item in self._flying if item[0] <= self.now)
        if not arrived:
            for machine in (self.agent, self.far.agent):
                deadline = machine.next_timeout()
                if deadline is not None and deadline.at <= self.now:
                    machine.handle_timeout(self.now)
        else:
            self._flying.remove(arrived[0])
            _, _, data, path = arrived[0]
            if path not in self.open:
                self.far.agent.receive_datagram(data, path, self.now)
            else:
                if data[0] < 0x40:
                    self._let_in(parse(data), path.remote)
                self.agent.receive_datagram(data, path, self.now)
        self.pump()

    # -- what came of it --

    @property
    def nominations(self) -> list[tuple[int, TransportAddress, int | None]]:
        """When each nomination was sent, in ms, by which server, and its number; sent again it counts once."""
        found: dict[bytes, tuple[int, TransportAddress, int | None]] = {}
        for at, server, message in self.checks:
            if att.USE_CANDIDATE in message:
                found.setdefault(message.transaction_id, (round(1000 * at), server, message.get(att.NOMINATION)))
        return list(found.values())

    @property
    def selected(self) -> list[TransportAddress]:
        """The relayed addresses that both sides have used, in their order; they have to agree."""
        ours = [event.pair.path.local for event in self.of_type(PairSelected)]
        theirs = [event.pair.path.remote for event in self.far.of_type(PairSelected)]
        assert ours == theirs
        assert all(event.pair.local.type is CandidateType.RELAYED for event in self.of_type(PairSelected))
        return ours
