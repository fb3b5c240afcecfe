"""Sessions that move: from a relay to a direct pair, to a faster one, off a dead one; and those that may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig
from ice.description import Description
from ice.events import PairSelected, RestartReason, RestartWanted, State
from ice.life_config import FailoverConfig, UpgradeConfig
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.message import MessageClass, parse
from tests.ice.aggressor import THEIR_KEY
from tests.ice.builders import request
from tests.ice.stepper import A, B, Side, Wire

RELAY = TransportAddress("203.0.113.99", 5000)
"""A base of the second side that the first one is told to be a relayed candidate."""
A2 = TransportAddress("192.0.2.7", 1007)

Options = tuple[str, ...]
OURS: Options = ("trickle", "ice2", "renomination")


class Stage:
    """Two sides; B has a direct and a "relayed" address, and may say that it knows other options than it does."""

    def __init__(
        self,
        *,
        roles: tuple[Role, Role] = (Role.CONTROLLING, Role.CONTROLLED),
        options: Options = OURS,
        config: IceConfig | None = None,
        a_bases: tuple[TransportAddress, ...] = (A,),
        relay: bool = True,
        delay: float = 0.01,
    ) -> None:
        theirs = IceConfig(upgrade=UpgradeConfig(renomination="renomination" in options))
        self.a = Side(roles[0], *a_bases, config=config or IceConfig())
        self.b = Side(roles[1], B, RELAY, seed=2, config=config or theirs)
        self.wire = Wire(self.a, self.b, delay=delay)
        self.direct = False
        self.broken: set[TransportAddress] = set()
        self.wire.passes = self._passes
        a, b = self.a.agent, self.b.agent
        ours = a.local_description
        b.set_remote_description(replace(ours, options=OURS if "renomination" in options else ("trickle",)), 0.0)
        a.set_remote_description(replace(b.local_description, options=options), 0.0)
        for candidate in self.a.candidates:
            b.add_remote_candidate(candidate, 0.0)
        for candidate in self.b.candidates:
            a.add_remote_candidate(relayed(candidate) if relay and candidate.base == RELAY else candidate, 0.0)
        a.end_of_remote_candidates(0.0)
        b.end_of_remote_candidates(0.0)

    def _passes(self, data: bytes, path: FiveTuple) -> bool:
        ends = {path.local, path.remote}
        return (self.direct or B not in ends) and not ends & self.broken

    def run(self, until: float) -> None:
        self.wire.run(until=until)

    @property
    def path(self) -> FiveTuple | None:
        return self.a.agent.selected_path

    @property
    def agrees(self) -> bool:
        a, b = self.a.agent.selected_path, self.b.agent.selected_path
        return a is not None and b is not None and a == FiveTuple(b.remote, b.local)

    def wanted(self) -> list[RestartReason]:
        return [event.reason for side in (self.a, self.b) for event in side.of_type(RestartWanted)]


def relayed(candidate: Candidate) -> Candidate:
    return replace(candidate, type=CandidateType.RELAYED, priority=1000, base=None)


def nominations(stage: Stage) -> list[tuple[TransportAddress, int | None]]:
    found: dict[bytes, tuple[TransportAddress, int | None]] = {}
    for _, message, path in stage.wire.log:
        if message.message_class is MessageClass.REQUEST and att.USE_CANDIDATE in message:
            found[message.transaction_id] = (path.remote, message.get(att.NOMINATION))
    return list(found.values())


# -- up: from a relay to a direct pair --


def test_a_session_on_a_relay_moves_to_the_direct_pair_once_that_works() -> None:
    stage = Stage()
    stage.run(10.0)
    assert stage.path == FiveTuple(A, RELAY)
    stage.direct = True
    stage.run(20.0)
    assert stage.path == FiveTuple(A, B)
    assert stage.agrees
    assert nominations(stage) == [(B, 1), (RELAY, 2), (B, 3)], "the first is never answered"
    assert stage.wanted() == []
    # Both paths are accepted, before and after.
    for remote in (RELAY, B):
        assert stage.a.agent.is_valid_path(A, remote)
    assert {change.new for change in stage.a.events if hasattr(change, "new")} == {State.CHECKING, State.COMPLETED}


def test_the_other_side_follows_a_nomination_of_lower_priority_when_it_is_later() -> None:
    stage = Stage(relay=False)
    stage.direct = True
    stage.run(20.0)
    first = stage.path
    assert first is not None
    stage.broken.add(first.remote)
    stage.a.agent.set_traffic(busy(stage))
    stage.run(35.0)
    assert stage.path is not None
    assert stage.path.remote == ({B, RELAY} - {first.remote}).pop()
    assert stage.agrees
    assert [number for _, number in nominations(stage)] == [1, 2]


def test_rechecks_are_few_ever_slower_and_end() -> None:
    stage = Stage()
    stage.run(2000.0)
    assert stage.path == FiveTuple(A, RELAY)
    asked = [at for at, message, path in stage.wire.log if path == FiveTuple(A, B) and message.message_class == 0]
    first = UpgradeConfig()
    assert len(asked) <= 7 + first.rechecks * first.check_sends
    late = [at for at in asked if at > 60.0]
    assert all(later - earlier > 30.0 for earlier, later in zip(late[::2], late[2::2], strict=False))
    assert max(asked) < 700.0


def test_towards_rfc_5245_a_second_nomination_of_higher_priority_moves_up() -> None:
    stage = Stage(options=("trickle",))
    stage.run(10.0)
    stage.direct = True
    stage.run(20.0)
    assert stage.path == FiveTuple(A, B)
    assert stage.agrees
    assert nominations(stage) == [(RELAY, None), (B, None)]


def test_towards_plain_rfc_8445_a_restart_is_asked_for_and_no_second_nomination_made() -> None:
    stage = Stage(options=("trickle", "ice2"))
    stage.run(10.0)
    stage.direct = True
    stage.run(20.0)
    assert stage.path == FiveTuple(A, RELAY)
    assert nominations(stage) == [(RELAY, None)]
    assert stage.wanted() == [RestartReason.BETTER_PATH]
    stage.run(2000.0)
    assert len(stage.wanted()) == UpgradeConfig().max_restarts, "not for ever"


def test_the_controlled_side_waits_for_the_other_to_move_before_it_asks() -> None:
    stage = Stage(roles=(Role.CONTROLLED, Role.CONTROLLING), options=("trickle", "ice2"))
    stage.run(10.0)
    assert stage.path == FiveTuple(A, RELAY)
    stage.direct = True
    stage.run(11.0)
    began = stage.wire.now
    while not stage.wanted() and stage.wire.now < 60.0:
        stage.run(stage.wire.now + 0.5)
    assert stage.wanted() == [RestartReason.BETTER_PATH]
    assert stage.wire.now - began >= UpgradeConfig().peer_patience - 1.0


def test_a_late_address_of_the_peer_is_moved_to() -> None:
    stage = Stage()
    stage.run(5.0)
    assert stage.path == FiveTuple(A, RELAY)
    stage.b.agent.add_local_base(A2, stage.wire.now)
    stage.run(9.0)
    assert stage.path == FiveTuple(A, A2), "its checks revealed it"
    assert stage.agrees


def test_switched_off_the_session_stays_where_it_is() -> None:
    config = IceConfig(upgrade=UpgradeConfig(enabled=False))
    stage = Stage(config=config)
    stage.run(10.0)
    stage.direct = True
    sent = len([1 for _, _, path in stage.wire.log if B in path[:2]])
    stage.run(120.0)
    assert stage.path == FiveTuple(A, RELAY)
    assert len([1 for _, _, path in stage.wire.log if B in path[:2]]) == sent


# -- aside: to a faster pair of the same kind --


def test_a_clearly_faster_pair_takes_over_and_a_little_faster_one_does_not() -> None:
    for slow, moves in ((0.2, True), (0.015, False)):
        stage = Stage(relay=False)
        stage.direct = True
        delays = {B: 0.01, RELAY: 0.01}
        stage.run(5.0)
        first = stage.path
        assert first is not None
        delays[first.remote] = slow
        slow_down(stage, delays)
        stage.run(120.0)
        assert stage.path is not None
        assert (stage.path.remote != first.remote) is moves
        assert stage.agrees
        if moves:
            assert len(stage.a.of_type(PairSelected)) == 2, "and it stays there"


def slow_down(stage: Stage, delays: dict[TransportAddress, float]) -> None:
    """Let each datagram take the time of its address on the second side."""
    wire = stage.wire
    passes = wire.passes

    def timed(data: bytes, path: FiveTuple) -> bool:
        wire.delay = next(delays[end] for end in path[:2] if end in delays)
        return passes(data, path)

    wire.passes = timed


# -- off a dead pair --


def busy(stage: Stage) -> Callable[[], tuple[int, int]]:
    """The counters of a side that sends all the time, and hears what the other sends if the path carries it."""

    def traffic() -> tuple[int, int]:
        path = stage.path
        works = path is not None and not {path.local, path.remote} & stage.broken
        heard.append(works)
        return sum(heard), int(stage.wire.now * 1000)

    heard: list[bool] = []
    return traffic


def test_a_dead_pair_under_load_is_left_long_before_consent_ends() -> None:
    stage = Stage()
    stage.direct = True
    stage.a.agent.set_traffic(busy(stage))
    stage.run(30.0)
    assert stage.path == FiveTuple(A, B)
    stage.broken.add(B)
    stage.run(45.0)
    assert stage.path == FiveTuple(A, RELAY)
    assert stage.agrees
    moved = [at for at, message, _ in stage.wire.log if message.get(att.NOMINATION) == 2]
    config = FailoverConfig()
    worst = config.sample_interval * 2 + config.silence_after + (config.probes + 1) * config.probe_interval
    consent = IceConfig().consent_interval * 1.2  # An idle look comes with the consent checks.
    assert moved[0] - 30.0 <= worst + consent
    probes = [at for at, message, path in stage.wire.log if at > 30.0 and path == FiveTuple(A, B)]
    assert len(probes) <= config.probes + 7, "probes, consent checks, and the old pair as a spare one"


def test_an_idle_pair_that_died_is_left_when_its_checks_go_unanswered() -> None:
    stage = Stage()
    stage.direct = True
    stage.run(30.0)
    stage.broken.add(B)
    stage.run(48.0)
    assert stage.path == FiveTuple(A, RELAY)
    assert stage.agrees
    assert State.DISCONNECTED in {event.new for event in stage.a.events if hasattr(event, "new")}
    assert stage.a.agent.state is State.COMPLETED


def test_without_another_pair_a_restart_is_asked_for_and_consent_ends_the_session() -> None:
    stage = Stage()
    stage.direct = True
    stage.a.agent.set_traffic(busy(stage))
    stage.run(30.0)
    stage.broken |= {B, RELAY}
    stage.run(45.0)
    assert stage.a.agent.state is State.DISCONNECTED
    assert RestartReason.PATH_DEAD in stage.wanted()
    stage.run(70.0)
    assert stage.a.agent.state is State.FAILED


def test_towards_rfc_8445_a_dead_pair_is_not_left_without_a_restart() -> None:
    stage = Stage(options=("trickle", "ice2"))
    stage.direct = True
    stage.a.agent.set_traffic(busy(stage))
    stage.run(30.0)
    stage.broken.add(B)
    stage.run(45.0)
    assert stage.path == FiveTuple(A, B)
    assert RestartReason.PATH_DEAD in stage.wanted()
    assert len(nominations(stage)) == 1


def test_data_heard_counts_as_life_and_costs_no_probe() -> None:
    stage = Stage()
    stage.direct = True
    stage.a.agent.set_traffic(busy(stage))
    stage.run(300.0)
    asked = [at for at, m, path in stage.wire.log if path == FiveTuple(A, B) and m.message_class == 0]
    assert 50 <= len(asked) <= 90, "consent checks and no more"


def test_sending_without_hearing_is_probed_and_lives_when_probes_are_answered() -> None:
    stage = Stage()
    stage.direct = True
    stage.a.agent.set_traffic(lambda: (0, int(stage.wire.now * 1000)))
    stage.run(300.0)
    assert stage.path == FiveTuple(A, B)
    assert State.DISCONNECTED not in {event.new for event in stage.a.events if hasattr(event, "new")}
    asked = [at for at, m, path in stage.wire.log if path == FiveTuple(A, B) and m.message_class == 0]
    assert len(asked) <= 300.0 / FailoverConfig().silence_after + 80


# -- what a peer sends --


def numbered(side: Side, number: int | None, use: bool, source: TransportAddress, now: float) -> None:
    local = side.agent.local_description
    extra: list[tuple[att.Attribute, object]] = [(att.USE_CANDIDATE, True)] if use else []
    if number is not None:
        extra.append((att.NOMINATION, number))
    data = request(f"{local.ufrag}:theirs", local.pwd, *extra, transaction_id=f"{now:012.4f}".encode()[:12])
    side.agent.receive_datagram(data, FiveTuple(B, source), now)


def answer_all(side: Side, now: float) -> None:
    while (sent := side.agent.next_effect()) is not None:
        message = parse(sent.data)
        if message.message_class is MessageClass.REQUEST:
            response = message.success((att.XOR_MAPPED_ADDRESS, sent.path.local))
            side.agent.receive_datagram(response.serialize(THEIR_KEY, True), sent.path, now)


@pytest.mark.parametrize("use", [False, True])
def test_nominations_with_numbers_are_followed_in_their_order(use: bool) -> None:
    # libwebrtc sends NOMINATION alone; others send both.
    side = Side(Role.CONTROLLED, B)
    side.agent.set_remote_description(
        Description("theirs", "their-password-their-password", options=("renomination",)), 0.0
    )
    first, second = TransportAddress("192.0.2.1", 1), TransportAddress("192.0.2.1", 2)

    def selected() -> TransportAddress | None:
        path = side.agent.selected_path
        return None if path is None else path.remote

    numbered(side, 1, use, first, 0.0)
    answer_all(side, 0.0)
    assert selected() == first
    numbered(side, 2, use, second, 1.0)
    answer_all(side, 1.0)
    assert selected() == second
    numbered(side, 1, use, first, 2.0)  # Late news.
    answer_all(side, 2.0)
    assert selected() == second
    numbered(side, 3, use, first, 3.0)
    answer_all(side, 3.0)
    assert selected() == first


def test_a_late_nomination_of_a_pair_that_answered_long_ago_is_checked_first() -> None:
    # RFC 7675 section 5.1: consent begins with an answer, not with the peer's wish.
    stage = Stage(roles=(Role.CONTROLLED, Role.CONTROLLING), config=IceConfig(), relay=False)
    stage.wire.passes = lambda data, path: att.USE_CANDIDATE not in parse(data) or stage.wire.now > 31.0
    stage.run(36.0)
    assert stage.agrees
    assert stage.a.agent.state is State.COMPLETED
