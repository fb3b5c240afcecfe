from __future__ import annotations

import pytest

from stun import attributes as att
from stun.address import TransportAddress, TransportProtocol
from stun.message import Message, MessageClass, Method, parse
from stun.values import Icmp
from tests.turn.service.stage import PEER, PEER6, RELAY4, RELAY6, SERVER, TCP, UDP, Stage, StageClient
from turn.framing import parse_channel_data
from turn.service.config import RelayHost, RelayLimits
from turn.service.events import SendToPeer
from turn.service.policy import PeerPolicy, PeerPolicyConfig, Refusal

OTHER = TransportAddress("203.0.113.8", 7000)


def allocated(stage: Stage, **options: object) -> StageClient:
    client = StageClient(stage, **options)  # type: ignore[arg-type]
    assert client.allocate().error is None
    return client


def test_send_needs_a_permission() -> None:
    stage = Stage()
    client = allocated(stage)
    assert client.send(b"too early", PEER) == []
    assert client.permit(PEER) == 0
    assert client.send(b"hello", PEER) == [SendToPeer(client.relayed[0], PEER, b"hello")]
    assert client.send(b"", PEER._replace(port=9)) == [SendToPeer(client.relayed[0], PEER._replace(port=9), b"")]
    assert client.send(b"x", PEER._replace(port=0)) == []
    assert client.send(b"df", PEER, (att.DONT_FRAGMENT, True))[0].dont_fragment
    assert stage.server.stats.denied_to_peer == 2


def test_dont_fragment_in_an_indication_that_cannot_be_honoured_drops_it() -> None:
    stage = Stage(dont_fragment=False)
    client = allocated(stage)
    client.permit(PEER)
    assert client.send(b"df", PEER, (att.DONT_FRAGMENT, True)) == []


@pytest.mark.parametrize(
    ("protocol", "local", "peer", "df"),
    [
        (UDP, SERVER, PEER, True),
        (UDP, SERVER, PEER6, False),
        (UDP, TransportAddress(RELAY6, 3478), PEER, False),
        (UDP, TransportAddress(RELAY6, 3478), PEER6, False),
        (TransportProtocol.DTLS, SERVER, PEER6, False),
        (TCP, SERVER, PEER, True),
        (TCP, TransportAddress(RELAY6, 3478), PEER6, True),
    ],
)
@pytest.mark.parametrize("able", [True, False])
def test_where_dont_fragment_counts(
    protocol: TransportProtocol, local: TransportAddress, peer: TransportAddress, df: bool, able: bool
) -> None:
    # Between datagrams it is for IPv4 on both sides; translations (section 13) have to ignore it.
    stage = Stage(dont_fragment=able)
    host = "2001:db8::5" if local.family == 6 else "192.0.2.1"
    client = StageClient(stage, protocol=protocol, local=local, host=host)
    client.allocate((att.ADDITIONAL_ADDRESS_FAMILY, 2))
    client.permit(peer)
    sent = client.send(b"df", peer, (att.DONT_FRAGMENT, True))
    assert [one.dont_fragment for one in sent] == ([] if df and not able else [df])


def test_a_send_indication_with_an_attribute_that_nobody_knows_is_dropped() -> None:
    stage = Stage()
    client = allocated(stage)
    client.permit(PEER)
    assert client.send(b"x", PEER, (att.unknown_attribute(0x7777), b"")) == []
    assert client.send(b"x", PEER, (att.unknown_attribute(0xF777), b""))
    without = Message(Method.SEND, MessageClass.INDICATION, bytes(12)).add(att.XOR_PEER_ADDRESS, PEER)
    stage.to_peers.clear()
    stage.receive(without.serialize(), client.path)
    assert stage.to_peers == []


def test_what_is_neither_stun_nor_channel_data_is_dropped() -> None:
    stage = Stage()
    client = allocated(stage)
    client.bind(0x4001, PEER)
    for first in (*range(0x04, 0x40), *range(0x80, 0x100)):
        assert stage.receive(bytes([first, 1, 0, 1]) + bytes(16), client.path) == []
    assert stage.to_peers == []
    assert stage.server.stats.unparsable == 0x3C + 0x80


def test_an_allocation_of_tcp_has_no_channels_and_sends_no_datagrams() -> None:
    stage = Stage()
    client = StageClient(stage, protocol=TCP)
    client.allocate(transport=6)
    assert client.permit(PEER) == 0
    assert client.bind(0x4001, PEER) == 400
    assert client.send(b"x", PEER) == []


