"""Agents with TURN servers, stepped and counted message by message: no loop, no sockets, streams fed by hand."""

from __future__ import annotations

import random

import pytest

from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig, IceTransportPolicy
from ice.errors import IceError
from ice.events import ErrorStage, GatheringCompleted, State
from ice.relay import OpenLink, RelayTarget
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Release
from stun.message import Message, MessageClass, Method
from tests.ice.builders import remote
from tests.ice.relay_stage import CONFIG, LOCAL, PEER, SERVER, Stage
from tests.turn.fake_server import data_indication
from turn.framing import encode_channel_data


def test_two_requests_make_a_candidate() -> None:
    stage = Stage()
    stage.ask()
    assert stage.requests() == {"ALLOCATE": 2}  # the challenge, and the answer to it
    [candidate] = stage.candidates
    assert candidate.type is CandidateType.RELAYED
    assert candidate.address == candidate.base == ("198.51.100.1", 50000)
    assert candidate.priority == (65535 << 8) + 255
    assert "typ relay raddr 0.0.0.0 rport 9 ufrag" in candidate.to_sdp()
    assert len(stage.of_type(GatheringCompleted)) == 1
    assert not stage.direct


def test_the_mapped_address_is_the_related_one_where_addresses_may_be_shown() -> None:
    stage = Stage(IceConfig(turn_servers=[CONFIG]))
    stage.ask()
    assert stage.candidates[0].related_address == ("192.0.2.1", 1001)
    hidden = Stage(IceConfig(turn_servers=[CONFIG], announce_host_candidates=False))
    hidden.ask()
    assert hidden.candidates[0].related_address == ("0.0.0.0", 9)


