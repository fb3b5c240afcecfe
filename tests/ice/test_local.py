from __future__ import annotations

from dataclasses import replace

from ice.candidate import Base, Candidate, CandidateType, NamedAddress
from ice.config import IceConfig
from ice.local import LocalCandidates
from ice.priority import peer_reflexive_priority
from ice.relay import RelayTarget
from stun.address import TransportAddress, TransportProtocol
from tests.ice.builders import address

SERVER = TransportAddress("203.0.113.1", 3478)
SIX = TransportAddress("2001:db8::1", 1000)
MAPPED = TransportAddress("198.51.100.7", 40000)


def candidates(*bases: TransportAddress, **settings: object) -> LocalCandidates:
    local = LocalCandidates(IceConfig(**settings))  # type: ignore[arg-type]
    for base in bases:
        local.add_base(Base(base))
    return local


def test_hosts_are_ranked_together_and_come_best_first() -> None:
    local = candidates(address(1), address(2), SIX)
    hosts = local.make_hosts()
    assert [host.address for host in hosts] == [SIX, address(1), address(2)]
    assert hosts[0].priority == 2130706431
    assert sorted((host.priority for host in hosts), reverse=True) == [host.priority for host in hosts]
    assert local.make_hosts() == []


def test_later_bases_rank_below_earlier_ones() -> None:
    local = candidates(address(1))
    [first] = local.make_hosts()
    local.add_base(Base(address(2)))
    [second] = local.make_hosts()
    assert second.priority < first.priority
    assert list(local.hosts) == [Base(address(1)), Base(address(2))]


def test_foundations_follow_type_base_host_and_server() -> None:
    # RFC 8445 section 5.1.1.3
    local = candidates(address(1, 10), address(1, 11), address(2, 10))
    foundations = {host.address: host.foundation for host in local.make_hosts()}
    assert foundations[address(1, 10)] == foundations[address(1, 11)] != foundations[address(2, 10)]
    one = local.add_reflexive(Base(address(1, 10)), MAPPED, SERVER)
    same = local.add_reflexive(Base(address(1, 11)), MAPPED._replace(port=2), SERVER)
    other = local.add_reflexive(Base(address(1, 10)), MAPPED._replace(port=3), TransportAddress("203.0.113.2", 3478))
    assert one is not None
    assert same is not None
    assert other is not None
    assert one.foundation == same.foundation != other.foundation
    assert one.foundation not in foundations.values()


def test_redundant_reflexive_candidates_are_dropped() -> None:
    local = candidates(address(1), address(2))
    local.make_hosts()
    assert local.add_reflexive(Base(address(1)), address(1), SERVER) is None
    assert local.add_reflexive(Base(address(1)), MAPPED, SERVER) is not None
    assert local.add_reflexive(Base(address(1)), MAPPED, TransportAddress("203.0.113.2", 3478)) is None
    assert local.add_reflexive(Base(address(2)), MAPPED, SERVER) is not None  # Another base: not redundant.


def test_priorities_are_unique() -> None:
    local = candidates(address(1), address(2))
    found = local.make_hosts()
    for base in (address(1), address(2)):
        for port in range(20):
            candidate = local.add_reflexive(Base(base), MAPPED._replace(port=port + 1), SERVER)
            assert candidate is not None
            found.append(candidate)
    assert len({candidate.priority for candidate in found}) == len(found)


def test_a_mapped_address_is_found_or_learned() -> None:
    # RFC 8445 section 7.2.5.3.1
    local = candidates(address(1), max_peer_reflexive=1)
    [host] = local.make_hosts()
    reflexive = local.add_reflexive(Base(address(1)), MAPPED, SERVER)
    assert local.at(Base(address(1)), address(1), host) is host
    assert local.at(Base(address(1)), MAPPED, host) is reflexive
    learned = local.at(Base(address(1)), MAPPED._replace(port=9), host)
    assert learned.type is CandidateType.PEER_REFLEXIVE
    assert learned.priority == peer_reflexive_priority(host.priority)
    assert learned.base == address(1)
    assert local.at(Base(address(1)), MAPPED._replace(port=9), host) is learned
    assert local.at(Base(address(1)), MAPPED._replace(port=10), host) is host  # Beyond the limit.


def test_hidden_host_addresses_do_not_show_in_related_addresses() -> None:
    local = candidates(address(1), SIX, announce_host_candidates=False)
    local.make_hosts()
    four = local.add_reflexive(Base(address(1)), MAPPED, SERVER)
    six = local.add_reflexive(Base(SIX), TransportAddress("2001:db8:2::2", 7), SERVER)
    assert four is not None
    assert six is not None
    assert "raddr 0.0.0.0 rport 9" in four.to_sdp()
    assert "raddr :: rport 9" in six.to_sdp()