def test_peers_are_let_in_by_ip_address_for_300_seconds() -> None:
    stage = Stage()
    client = allocated(stage)
    assert stage.from_peer(b"x", client.relayed[0], PEER) == []
    client.permit(PEER)
    ((path, data),) = stage.from_peer(b"hi", client.relayed[0], PEER._replace(port=99))
    indication = parse(data)
    assert path == client.path
    assert indication.method is Method.DATA
    assert indication.get(att.XOR_PEER_ADDRESS) == PEER._replace(port=99)
    assert indication.get(att.DATA) == b"hi"
    stage.wait(299.9)
    assert stage.from_peer(b"hi", client.relayed[0], PEER)  # data does not refresh
    stage.wait(0.2)
    assert stage.from_peer(b"hi", client.relayed[0], PEER) == []
    assert stage.server.stats.denied_from_peer == 2


def test_one_bad_peer_spoils_a_create_permission() -> None:
    stage = Stage()
    client = allocated(stage)
    assert client.permit(PEER, PEER6) == 443
    assert client.permit(PEER, TransportAddress("10.0.0.1", 1)) == 403
    assert client.code(Method.CREATE_PERMISSION) == 400
    assert client.send(b"x", PEER) == []


def test_channels() -> None:
    stage = Stage()
    client = allocated(stage)
    assert client.bind(0x4001, PEER) == 0
    assert client.send_on(0x4001, b"abc") == [SendToPeer(client.relayed[0], PEER, b"abc")]
    ((_, data),) = stage.from_peer(b"reply", client.relayed[0], PEER)
    assert parse_channel_data(data) == (0x4001, b"reply")
    ((_, data),) = stage.from_peer(b"elsewhere", client.relayed[0], PEER._replace(port=1))
    assert parse(data).method is Method.DATA
    assert client.bind(0x4001, PEER) == 0
    assert client.bind(0x4001, OTHER) == 400
    assert client.bind(0x4002, PEER) == 400
    assert client.bind(0x3FFF, OTHER) == 400
    assert client.bind(0x8000, OTHER) == 400
    assert client.bind(0x4003, PEER6) == 443
    assert client.code(Method.CHANNEL_BIND, (att.CHANNEL_NUMBER, 0x4003)) == 400


def test_channels_of_rfc_5766_may_be_shut_out() -> None:
    assert allocated(Stage()).bind(0x7FFF, PEER) == 0
    assert allocated(Stage(rfc5766_channels=False)).bind(0x5000, PEER) == 400


def test_a_channel_lasts_600_seconds_and_its_permission_300() -> None:
    stage = Stage()
    client = allocated(stage)
    client.bind(0x4001, PEER)
    stage.wait(299)
    client.refresh(3600)
    stage.wait(2)
    assert client.send_on(0x4001, b"x")
    assert stage.from_peer(b"x", client.relayed[0], PEER) == []
    stage.wait(298)
    assert client.send_on(0x4001, b"x")
    stage.wait(2)
    assert client.send_on(0x4001, b"x") == []
    assert client.bind(0x4001, OTHER) == 0
    assert client.bind(0x4002, PEER) == 0


def test_channel_data_that_makes_no_sense() -> None:
    stage = Stage()
    client = allocated(stage)
    client.bind(0x4001, PEER)
    for data in (b"\x40", bytes.fromhex("40010005aabb"), bytes.fromhex("40020001aa"), b""):
        stage.receive(data, client.path)
    assert stage.to_peers == []
    padded = bytes.fromhex("40010001aa000000")
    stage.receive(padded, client.path)
    assert stage.to_peers[0].data == b"\xaa"


def test_streams_are_padded_and_cut_anywhere() -> None:
    stage = Stage()
    client = allocated(stage, protocol=TCP)
    client.bind(0x4001, PEER)
    ((_, data),) = stage.from_peer(b"12345", client.relayed[0], PEER)
    assert data == bytes.fromhex("40010005") + b"12345\0\0\0"
    for byte in data:
        stage.receive(bytes([byte]), client.path)
    assert [sent.data for sent in stage.to_peers] == [b"12345"]


def test_nothing_crosses_between_allocations() -> None:
    stage = Stage()
    one, other = allocated(stage), allocated(stage, user="bob", port=5001)
    one.bind(0x4001, PEER)
    assert other.send_on(0x4001, b"guess") == []
    assert other.send(b"guess", PEER) == []
    assert stage.from_peer(b"x", other.relayed[0], PEER) == []
    ((path, _),) = stage.from_peer(b"x", one.relayed[0], PEER)
    assert path == one.path


def test_limits_of_an_allocation() -> None:
    stage = Stage(limits=RelayLimits(permissions=3, channels=2))
    client = allocated(stage)
    peers = [TransportAddress(f"203.0.113.{number}", 1) for number in range(1, 6)]
    assert client.permit(*peers[:3]) == 0
    assert client.permit(peers[3]) == 508
    assert client.permit(peers[0]) == 0
    assert [client.bind(0x4000 + number, peers[number]) for number in range(3)] == [0, 0, 508]


