"""Two agents over bad links: they connect and agree, or fail and say why."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ice.config import IceConfig
from ice.events import State
from ice.roles import Role
from tests.ice.trip import Peer, add_stun_server, connect, mirrored
from tests.simulation import LinkProfile, NatBehaviour, World

links = st.builds(
    LinkProfile,
    latency=st.sampled_from([0.0, 0.001, 0.03, 0.2]),
    jitter=st.sampled_from([0.0, 0.02]),
    loss=st.sampled_from([0.0, 0.1, 0.3, 0.6]),
    duplication=st.sampled_from([0.0, 0.2]),
    reordering=st.sampled_from([0.0, 0.3]),
)
homes = st.sampled_from([None, NatBehaviour.port_restricted_cone(), NatBehaviour.restricted_cone()])
roles = st.sampled_from([Role.CONTROLLING, Role.CONTROLLED])
USABLE = (State.CONNECTED, State.COMPLETED, State.DISCONNECTED)


def agree(a: Peer, b: Peer) -> bool:
    return a.state.is_over or b.state.is_over or mirrored(a.machine.selected_pair, b.machine.selected_pair)


@given(
    seed=st.integers(0, 2**16),
    link=links,
    nats=st.tuples(homes, homes),
    a_role=roles,
    b_role=roles,
    signalling=st.tuples(st.sampled_from([0.0, 0.02, 1.5]), st.sampled_from([0.0, 0.3])),
    families=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_they_connect_and_agree_or_fail_with_a_reason(
    seed: int,
    link: LinkProfile,
    nats: tuple[NatBehaviour | None, NatBehaviour | None],
    a_role: Role,
    b_role: Role,
    signalling: tuple[float, float],
    families: bool,
) -> None:
    world = World(seed=seed)
    server = add_stun_server(world)
    peers = []
    for number, (nat, role, delay) in enumerate(zip(nats, (a_role, b_role), signalling, strict=True), 1):
        if nat is None:
            addresses = [f"203.0.113.{number}", f"2001:db8::{number}"] if families else [f"203.0.113.{number}"]
            host = world.host(f"peer{number}", world.internet, *addresses, link=link)
        else:
            inside = world.nat(nat, f"198.51.100.{number}", name=f"nat{number}").inside
            host = world.host(f"peer{number}", inside, f"192.168.{number}.2", link=link)
        peers.append(Peer(host, role, IceConfig(), seed=seed + number, signalling=delay))
    a, b = peers
    connect(a, b, server)
    settled_at = world.now
    for peer in peers:
        assert peer.state in USABLE or peer.state is State.FAILED
        assert (peer.machine.failure_reason is not None) == (peer.state is State.FAILED)
    # The answer to a nomination may be lost: one side follows, and the other does not know. They find each other.
    world.run(until=world.now + 60.0, stop=lambda: agree(a, b))
    if a.state in USABLE and b.state in USABLE:
        assert mirrored(a.machine.selected_pair, b.machine.selected_pair)
        assert a.machine.role is b.machine.role.other
    if link.loss == 0.0 or (link.loss <= 0.1 and nats == (None, None)):  # Behind a NAT the STUN server counts too.
        assert a.state in USABLE
        assert b.state in USABLE
    assert a.sent + b.sent < 400 + 20 * (world.now - settled_at)
