"""Whatever becomes of the messages that connect two agents: both use one pair, though the best is nominated ahead."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ice.config import IceConfig
from ice.events import PairSelected, State
from ice.life_config import UpgradeConfig
from ice.roles import Role
from stun.address import FiveTuple, TransportAddress
from tests.ice.stepper import A, B, Side, Wire, exchange

A2 = TransportAddress("192.0.2.7", 1007)
B2 = TransportAddress("198.51.100.7", 2007)
DELAYS = st.lists(st.sampled_from([0.0, 0.01, 0.07, 0.12, 0.3]), max_size=40)
"""How long the first datagrams of a session take, in their order; all others take 10 ms."""
LOSSES = st.frozensets(st.integers(0, 30), max_size=4)
"""Which are lost. Four can cost one request 7.5 s, and no check fails of it."""
CONSENT_BEGINS = 4.0
"""Seconds. What is lost later than that makes a path that was found look dead, which is another matter."""
SOON = 9.0


def disturb(wire: Wire, delays: list[float], losses: frozenset[int]) -> None:
    left, number = iter(delays), iter(range(10**6))

    def passes(data: bytes, path: FiveTuple) -> bool:
        wire.delay = next(left, 0.01)
        return wire.now >= CONSENT_BEGINS or next(number) not in losses

    wire.passes = passes


@settings(max_examples=80, deadline=None)
@given(
    delays=DELAYS,
    losses=LOSSES,
    roles=st.tuples(st.sampled_from(Role), st.sampled_from(Role)),
    bases=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    renominates=st.booleans(),
    seed=st.integers(0, 2**16),
)
@example(
    [0.12], frozenset({2, 5, 6}), (Role.CONTROLLED, Role.CONTROLLED), (1, 1), False, 2
)  # A 487 after a nomination.
def test_both_ends_use_one_pair_and_stay_there(
    delays: list[float],
    losses: frozenset[int],
    roles: tuple[Role, Role],
    bases: tuple[int, int],
    renominates: bool,
    seed: int,
) -> None:
    # The delays are no property of a pair here, so none is to be moved to for them.
    config = IceConfig(upgrade=UpgradeConfig(renomination=renominates, round_trip_samples=0))
    a = Side(roles[0], *(A, A2)[: bases[0]], seed=seed, config=config)
    b = Side(roles[1], *(B, B2)[: bases[1]], seed=seed + 1, config=config)
    wire = Wire(a, b)
    disturb(wire, delays, losses)
    exchange(a, b)
    wire.run(until=SOON)
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)
    assert a.agent.role is b.agent.role.other
    ours, theirs = a.agent.selected_path, b.agent.selected_path
    assert ours is not None
    assert theirs == FiveTuple(ours.remote, ours.local)
    for side in (a, b):
        assert len(side.of_type(PairSelected)) <= 2, "one, and another if that was nominated since"
    wire.run(until=60.0)
    assert (a.agent.selected_path, b.agent.selected_path) == (ours, theirs)
    first, second = (side.agent._generations.current.checking.moving for side in (a, b))
    assert first.number == second.number