def test_bandwidth() -> None:
    stage = Stage(limits=RelayLimits(bytes_per_second=100_000, user_bytes_per_second=120_000))
    client, other = allocated(stage), allocated(stage, port=5001)
    client.bind(0x4001, PEER)
    other.bind(0x4001, PEER)
    assert sum(bool(client.send_on(0x4001, bytes(1000))) for _ in range(300)) == 100
    assert sum(bool(other.send_on(0x4001, bytes(1000))) for _ in range(300)) == 20
    stage.wait(0.5)
    assert sum(bool(stage.from_peer(bytes(1000), client.relayed[0], PEER)) for _ in range(300)) == 50
    assert stage.server.stats.over_bandwidth == 200 + 280 + 250


def test_what_a_user_is_refused_costs_its_allocation_nothing() -> None:
    stage = Stage(limits=RelayLimits(bytes_per_second=100_000, user_bytes_per_second=120_000))
    client, other = allocated(stage), allocated(stage, port=5001)
    client.bind(0x4001, PEER)
    other.bind(0x4001, PEER)
    assert sum(bool(client.send_on(0x4001, bytes(1000))) for _ in range(100)) == 100
    assert sum(bool(other.send_on(0x4001, bytes(1000))) for _ in range(100)) == 20
    stage.wait(0.5)
    # Its own bucket has the 80 that were not taken and 50 more, the user's has 60.
    assert sum(bool(other.send_on(0x4001, bytes(1000))) for _ in range(100)) == 60


def test_icmp_is_told_for_the_inner_destination() -> None:
    stage = Stage()
    client = allocated(stage)

    def icmp(peer: TransportAddress, error: Icmp) -> list[bytes]:
        stage.sent.clear()
        stage.server.receive_icmp(error, client.relayed[0], peer, stage.now)
        stage.drain()
        return [data for _, data in stage.sent]

    assert icmp(PEER, Icmp(3, 3)) == []
    client.permit(PEER)
    (data,) = icmp(PEER, Icmp(3, 4, b"\0\0\5\0"))
    indication = parse(data)
    assert indication.get(att.XOR_PEER_ADDRESS) == PEER
    assert indication.get(att.ICMP) == Icmp(3, 4, b"\0\0\5\0")
    assert att.DATA not in indication
    assert icmp(PEER, Icmp(8, 0)) == []
    assert len(icmp(PEER._replace(port=0), Icmp(11, 0))) == 1  # where the port is not known
    client.bind(0x4001, PEER)
    assert parse(icmp(PEER, Icmp(3, 3))[0]).method is Method.DATA  # never on a channel
    stage.wait(301)
    assert icmp(PEER, Icmp(3, 3)) == []


def test_two_clients_reach_each_other_by_their_relayed_addresses_and_nothing_else_of_the_server() -> None:
    stage = Stage()
    one, other = allocated(stage), allocated(stage, user="bob", port=5001)
    assert one.permit(other.relayed[0]) == 0
    assert one.bind(0x4001, other.relayed[0]) == 0
    assert one.send(b"x", other.relayed[0])
    assert one.bind(0x4002, TransportAddress(RELAY4, 22)) == 403
    assert one.send(b"x", TransportAddress(RELAY4, 22)) == []
    shut = allocated(Stage(peers=PeerPolicyConfig(own_relays=False)))
    assert shut.permit(TransportAddress(RELAY4, 22)) == 403


@pytest.mark.parametrize(
    ("host", "refusal"),
    [
        ("127.0.0.1", Refusal.LOOPBACK),
        ("::1", Refusal.LOOPBACK),
        ("169.254.169.254", Refusal.LINK_LOCAL),
        ("fe80::1", Refusal.LINK_LOCAL),
        ("10.1.2.3", Refusal.PRIVATE),
        ("172.31.0.1", Refusal.PRIVATE),
        ("192.168.1.1", Refusal.PRIVATE),
        ("100.64.0.1", Refusal.PRIVATE),
        ("fd00::2", Refusal.PRIVATE),
        ("224.0.0.1", Refusal.MULTICAST),
        ("255.255.255.255", Refusal.MULTICAST),
        ("ff02::1", Refusal.MULTICAST),
        ("0.0.0.0", Refusal.RESERVED),
        ("::", Refusal.RESERVED),
        ("240.0.0.1", Refusal.RESERVED),
        ("2002:7f00:1::1", Refusal.TUNNELLED),
        ("2001:0:4136:e378::1", Refusal.TUNNELLED),
        ("::ffff:127.0.0.1", Refusal.TUNNELLED),
        ("64:ff9b::a00:1", Refusal.TUNNELLED),
        ("198.51.100.9", Refusal.OWN),
        ("203.0.113.66", Refusal.DENIED),
        ("203.0.113.7", None),
        ("2001:db8::1", None),
    ],
)
def test_the_policy(host: str, refusal: Refusal | None) -> None:
    policy = PeerPolicy(PeerPolicyConfig.of(deny=["203.0.113.64/26"]), ["198.51.100.9"])
    assert policy.refusal(host) is refusal
    assert policy.refusal(host) is refusal  # remembered
    opened = PeerPolicy(PeerPolicyConfig.of(["0.0.0.0/0", "::/0"], ["203.0.113.64/26"]), ["198.51.100.9"])
    shut = (Refusal.TUNNELLED, Refusal.MULTICAST, Refusal.RESERVED, Refusal.DENIED)
    assert opened.refusal(host) is (refusal if refusal in shut else None)