def test_sessions_at_one_port_share_what_is_made_of_its_bases() -> None:
    one, two, other = candidates(address(1)), candidates(address(1)), candidates(address(2))
    for local in (one, two, other):
        local.make_hosts()
    assert one.own is two.own
    assert one.bases is two.bases
    assert one.own != other.own
    one.add_relayed(MAPPED, MAPPED, RelayTarget(SERVER, TransportProtocol.UDP))
    assert list(one.own) == [Base(address(1)), Base(MAPPED)]
    assert list(two.own) == [Base(address(1))]
    one.drop_relayed(Base(MAPPED))
    assert one.own is two.own
    one.drop_base(Base(address(1)))
    assert not one.own
    assert not one.bases
    assert two.own
    assert two.bases


def test_candidates_with_names_are_no_other_sessions() -> None:
    def named(name: str) -> LocalCandidates:
        local = LocalCandidates(IceConfig(), lambda base: NamedAddress(name, base.port))
        local.add_base(Base(address(1)))
        local.make_hosts()
        return local

    one, two = named("one.local"), named("two.local")
    assert [ours.alias for ours in one.own.values()] == [NamedAddress("one.local", 1000)]
    assert [ours.alias for ours in two.own.values()] == [NamedAddress("two.local", 1000)]


# -- which of the peer's hosts relays let in --

PEER = TransportAddress("203.0.113.5", 5000)


def with_two_relays() -> tuple[LocalCandidates, Candidate, Candidate]:
    candidates = LocalCandidates(IceConfig())
    target = RelayTarget(TransportAddress("198.51.100.1", 3478), TransportProtocol.UDP)
    better, lesser = (
        candidates.add_relayed(TransportAddress("198.51.100.1", port), address(1), target)[0] for port in (5000, 6000)
    )
    assert better.priority > lesser.priority
    return candidates, better, lesser


def test_a_better_relay_is_awaited_from_the_asking_to_the_answer() -> None:
    candidates, better, lesser = with_two_relays()
    base = Base(better.address)
    assert not candidates.awaits_better_relay(lesser, PEER)
    for answer in (candidates.forbid, candidates.permit):
        candidates.ask(base, PEER.host)
        assert candidates.awaits_better_relay(lesser, PEER)
        assert not candidates.awaits_better_relay(better, PEER)
        assert not candidates.awaits_better_relay(lesser, PEER._replace(host="203.0.113.6"))
        answer(base, PEER.host)
        assert not candidates.awaits_better_relay(lesser, PEER)
    assert candidates.is_let_in(better, PEER)
    candidates.ask(base, PEER.host)
    assert not candidates.awaits_better_relay(lesser, PEER), "it lets the peer in already"
    candidates.forbid(base, PEER.host)
    assert not candidates.is_let_in(better, PEER), "its renewal is refused"


def test_a_lesser_relay_and_one_of_another_transport_are_not_awaited() -> None:
    candidates, better, lesser = with_two_relays()
    candidates.ask(Base(lesser.address), PEER.host)
    assert not candidates.awaits_better_relay(better, PEER)
    candidates.ask(Base(better.address), PEER.host)
    assert not candidates.awaits_better_relay(replace(lesser, transport="tcp"), PEER)
    host = replace(lesser, type=CandidateType.HOST)
    assert not candidates.awaits_better_relay(host, PEER)


def test_what_a_relay_was_asked_is_forgotten_with_it() -> None:
    candidates, better, lesser = with_two_relays()
    base = Base(better.address)
    for forget in (candidates.forget_permissions, candidates.drop_relayed):
        candidates.ask(base, PEER.host)
        forget(base)
        assert not candidates.awaits_better_relay(lesser, PEER)
    candidates.add_relayed(better.address, address(1), RelayTarget(PEER, TransportProtocol.UDP))
    assert not candidates.awaits_better_relay(lesser, PEER)
    candidates.ask(base, PEER.host)
    assert candidates.awaits_better_relay(lesser, PEER)


def test_a_relay_lets_a_host_in_or_those_of_its_ports_that_channels_lead_to() -> None:
    candidates, better, lesser = with_two_relays()
    base = Base(better.address)
    other = PEER._replace(port=PEER.port + 1)
    candidates.permit(base, PEER.host)
    assert all(candidates.is_let_in(better, address) for address in (PEER, other))
    assert not candidates.is_let_in(lesser, PEER)
    candidates.forbid(base, PEER.host)
    candidates.permit(base, PEER.host, PEER.port)
    assert candidates.is_let_in(better, PEER)
    assert not candidates.is_let_in(better, other)
    candidates.forbid(base, PEER.host, other.port)
    assert candidates.is_let_in(better, PEER)
    candidates.ask(base, PEER.host)
    candidates.forbid(base, PEER.host, PEER.port)
    assert not candidates.is_let_in(better, PEER)
    assert candidates.awaits_better_relay(lesser, PEER), "what is lost is a channel; the server has yet to answer"
    candidates.forbid(base, PEER.host)
    assert not candidates.awaits_better_relay(lesser, PEER)
