"""The life of a session, whatever happens to it: never data without consent, and both ends in the same end."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ice.candidate import TcpType
from ice.config import IceConfig
from ice.events import State
from ice.life_config import UpgradeConfig
from ice.roles import Role
from stun.address import TransportAddress
from tests.ice.life_stage import LifePeer
from tests.ice.test_lying_servers import liar
from tests.ice.trip import SERVER, add_stun_server, mirrored
from tests.simulation import LinkProfile, NatBehaviour, NatRouter, World
from tests.simulation.turn_server import turn_server

NATS = st.sampled_from([None, NatBehaviour.full_cone(), NatBehaviour.port_restricted_cone()])
LINKS = st.builds(
    LinkProfile,
    latency=st.floats(0.0, 0.1),
    jitter=st.floats(0.0, 0.03),
    loss=st.sampled_from([0.0, 0.05, 0.2]),
    duplication=st.sampled_from([0.0, 0.1]),
    reordering=st.sampled_from([0.0, 0.1]),
)
SIDES = st.integers(0, 1)
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.05, 0.2, 1.0, 4.0, 12.0])),
    st.tuples(st.just("restart"), SIDES),
    st.tuples(st.just("rebind"), SIDES),
    st.tuples(st.just("outage"), SIDES, st.sampled_from([0.5, 3.0, 9.0, 20.0, 40.0])),
    st.tuples(st.just("address"), SIDES),
    st.tuples(st.just("vanish"), SIDES),
    st.tuples(st.just("copies"), st.integers(1, 3)),
    st.tuples(st.just("signalling"), st.sampled_from([0.0, 0.05, 1.0, 6.0])),
)
ROLES = st.sampled_from(
    [
        (Role.CONTROLLING, Role.CONTROLLED),
        (Role.CONTROLLED, Role.CONTROLLING),
        (Role.CONTROLLING, Role.CONTROLLING),
        (Role.CONTROLLED, Role.CONTROLLED),
    ]
)


class Life:
    """Two peers in a world, and the steps that befall them."""

    def __init__(
        self,
        nats: tuple[NatBehaviour | None, ...],
        link: LinkProfile,
        roles: tuple[Role, Role],
        seed: int,
        renominates: bool,
        kinds: frozenset[TcpType],
    ) -> None:
        self.world = World(seed)
        self.server = add_stun_server(self.world, SERVER)
        self.routers: list[NatRouter | None] = []
        self.peers: list[LifePeer] = []
        config = IceConfig(upgrade=UpgradeConfig(renomination=renominates))
        for index, (nat, role) in enumerate(zip(nats, roles, strict=True), start=1):
            router = None if nat is None else self.world.nat(nat, f"198.51.100.{index}", name=f"nat{index}")
            realm = self.world.internet if router is None else router.inside
            address = f"198.51.100.{index}" if router is None else f"192.168.{index}.2"
            host = self.world.host(f"host{index}", realm, address, link=link)
            self.routers.append(router)
            self.peers.append(LifePeer(host, role, config, seed=seed + index, kinds=sorted(kinds)))
        self._spare = 10
        self.victim = TransportAddress("203.0.113.66", 5000)

    def begin(self, *, relayed: bool, lied_to: bool) -> None:
        first, second = self.peers
        servers = [self.server]
        if lied_to:
            liar(self.world, "203.0.113.100", self.victim)
            servers.append(TransportAddress("203.0.113.100", 3478))
        if relayed:
            for number, peer in enumerate(self.peers):
                peer.relays.append(turn_server(self.world, f"203.0.113.{98 + number}"))
        first.start(second, servers)
        second.start(first, servers)

    def step(self, what: str, *arguments: float) -> None:
        match what, arguments:
            case "wait", (seconds,):
                self.world.run(until=self.world.now + seconds)
            case "restart", (side,):
                self.peers[int(side)].restart()
            case "rebind", (side,):
                if (router := self.routers[int(side)]) is not None:
                    router.nat.forget()
            case "outage", (side, seconds):
                host = self.peers[int(side)].host
                host.vanish()
                self.world.run(until=self.world.now + seconds)
                host.reappear()
            case "address", (side,):
                self._add_address(self.peers[int(side)], self.routers[int(side)])
            case "vanish", (side,):
                self._remove_address(self.peers[int(side)])
            case "copies", (number,):
                for peer in self.peers:
                    peer.copies = int(number)
            case "signalling", (seconds,):
                for peer in self.peers:
                    peer.signalling = seconds

    def _add_address(self, peer: LifePeer, router: NatRouter | None) -> None:
        if len(peer.host.addresses) >= 4 or peer.state.is_over:
            return
        self._spare += 1
        realm = self.world.internet if router is None else router.inside
        prefix = "198.51.100" if router is None else ".".join(peer.host.addresses[0].split(".")[:3])
        peer.host.add_interface(realm, f"{prefix}.{self._spare}")
        peer.machine.add_local_base(peer.bind(peer.host.addresses[-1]), self.world.now)
        peer.pump()

    def _remove_address(self, peer: LifePeer) -> None:
        if len(peer.host.addresses) < 2 or peer.state.is_over:
            return
        peer.lose_host(peer.host.addresses[0])

    def calm_down(self) -> None:
        """Nothing happens any more: links are perfect, and there is time."""
        for peer in self.peers:
            peer.copies, peer.signalling = 1, 0.05
            for attachment in peer.host._attachments.values():
                attachment.uplink.profile = attachment.downlink.profile = LinkProfile(latency=0.01)
        self.world.run(until=self.world.now + 200.0)


@pytest.mark.timeout(300)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.tuples(NATS, NATS),
    LINKS,
    ROLES,
    st.integers(0, 10_000),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.frozensets(st.sampled_from(list(TcpType))),
    st.lists(STEPS, max_size=12),
)
def test_whatever_happens_both_ends_agree_in_the_end(
    nats: tuple[NatBehaviour | None, NatBehaviour | None],
    link: LinkProfile,
    roles: tuple[Role, Role],
    seed: int,
    renominates: bool,
    relayed: bool,
    lied_to: bool,
    kinds: frozenset[TcpType],
    steps: list[tuple[str, float]],
) -> None:
    life = Life(nats, link, roles, seed, renominates, kinds)
    life.begin(relayed=relayed, lied_to=lied_to)
    for what, *arguments in steps:
        life.step(what, *arguments)
    life.calm_down()
    for peer in life.peers:
        peer.strangers_must_be_spared()
        assert life.victim not in {path.remote for path in peer.answered}
    first, second = (peer.machine for peer in life.peers)
    assert first.state.is_over == second.state.is_over
    if first.state.is_over:
        assert first.failure_reason is not None
        assert second.failure_reason is not None
        assert any(what in ("outage", "vanish", "signalling", "rebind") for what, *_ in steps) or link.loss
        return
    assert first.state in (State.CONNECTED, State.COMPLETED)
    assert second.state in (State.CONNECTED, State.COMPLETED)
    assert {first.role, second.role} == {Role.CONTROLLING, Role.CONTROLLED}
    assert first.remote_description == second.local_description
    assert second.remote_description == first.local_description
    assert mirrored(first.selected_pair, second.selected_pair)
