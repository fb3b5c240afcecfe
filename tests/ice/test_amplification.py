"""What a peer that knows the credentials can make us send to addresses of others."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig
from ice.description import Description
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.message import MessageClass, parse
from tests.ice.builders import request
from tests.ice.stepper import B, Side

THEIRS = Description("thrs", "p" * 22)
VICTIM = TransportAddress("203.0.113.66", 53)


class Attack:
    """A peer that forges the sources of its checks, and counts what comes out of us."""

    def __init__(self, role: Role = Role.CONTROLLED, config: IceConfig | None = None) -> None:
        self.side = Side(role, B, config=config)
        self.side.agent.set_remote_description(THEIRS, 0.0)
        self.spent = 0
        self.sent: Counter[TransportAddress] = Counter()
        self.requests: Counter[TransportAddress] = Counter()
        self.count = 0

    def check(self, source: TransportAddress, now: float, *, use: bool = False, least: bool = True) -> None:
        self.count += 1
        local = self.side.agent.local_description
        extra: list[tuple[att.Attribute, object]] = [(att.USE_CANDIDATE, True)] if use else []
        data = request(
            f"{local.ufrag}:{THEIRS.ufrag}",
            local.pwd,
            *extra,
            role=None if least else (att.ICE_CONTROLLING, 7),
            transaction_id=self.count.to_bytes(12, "big"),
        )
        self.spent += len(data)
        self.side.agent.receive_datagram(data, FiveTuple(B, source), now)
        self.drain()

    def pass_time(self, until: float) -> None:
        while (deadline := self.side.agent.next_timeout()) is not None and deadline.at <= until:
            self.side.agent.handle_timeout(deadline.at)
            self.drain()

    def drain(self) -> None:
        while (effect := self.side.agent.next_effect()) is not None:
            self.sent[effect.path.remote] += len(effect.data)
            self.requests[effect.path.remote] += parse(effect.data).message_class is MessageClass.REQUEST


def test_a_forged_source_gets_no_more_than_three_times_what_was_sent_in_its_name() -> None:
    attack = Attack()
    attack.check(VICTIM, 0.0)
    attack.pass_time(100.0)
    assert attack.requests[VICTIM] >= 1, "the check is answered with one of ours"
    assert attack.sent[VICTIM] <= 3 * attack.spent


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(Role)),
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.05, 0.5, 2.0]), st.booleans(), st.booleans()), max_size=30),
)
def test_in_whatever_rhythm_it_comes(role: Role, checks: list[tuple[float, bool, bool]]) -> None:
    attack = Attack(role)
    now = 0.0
    for pause, use, least in checks:
        now += pause
        attack.pass_time(now)
        attack.check(VICTIM, now, use=use, least=least)
        assert attack.sent[VICTIM] <= 3 * attack.spent
    attack.pass_time(now + 100.0)
    assert attack.sent[VICTIM] <= 3 * attack.spent


def test_after_a_selection_too() -> None:
    attack = Attack()
    friend = TransportAddress("192.0.2.1", 1)
    local = attack.side.agent.local_description
    data = request(f"{local.ufrag}:{THEIRS.ufrag}", local.pwd, (att.USE_CANDIDATE, True))
    attack.side.agent.receive_datagram(data, FiveTuple(B, friend), 0.0)
    while (effect := attack.side.agent.next_effect()) is not None:
        message = parse(effect.data)
        if message.message_class is MessageClass.REQUEST:
            response = message.success((att.XOR_MAPPED_ADDRESS, B)).serialize(short_term_key(THEIRS.pwd), True)
            attack.side.agent.receive_datagram(response, effect.path, 0.0)
    assert attack.side.agent.selected_path == FiveTuple(B, friend)
    for number in range(5):
        attack.check(VICTIM, 0.1 * number)
    attack.pass_time(25.0)
    assert attack.sent[VICTIM] <= 3 * attack.spent


def test_requests_without_credentials_gain_nothing_either() -> None:
    attack = Attack()
    for username, pwd in ((None, None), ("x:y", None), ("x:y", "p" * 22)):
        data = request(username, pwd, priority=None, role=None)
        before = attack.sent[VICTIM]
        attack.side.agent.receive_datagram(data, FiveTuple(B, VICTIM), 0.0)
        attack.drain()
        assert attack.sent[VICTIM] - before <= 3 * len(data)


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "0.1.2.3"])
def test_what_the_policy_forbids_is_never_asked(address: str) -> None:
    config = IceConfig(excluded_networks=["10.0.0.0/8"])
    attack = Attack(config=config)
    candidate = Candidate.from_sdp(f"1 1 udp 5 {address} 80 typ host")
    attack.side.agent.add_remote_candidate(candidate, 0.0)
    attack.side.agent.restart(0.0)
    attack.side.agent.set_remote_description(Description("more", "p" * 22), 0.0)
    attack.side.agent.add_remote_candidate(candidate, 0.0)
    attack.pass_time(100.0)
    assert not attack.requests


def test_a_source_in_an_excluded_network_is_answered_and_not_asked() -> None:
    attack = Attack(config=IceConfig(excluded_networks=["203.0.113.0/24"]))
    for number in range(5):
        attack.check(VICTIM, number * 0.1, use=True)
    attack.pass_time(100.0)
    assert attack.requests[VICTIM] == 0
    assert attack.side.agent.selected_path is None


def test_where_only_the_port_is_news_checks_go_on_as_for_signalled_candidates() -> None:
    attack = Attack()
    told = Candidate("1", 1, "udp", 1694498815, VICTIM._replace(port=54), CandidateType.SERVER_REFLEXIVE)
    attack.side.agent.add_remote_candidate(told, 0.0)
    attack.pass_time(0.0)
    attack.check(VICTIM, 0.0)
    attack.pass_time(100.0)
    assert attack.requests[VICTIM] == attack.requests[told.address] == IceConfig().max_sends


def test_a_candidate_that_only_a_check_has_named_vouches_for_no_other() -> None:
    attack = Attack()
    attack.check(VICTIM._replace(port=54), 0.0)
    attack.check(VICTIM, 0.0)
    attack.pass_time(100.0)
    assert sum(attack.sent.values()) <= 3 * attack.spent
