"""The connection of a nominated pair breaks before the nomination is answered, in the simulated world."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import State
from ice.life_config import UpgradeConfig
from ice.tcp_config import TcpConfig
from stun import attributes as att
from stun.message import MessageClass, parse
from tests.ice.tcp_trip import ACTIVE, PASSIVE, Kinds, TcpPeer, is_connected, lose_connections, two_hosts
from tests.simulation.nat import Packet, Segment
from tests.simulation.realm import Fate
from tests.simulation.world import World

AGAIN = UpgradeConfig().recheck_after
TRIP = 0.04
"""The round trip between the hosts."""


class Stage:
    """Two agents over TCP alone; ``breaks`` connections of those that the controlling one nominates break."""

    def __init__(self, kinds_a: Kinds, kinds_b: Kinds, *, renomination: bool = True, breaks: int = 1) -> None:
        self.world = World()
        config = IceConfig(upgrade=UpgradeConfig(renomination=renomination))
        self.a, self.b = two_hosts(self.world, kinds_a, kinds_b, config)
        self.breaks = breaks
        self.nominations: list[tuple[float, int, int | None]] = []
        """When each was sent, to which of the peer's ports, and its number."""
        self.world.observers.append(self._observe)
        self.a.start(self.b, ())
        self.b.start(self.a, ())

    def _observe(self, now: float, packet: Packet, fate: Fate) -> None:
        if fate is not Fate.SENT or packet.segment is not Segment.DATA:
            return
        message = parse(packet.data)
        if message.message_class is MessageClass.REQUEST and att.USE_CANDIDATE in message:
            self.nominations.append((now, packet.destination.port, message.get(att.NOMINATION)))
            if self.breaks:
                self.breaks -= 1
                self.world.at(now, lambda: lose_connections(self.a, self.b, of=packet))

    def run(self, until: float) -> None:
        self.world.run(until=until)


def dialled(peer: TcpPeer) -> list[float]:
    return [at for at, _ in peer.dialled]


def test_with_renomination_another_pair_is_nominated_as_soon_as_it_is_valid() -> None:
    stage = Stage((ACTIVE, PASSIVE), (ACTIVE, PASSIVE))
    stage.run(until=1.0)
    (first, port, one), (second, other, two) = stage.nominations
    assert (port, one, two) == (6000, 1, 2)
    assert other == stage.a.machine.selected_path.remote.port != port  # type: ignore[union-attr]
    assert second - first <= TRIP, "what is left of its check, and neither the patience nor the time that a check has"
    assert is_connected(stage.a, stage.b)
    assert len(stage.a.dialled) == len(stage.b.dialled) == 1
    stage.run(until=60.0)
    assert is_connected(stage.a, stage.b)
    assert len(stage.nominations) == 2


@pytest.mark.parametrize("kinds", [((ACTIVE, PASSIVE), (ACTIVE, PASSIVE)), ((ACTIVE,), (PASSIVE,))])
def test_without_it_the_session_fails(kinds: tuple[Kinds, Kinds]) -> None:
    # RFC 8445 section 8.1.1
    stage = Stage(*kinds, renomination=False)
    stage.run(until=61.0)
    assert stage.a.machine.failure_reason is FailureReason.NOMINATION_FAILED
    assert len(stage.nominations) == 1


def test_the_only_pair_is_nominated_again_over_another_connection() -> None:
    stage = Stage((ACTIVE,), (PASSIVE,))
    stage.run(until=5.0)
    assert is_connected(stage.a, stage.b)
    (first, port, one), (second, same, two) = stage.nominations
    assert (port, one) == (same, two - 1) == (6000, 1)  # type: ignore[operator]
    # The connection and the check take a round trip each.
    assert second - first == pytest.approx(AGAIN + 2 * TRIP)
    assert [at - first for at in dialled(stage.a)[1:]] == pytest.approx([AGAIN])
    assert TcpConfig().check_timeout < 30.0
    stage.run(until=60.0)
    assert is_connected(stage.a, stage.b), "no check of the first connection counts when its time is over"
    assert len(stage.nominations) == 2


def test_it_is_nominated_at_a_pace_however_often_the_connection_breaks() -> None:
    stage = Stage((ACTIVE,), (PASSIVE,), breaks=1000)
    stage.run(until=20.0)
    assert stage.a.state is State.CHECKING
    times = [at for at, _, _ in stage.nominations]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == pytest.approx([AGAIN + 2 * TRIP] * 9)
    stage.breaks = 0
    stage.run(until=25.0)
    assert is_connected(stage.a, stage.b)


def test_a_connection_that_cannot_be_had_again_fails_its_pair() -> None:
    stage = Stage((ACTIVE,), (PASSIVE,))
    stage.world.run(until=2.0, stop=lambda: bool(stage.nominations))
    stage.b.host.tcp.listeners.clear()
    stage.run(until=41.0)
    assert len(stage.a.dialled) == 2
    assert stage.a.machine.failure_reason is FailureReason.NOMINATION_FAILED


def test_one_that_only_the_peer_opens_is_waited_for() -> None:
    stage = Stage((PASSIVE,), (ACTIVE,))
    stage.run(until=10.0)
    assert stage.a.state is State.CHECKING
    assert len(stage.nominations) == 1
    assert not stage.a.dialled
    stage.run(until=41.0)
    assert stage.a.machine.failure_reason is FailureReason.NOMINATION_FAILED


def test_what_breaks_until_the_time_is_over_was_nominated_all_the_same() -> None:
    stage = Stage((ACTIVE,), (PASSIVE,), breaks=1000)
    stage.run(until=61.0)
    assert stage.a.machine.failure_reason is FailureReason.NOMINATION_FAILED
