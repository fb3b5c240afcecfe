"""Whatever arrives on identify, hop, stop and signalling streams: an answer or a SignallingError, nothing else."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from signalling.libp2p.circuit import connect_request, reserve_request
from signalling.libp2p.circuit_messages import HopMessage, HopType, LimitMessage, ReservationMessage, Status
from signalling.libp2p.host_config import IdentifyConfig, RelayConfig
from signalling.libp2p.identify import describe
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import PeerRecord, RelayVoucher, seal_peer_record, seal_voucher
from signalling.libp2p.relay import Circuit, RelayRules, Requester
from signalling.libp2p.webrtc_signalling import (
    IceCandidate,
    SignallingRole,
    answer_message,
    candidate_message,
    offer_message,
)
from tests.properties.targets_libp2p_services import (
    ADDRESS,
    KEYS,
    PEERS,
    fuzz_libp2p_circuit,
    fuzz_libp2p_identify,
    hear,
)


def _grant() -> bytes:
    voucher = seal_voucher(KEYS[0], RelayVoucher(PEERS[0], PEERS[1], 2000))
    reservation = ReservationMessage(expire=2000, addresses=(ADDRESS.to_bytes(),), voucher=voucher)
    limit = LimitMessage(duration=1, data=2)
    return HopMessage(type=HopType.STATUS, reservation=reservation, limit=limit, status=Status.OK).serialize()


def _identify() -> bytes:
    record = seal_peer_record(KEYS[0], PeerRecord(PEERS[0], 1, (ADDRESS,)))
    (message,) = describe(
        public_key=KEYS[0].public_key,
        addresses=[ADDRESS],
        protocols=["/a", "/b"],
        observed_address=ADDRESS,
        signed_record=record,
        config=IdentifyConfig(),
    )
    return message


SEEDS = [
    _grant(),
    _identify(),
    reserve_request(),
    connect_request(PEERS[2]),
    offer_message("v=0\r\n"),
    answer_message("v=0\r\n"),
    candidate_message(IceCandidate(candidate="candidate:1", sdp_mid="0", sdp_mline_index=0)),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real message with a few bytes changed, cut out or put in; or mere bytes."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 2)):
            case 0 if data:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw(st.integers(1, 8))]
            case _:
                data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


@given(mutated())
def test_hop_stop_and_identify_messages(data: bytes) -> None:
    fuzz_libp2p_circuit(data)
    fuzz_libp2p_identify(data)


@given(st.sampled_from(SignallingRole), st.lists(mutated() | st.sampled_from(SEEDS[4:]), max_size=60))
def test_signalling_messages(role: SignallingRole, messages: list[bytes]) -> None:
    hear(role, messages)


class RelayModel(RuleBasedStateMachine):
    """The relay's tables against the plainest model of them."""

    CONFIG = RelayConfig(
        reservation_ttl=50.0,
        max_reservations=3,
        max_reservations_per_network=2,
        max_circuits=4,
        max_circuits_per_peer=2,
        max_circuits_per_network=3,
        peer_request_burst=10_000,
        network_request_burst=10_000,
    )

    def __init__(self) -> None:
        super().__init__()
        self.relay = RelayRules(self.CONFIG)
        self.now = 0.0
        self.held: dict[PeerId, tuple[str, str, float]] = {}
        self.open: list[Circuit] = []

    def live(self) -> dict[PeerId, tuple[str, str, float]]:
        return {peer: entry for peer, entry in self.held.items() if entry[2] > self.now}

    @rule(peer=st.sampled_from(PEERS), network=st.sampled_from("ab"), connection=st.sampled_from("xyz"))
    def reserve(self, peer: PeerId, network: str, connection: str) -> None:
        status, _ = self.relay.reserve(Requester(peer, network, False, connection), self.now)
        self.held = self.live()
        others = {other: entry for other, entry in self.held.items() if other != peer}
        same = peer in self.held and self.held[peer][0] == network
        share = sum(entry[0] == network for entry in others.values())
        room = same or (len(others) < 3 and share < 2)
        assert (status is Status.OK) == room
        if room:
            self.held[peer] = (network, connection, self.now + 50.0)

    @rule(source=st.sampled_from(PEERS), towards=st.sampled_from(PEERS), network=st.sampled_from("ab"))
    def connect(self, source: PeerId, towards: PeerId, network: str) -> None:
        status, circuit = self.relay.connect(Requester(source, network, False, "x"), towards, self.now)
        parties = Counter(peer for circuit in self.open for peer in (circuit.source, circuit.target))
        in_network = sum(circuit.network == network for circuit in self.open)
        if source == towards:
            assert status is Status.PERMISSION_DENIED
        elif towards not in self.live():
            assert status is Status.NO_RESERVATION
        elif len(self.open) >= 4 or parties[source] >= 2 or parties[towards] >= 2 or in_network >= 3:
            assert status is Status.RESOURCE_LIMIT_EXCEEDED
        else:
            assert status is Status.OK
            assert circuit is not None
            self.open.append(circuit)

    @rule(which=st.integers(0, 10), cut=st.booleans(), refused=st.booleans())
    def end_circuit(self, which: int, cut: bool, refused: bool) -> None:
        if self.open:
            circuit = self.open.pop(which % len(self.open))
            if refused:
                self.relay.refuse_circuit(circuit)
            else:
                self.relay.close_circuit(circuit, cut=cut)

    @rule(connection=st.sampled_from("xyz"))
    def lose_connection(self, connection: str) -> None:
        self.relay.connection_closed(connection)
        self.held = {peer: entry for peer, entry in self.held.items() if entry[1] != connection}

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def tables_agree(self) -> None:
        assert {peer for peer in PEERS if self.relay.reservation_of(peer, self.now)} == set(self.live())
        assert set(self.relay.circuits()) == set(self.open)


TestRelayModel = RelayModel.TestCase
TestRelayModel.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
