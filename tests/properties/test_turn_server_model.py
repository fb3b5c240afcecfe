"""The TURN server against a small reference model: random interleavings of what several clients and peers do."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.message import Message, Method, parse
from tests.turn.service.stage import RELAY4, RELAY6, TCP, UDP, Stage, StageClient
from turn.framing import parse_channel_data
from turn.service.config import RelayLimits

LIMITS = RelayLimits(allocations_per_user=2, permissions=3, channels=2)
PLACES = [("alice", 1, UDP), ("alice", 2, UDP), ("alice", 3, UDP), ("bob", 4, UDP), ("bob", 5, TCP)]
PEERS = [TransportAddress(host, port) for host in ("203.0.113.1", "203.0.113.2", "2001:db8:7::1") for port in (1, 2)]
DENIED = TransportAddress("10.0.0.1", 1)
CODES = {4: 1, 6: 2}


@dataclass
class Model:
    """What one client should have."""

    relays: dict[int, float] = field(default_factory=dict)
    """By family: when it expires."""
    permissions: dict[str, float] = field(default_factory=dict)
    channels: dict[int, tuple[TransportAddress, float]] = field(default_factory=dict)

    def tick(self, now: float) -> None:
        for family in [family for family, until in self.relays.items() if until <= now]:
            self.drop(family)
        self.permissions = {host: until for host, until in self.permissions.items() if until > now}
        self.channels = {number: bound for number, bound in self.channels.items() if bound[1] > now}

    def drop(self, family: int) -> None:
        del self.relays[family]
        self.permissions = {host: at for host, at in self.permissions.items() if (":" in host) != (family == 6)}
        self.channels = {number: bound for number, bound in self.channels.items() if bound[0].family != family}


class Server(RuleBasedStateMachine):
    """Every rule does one thing to the server and to the model, and compares what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(limits=LIMITS)
        self.clients = [StageClient(self.stage, user, port=port, protocol=protocol) for user, port, protocol in PLACES]
        self.models = [Model() for _ in PLACES]

    which = st.integers(0, len(PLACES) - 1)
    peers = st.sampled_from([*PEERS, DENIED])
    numbers = st.sampled_from([0x4000, 0x4001, 0x4002])

    def living(self, user: str) -> int:
        return sum(bool(model.relays) for model, place in zip(self.models, PLACES, strict=True) if place[0] == user)

    @rule(which=which, families=st.sampled_from([(4,), (6,), (4, 6)]), lifetime=st.sampled_from([None, 900, 5000]))
    def allocate(self, which: int, families: tuple[int, ...], lifetime: int | None) -> None:
        client, model = self.clients[which], self.models[which]
        pairs = [(att.LIFETIME, lifetime)] if lifetime else []
        if families == (6,):
            pairs.append((att.REQUESTED_ADDRESS_FAMILY, 2))
        elif len(families) == 2:
            pairs.append((att.ADDITIONAL_ADDRESS_FAMILY, 2))
        expected = 437 if model.relays else 486 if self.living(PLACES[which][0]) >= 2 else 0
        before = list(client.relayed)
        response = client.allocate(*pairs)
        assert (response.error.code if response.error else 0) == expected
        if expected:
            client.relayed = before
            return
        granted = min(max(600, lifetime or 0), 3600)
        assert [relayed.family for relayed in client.relayed] == list(families)
        model.relays = dict.fromkeys(families, self.stage.now + granted)

    @rule(which=which, lifetime=st.sampled_from([None, 0, 1000]), family=st.sampled_from([None, 4, 6]))
    def refresh(self, which: int, lifetime: int | None, family: int | None) -> None:
        model = self.models[which]
        pairs = [(att.REQUESTED_ADDRESS_FAMILY, CODES[family])] if family else []
        response = self.clients[which].refresh(lifetime, *pairs)
        code = response.error.code if response.error else 0
        assert code == (437 if not model.relays else 443 if family and family not in model.relays else 0)
        if code:
            return
        for one in [family] if family else list(model.relays):
            if lifetime == 0:
                model.drop(one)
            else:
                model.relays[one] = self.stage.now + max(600, lifetime or 0)

    def problem(self, model: Model, peer: TransportAddress) -> int:
        if not model.relays:
            return 437
        if peer.family not in model.relays:
            return 443
        return 403 if peer == DENIED else 0

    @rule(which=which, wanted=st.lists(peers, min_size=1, max_size=3))
    def permit(self, which: int, wanted: list[TransportAddress]) -> None:
        model = self.models[which]
        expected = next((code for peer in wanted if (code := self.problem(model, peer))), 0)
        hosts = {peer.host for peer in wanted}
        if not expected and len(model.permissions.keys() | hosts) > LIMITS.permissions:
            expected = 508
        assert self.clients[which].permit(*wanted) == expected
        if not expected:
            model.permissions |= dict.fromkeys(hosts, self.stage.now + 300)

    @rule(which=which, number=numbers, peer=peers)
    def bind(self, which: int, number: int, peer: TransportAddress) -> None:
        model = self.models[which]
        expected = self.problem(model, peer)
        held = [bound for bound, (whom, _) in model.channels.items() if whom == peer]
        if not expected and (held or number in model.channels) and held != [number]:
            expected = 400
        too_many = number not in model.channels and len(model.channels) >= LIMITS.channels
        if not expected and (too_many or len(model.permissions.keys() | {peer.host}) > LIMITS.permissions):
            expected = 508
        assert self.clients[which].bind(number, peer) == expected
        if not expected:
            model.channels[number] = (peer, self.stage.now + 600)
            model.permissions[peer.host] = self.stage.now + 300

    @rule(which=which, peer=peers, data=st.binary(max_size=9))
    def send(self, which: int, peer: TransportAddress, data: bytes) -> None:
        model, client = self.models[which], self.clients[which]
        sent = client.send(data, peer)
        allowed = peer.family in model.relays and peer.host in model.permissions
        assert [(one.peer, one.data) for one in sent] == ([(peer, data)] if allowed else [])
        assert all(one.relay in client.relayed for one in sent)

    @rule(which=which, number=numbers, data=st.binary(max_size=9))
    def send_on(self, which: int, number: int, data: bytes) -> None:
        model, client = self.models[which], self.clients[which]
        sent = client.send_on(number, data)
        bound = model.channels.get(number)
        assert [(one.peer, one.data) for one in sent] == ([(bound[0], data)] if bound else [])
        assert all(one.relay in client.relayed for one in sent)

    @rule(which=which, peer=peers, data=st.binary(max_size=9))
    def from_peer(self, which: int, peer: TransportAddress, data: bytes) -> None:
        model, client = self.models[which], self.clients[which]
        for relay in client.relayed:
            if relay.family != peer.family:
                continue
            got = self.stage.from_peer(data, relay, peer)
            if peer.family not in model.relays or peer.host not in model.permissions:
                assert got == []
                continue
            ((path, message),) = got
            assert path == client.path
            number = next((number for number, (whom, _) in model.channels.items() if whom == peer), None)
            if number is not None:
                assert parse_channel_data(message) == (number, data)
            else:
                self.check_indication(parse(message), peer, data)

    def check_indication(self, message: Message, peer: TransportAddress, data: bytes) -> None:
        assert message.method is Method.DATA
        assert message.get(att.XOR_PEER_ADDRESS) == peer
        assert message.get(att.DATA) == data

    @rule(seconds=st.sampled_from([1.0, 100.0, 299.0, 301.0, 601.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.stage.wait(seconds)
        for model in self.models:
            model.tick(self.stage.now)

    @rule(which=which, data=st.binary(max_size=40))
    def junk(self, which: int, data: bytes) -> None:
        if self.clients[which].path.protocol is UDP:  # junk rightly closes a stream
            self.stage.to_peers.clear()
            self.stage.receive(data, self.clients[which].path)

    @rule()
    def lose_the_connection(self) -> None:
        stage, client = self.stage, self.clients[4]
        stage.server.path_closed(client.path, stage.now)
        stage.drain()
        stage.server.path_opened(client.path, stage.now)
        self.models[4] = Model()

    @invariant()
    def nothing_leaks(self) -> None:
        stage, server = self.stage, self.stage.server
        expected = sum(len(model.relays) for model in self.models)
        assert len(stage.open) == server.ports_in_use == expected
        assert len(server.allocations) == sum(bool(model.relays) for model in self.models)
        hosts = sorted(address.host for address, _ in stage.open)
        assert hosts == sorted({4: RELAY4, 6: RELAY6}[family] for model in self.models for family in model.relays)
        for client, model in zip(self.clients, self.models, strict=True):
            found = server.door(client.path.local, client.path.protocol).get(client.path.remote)
            assert (found is not None) == bool(model.relays)
            if found is not None:
                alive = {host for host, until in found.permissions.items() if until > stage.now}
                assert alive == set(model.permissions)
                assert set(found.channels) == set(model.channels)
        assert len(server._state.timetable) == len(server.allocations)
        assert len(server._state.timetable._heap) <= 2 * len(server.allocations) + 65
        assert len(server._state.users) == len({place[0] for place in PLACES if self.living(place[0])})


TestServer = Server.TestCase


def test_paths_are_told_apart() -> None:
    stage = Stage()
    udp = StageClient(stage, port=5)
    tcp = StageClient(stage, port=5, protocol=TCP)
    udp.allocate()
    assert stage.server.door(udp.path.local, TCP).get(udp.path.remote) is None
    assert tcp.refresh().error is not None
    assert udp.path != FiveTuple(*tcp.path)