def test_the_policy_remembers_a_bounded_number() -> None:
    policy = PeerPolicy(PeerPolicyConfig(cache=10))
    for number in range(100):
        policy.refusal(f"203.0.113.{number}")
    assert len(policy._judged) == 10


def test_clients_meet_behind_a_nat_by_the_addresses_that_they_were_told() -> None:
    stage = Stage(relays=(RelayHost(host="10.0.0.5", advertise="192.0.2.55"),))
    one, other = allocated(stage), allocated(stage, user="bob", port=5001)
    assert {client.relayed[0].host for client in (one, other)} == {"192.0.2.55"}
    assert one.permit(TransportAddress("10.0.0.5", 1)) == 0  # of no use: nothing is reached there
    assert one.send(b"x", TransportAddress("10.0.0.5", other.relayed[0].port)) == []
    assert one.bind(0x4001, other.relayed[0]) == 0
    assert other.permit(one.relayed[0]) == 0
    (sent,) = one.send_on(0x4001, b"x")
    assert one.send(b"x", other.relayed[0]) == [sent]
    assert sent.peer == TransportAddress("10.0.0.5", other.relayed[0].port)
    ((path, data),) = stage.from_peer(b"x", sent.peer, sent.relay)
    assert path == other.path
    assert parse(data).get(att.XOR_PEER_ADDRESS) == one.relayed[0]


def test_a_channel_to_a_relayed_address_of_ours_ends_with_it() -> None:
    # The next owner of the port may be anybody, another program of this host among them.
    stage = Stage(ports=(50000, 50002))
    one, other = allocated(stage), allocated(stage, user="bob", port=5001)
    gone = other.relayed[0]
    assert one.bind(0x4001, gone) == 0
    assert one.bind(0x4002, PEER) == 0
    other.refresh(0)
    stage.to_peers.clear()
    assert one.send_on(0x4001, b"x") == []
    assert one.bind(0x4001, gone) == 403
    later = allocated(stage, user="bob", port=5002)
    while later.relayed[0] != gone:
        later.refresh(0)
        later = allocated(stage, user="bob", port=later.path.remote.port + 1)
    later.permit(one.relayed[0])
    assert one.send_on(0x4001, b"x") == []
    ((_, data),) = stage.from_peer(b"x", one.relayed[0], gone)
    assert parse(data).method is Method.DATA
    assert one.send_on(0x4002, b"x")
    assert one.bind(0x4001, gone) == 0  # who asks anew means the new one
    assert one.send_on(0x4001, b"x")


def test_channels_between_our_own_relayed_addresses_leave_nothing_behind() -> None:
    stage = Stage()
    one, other = allocated(stage), allocated(stage, user="bob", port=5001)
    assert one.bind(0x4001, other.relayed[0]) == 0
    assert one.bind(0x4002, one.relayed[0]) == 0  # itself
    assert other.bind(0x4001, one.relayed[0]) == 0
    relays = [stage.server.relay_at(client.relayed[0]) for client in (one, other)]

    def followers() -> list[int]:
        return [len(relay.followers or ()) for relay in relays if relay is not None]

    assert followers() == [2, 1]
    stage.wait(300)
    one.refresh(3600)
    other.refresh(3600)
    stage.wait(301)
    assert followers() == [0, 0]
    assert one.bind(0x4001, other.relayed[0]) == 0
    assert other.bind(0x4001, one.relayed[0]) == 0
    one.refresh(0)
    assert followers() == [0, 0]
    assert not any(allocation.channels for allocation in stage.server.allocations.values())


def test_an_address_that_is_only_listened_on_is_no_peer() -> None:
    stage = Stage(relays=(RelayHost(host="198.51.100.2"),))
    assert allocated(stage).permit(TransportAddress("198.51.100.1", 1)) == 403
    assert allocated(stage, port=5001).permit(TransportAddress("198.51.100.2", 1)) == 0