def test_permission_is_there_before_the_first_check() -> None:
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    methods = [request.method for request in stage.server.requests]
    assert methods == [Method.ALLOCATE, Method.ALLOCATE, Method.CREATE_PERMISSION]
    assert stage.server.requests[-1].get(att.XOR_PEER_ADDRESS) == ("198.51.100.7", 0)
    [check] = stage.sent_to_peer()
    assert (check.method, check.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert not stage.direct


def test_no_check_without_permission() -> None:
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.server.refuse(Method.CREATE_PERMISSION, 403)
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    stage.wait(5.0)
    assert not stage.sent_to_peer()
    assert len(stage.agent.stats().pairs) == 0
    assert stage.problems == [(403, ErrorStage.PERMISSION)]


def test_candidates_known_before_the_allocation_share_one_permission_request() -> None:
    stage = Stage()
    stage.describe()
    for number in range(1, 6):
        stage.agent.add_remote_candidate(remote(number), stage.now)
    stage.ask()
    assert stage.requests() == {"ALLOCATE": 2, "CREATE_PERMISSION": 1}
    assert len(stage.agent.stats().pairs) == 5


def test_loopback_and_another_family_are_no_peers() -> None:
    stage = Stage(IceConfig(turn_servers=[CONFIG], transport_policy=IceTransportPolicy.RELAY, include_loopback=True))
    stage.ask()
    stage.describe()
    for host in ("127.0.0.1", "2001:db8::7"):
        there = Candidate("R", 1, "udp", 5, TransportAddress(host, 9), CandidateType.HOST)
        stage.agent.add_remote_candidate(there, stage.now)
    stage.pump()
    assert stage.requests() == {"ALLOCATE": 2}
    assert not stage.problems


def test_over_a_stream() -> None:
    stage = Stage()
    stage.ask(protocol=TransportProtocol.TCP)
    [candidate] = stage.candidates
    assert candidate.transport == "udp"
    assert candidate.priority < (65535 << 8)
    [path] = stage.open
    stage.agent.relays.receive(b"", path, stage.now)
    stage.pump()
    assert stage.released == [path]
    assert stage.problems == [(701, ErrorStage.RELAYING)]


def test_a_read_of_a_stream_may_have_more_datagrams_than_wait_for_an_application() -> None:
    stage = Stage()
    stage.ask(protocol=TransportProtocol.TCP)
    [path] = stage.open
    client = stage.agent.relays.by_path[path].client
    assert client is not None
    [candidate] = stage.candidates
    stage.agent.relays.select(FiveTuple(candidate.address, PEER), stage.now)
    stage.pump()
    [channel] = [number for asked in stage.server.requests if (number := asked.get(att.CHANNEL_NUMBER))]
    small = [bytes(number % 3) for number in range(5001)]
    wire = b"".join(encode_channel_data(channel, data, padded=True) for data in small)
    stage.agent.relays.receive(wire[:6], path, stage.now)  # So that the next read begins in the middle of one.
    stage.agent.relays.receive(wire[6:], path, stage.now)
    assert stage.agent.stats().dropped["relayed: not from the peer"] == 5001
    assert client.dropped == 0


def test_a_stream_that_breaks_within_a_read_is_lost_once() -> None:
    stage = Stage()
    stage.ask(protocol=TransportProtocol.TCP)
    [path] = stage.open
    stage.agent.relays.receive(b"\xff" * 50_000, path, stage.now)
    stage.pump()
    assert stage.released == [path]
    assert stage.problems == [(701, ErrorStage.RELAYING)]


def test_datagrams_to_the_server_are_preferred_to_streams() -> None:
    found = {}
    for protocol in TransportProtocol:
        stage = Stage()
        stage.ask(protocol=protocol)
        found[protocol] = stage.candidates[0].priority
    assert sorted(found, key=found.__getitem__, reverse=True) == ["udp", "dtls", "tcp", "tls"]
    assert len(set(found.values())) == 4


def test_closing_gives_the_allocation_back_with_one_message() -> None:
    stage = Stage()
    stage.ask()
    before = len(stage.server.requests)
    stage.agent.close(stage.now)
    stage.pump()
    [refresh] = stage.server.requests[before:]
    assert (refresh.method, refresh.get(att.LIFETIME)) == (Method.REFRESH, 0)
    assert len(stage.released) == 1
    assert stage.agent.relays.is_idle
    assert stage.agent.next_timeout() is None
    stage.agent.close(stage.now)
    assert stage.agent.next_effect() is None


def test_closing_while_the_link_opens() -> None:
    stage = Stage()
    stage.agent.begin_gathering(0.0)
    stage.agent.relays.add_server(CONFIG, RelayTarget(SERVER, TransportProtocol.TCP), 0.0)
    effect = stage.agent.next_effect()
    assert isinstance(effect, OpenLink)
    stage.agent.close(0.1)
    path = FiveTuple(LOCAL, SERVER, TransportProtocol.TCP)
    stage.agent.relays.link_opened(effect.number, path, 0.2)
    assert stage.agent.next_effect() == Release(path)
    assert stage.agent.relays.is_idle


def test_data_of_somebody_who_has_not_authenticated_is_dropped() -> None:
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    [path] = stage.open
    there = TransportAddress("198.51.100.7", 2000)
    stage.agent.receive_datagram(data_indication(there, b"\x80data"), path, stage.now)
    stage.agent.receive_datagram(data_indication(PEER, b"\x80data"), path, stage.now)
    assert stage.agent.next_data() is None
    assert stage.agent.stats().dropped["relayed: not from the peer"] == 1


def test_a_flood_of_relayed_stun_in_one_chunk_is_taken_one_by_one() -> None:
    stage = Stage()
    stage.ask(protocol=TransportProtocol.TCP)
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    [path] = stage.open
    noise = Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).serialize(fingerprint=True)
    flood = data_indication(TransportAddress("198.51.100.7", 2000), noise) * 1000
    stage.agent.relays.receive(flood, path, stage.now)
    assert stage.agent.stats().dropped["check: refused"] == 1000


def test_whatever_a_server_sends_nothing_raises() -> None:
    rng = random.Random(3)
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    [path] = stage.open
    there = TransportAddress("198.51.100.7", 2000)
    seeds = [request.serialize() for request in stage.server.requests] + [data_indication(there, b"\x00\x01" * 20)]
    for _ in range(2000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        stage.agent.receive_datagram(bytes(data[: rng.randrange(len(data) + 1)]), path, stage.now)
        stage.pump()
    assert stage.agent.state is State.CHECKING


def test_relay_only_has_no_bases_and_needs_a_server() -> None:
    stage = Stage()
    with pytest.raises(IceError, match="relayed"):
        stage.agent.add_local_base(LOCAL, 0.0)
    with pytest.raises(ValueError, match="TURN"):
        IceConfig(transport_policy=IceTransportPolicy.RELAY)
