"""Moves from a relay to a connection that breaks before its nomination is answered, in the simulated world."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ice.candidate import Candidate, CandidateType
from ice.events import LocalCandidateFound
from ice.roles import Role
from stun import attributes as att
from stun.message import MessageClass, parse
from tests.ice.tcp_trip import ACTIVE, LINK, PASSIVE, TcpPeer, is_connected, lose_connections
from tests.ice.trip import Peer
from tests.simulation.nat import Packet, Segment
from tests.simulation.realm import Fate
from tests.simulation.world import World

LATE = 3.0
"""When the other side learns of connections; it is on the relay by then."""
TRIP = 0.04
"""The round trip between the hosts."""


class LateTcpPeer(TcpPeer):
    """Its UDP candidate is told as a relay's, those of TCP come late."""

    def pump(self) -> None:
        super(Peer, self).pump()
        if self.other is None:
            return
        while self._told < len(self.events):
            event = self.events[self._told]
            self._told += 1
            if isinstance(event, LocalCandidateFound):
                self._tell_of(event.candidate)

    def _tell_of(self, candidate: Candidate) -> None:
        other = self.other
        assert other is not None
        if candidate.transport == "tcp":
            self.signalling = LATE
        else:
            self.signalling = 0.05
            candidate = replace(candidate, type=CandidateType.RELAYED, priority=1000, base=None)
        self._tell(lambda now: other.machine.add_remote_candidate(candidate, now))


class Stage:
    """Connections to some of the peer's listeners; the first that is nominated breaks with its nomination."""

    def __init__(self, listeners: int) -> None:
        self.world = World()
        a = self.world.host("a", self.world.internet, "192.0.2.1", link=LINK)
        b = self.world.host("b", self.world.internet, "198.51.100.2", link=LINK)
        self.a = LateTcpPeer(a, Role.CONTROLLING, (ACTIVE,), udp=True)
        self.b = LateTcpPeer(b, Role.CONTROLLED, (PASSIVE,) * listeners, udp=True, seed=2)
        self.over_tcp: list[tuple[float, int]] = []
        """The nominations over TCP: when each was sent, and to which port."""
        self.over_udp: list[float] = []
        """When nominations were sent by the relay."""
        self.world.observers.append(self._observe)
        self.a.start(self.b, ())
        self.b.start(self.a, ())

    def _observe(self, now: float, packet: Packet, fate: Fate) -> None:
        if fate is not Fate.SENT or packet.segment not in (Segment.DATA, None):
            return
        message = parse(packet.data)
        if message.message_class is not MessageClass.REQUEST or att.USE_CANDIDATE not in message:
            return
        if packet.segment is None:
            self.over_udp.append(now)
            return
        self.over_tcp.append((now, packet.destination.port))
        if len(self.over_tcp) == 1:
            self.world.at(now, lambda: lose_connections(self.a, self.b, of=packet))

    def run(self, until: float) -> None:
        self.world.run(until=until)

    @property
    def is_over_tcp(self) -> bool:
        path = self.a.machine.selected_path
        return path is not None and path.protocol.is_stream


def test_another_connection_is_moved_to_at_once() -> None:
    stage = Stage(listeners=2)
    stage.run(until=2.0)
    assert is_connected(stage.a, stage.b)
    assert not stage.is_over_tcp
    stage.run(until=LATE + 1.0)
    (_, port), (second, other) = stage.over_tcp
    assert port != other
    # The connection and its check take a round trip each; a check over TCP has 15 s.
    assert second - stage.a.dialled[1][0] == pytest.approx(2 * TRIP)
    assert stage.is_over_tcp
    assert is_connected(stage.a, stage.b)
    stage.run(until=60.0)
    assert len(stage.over_tcp) == 2
    assert is_connected(stage.a, stage.b)


def test_without_another_the_pair_in_use_is_nominated_again() -> None:
    # The peer may have taken the nomination, whose answer is lost then.
    stage = Stage(listeners=1)
    stage.run(until=LATE + 1.0)
    [(broken, _)] = stage.over_tcp
    [*_, again] = stage.over_udp
    assert broken <= again <= broken + TRIP
    assert not stage.is_over_tcp
    assert is_connected(stage.a, stage.b)
    nominations = len(stage.over_udp)
    stage.run(until=60.0)
    assert len(stage.over_udp) == nominations
    assert is_connected(stage.a, stage.b)
