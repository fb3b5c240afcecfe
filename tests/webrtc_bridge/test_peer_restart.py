"""ICE restarts of data peers in a simulated world: asked for, automatic, crossing, lost, begun by a hostile peer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from ice import IceConfig, Role
from ice.events import RestartReason
from ice.life_config import RoamingConfig, UpgradeConfig
from signalling.libp2p.webrtc_signalling import IceCandidate
from tests.ice.sessions import WIRE, behind, session
from tests.simulation import Host, World, virtual_time
from tests.webrtc_bridge.signalling_wire import SignallingWire
from tests.webrtc_bridge.test_simulated import Trip, talk
from webrtc_bridge.config import PeerConfig, RestartConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.errors import SdpError
from webrtc_bridge.offer_answer import SignalingState
from webrtc_bridge.peer import ConnectionState, DataPeer
from webrtc_bridge.sdp import SdpType, parse

NEW = "198.51.100.7"
NEWER = "198.51.100.8"
PLAIN = IceConfig(roaming=RoamingConfig(poll_interval=1.0), upgrade=UpgradeConfig(renomination=False))
"""Only a restart moves such sessions to another pair (RFC 8445 section 8.1.1)."""
SILENT = RestartConfig(automatic=False)


@dataclass
class Stage:
    """Two connected data peers, their hosts and what ties them."""

    world: World
    hosts: tuple[Host, Host]
    offerer: DataPeer
    answerer: DataPeer
    wire: SignallingWire
    trip: Trip

    @property
    def peers(self) -> tuple[DataPeer, DataPeer]:
        return self.offerer, self.answerer

    def move(self, index: int, address: str = NEW) -> None:
        """Have a host get another address in the place of its own."""
        self.hosts[index].add_interface(self.world.internet, address, link=WIRE)
        self.hosts[index].remove_address(self.hosts[index].addresses[0])

    def credentials(self) -> tuple[str, str]:
        ours, theirs = (peer.session.local_description.ufrag for peer in self.peers)
        return ours, theirs

    async def agreed(self) -> None:
        """Both sides go by each other's last description, and data flows both ways."""
        assert [peer.signaling_state for peer in self.peers] == [SignalingState.STABLE] * 2
        for one, other in (self.peers, reversed(self.peers)):
            assert one.session.remote_description is not None
            assert one.session.remote_description.ufrag == other.session.local_description.ufrag
            assert one.connection_state is ConnectionState.CONNECTED
        assert await talk(self.trip, 20_000) == bytes(20_000)
        assert await talk(Trip(self.hosts, self.trip.b, self.trip.a), 20_000) == bytes(20_000)


@asynccontextmanager
async def stage(config: PeerConfig | None = None, answerer_config: PeerConfig | None = None) -> AsyncIterator[Stage]:
    config = config or PeerConfig(ice=PLAIN)
    world = World(3)
    hosts = (behind(world, 1, None), behind(world, 2, None))
    configs = (config, answerer_config or config)
    sessions = [session(host, role, one.ice) for host, role, one in zip(hosts, Role, configs, strict=True)]
    offerer, answerer = (
        DataPeer(side, one, session=below) for side, one, below in zip(SdpType, configs, sessions, strict=True)
    )
    trip = Trip(hosts, DataChannelMuxer(offerer), DataChannelMuxer(answerer))
    wire = SignallingWire(offerer, answerer)
    try:
        await asyncio.gather(offerer.wait_connected(), answerer.wait_connected())
        await asyncio.sleep(1)
        yield Stage(world, hosts, offerer, answerer, wire, trip)
    finally:
        await asyncio.gather(offerer.close(), answerer.close())


@pytest.mark.parametrize("index", [0, 1], ids=["the offerer", "the answerer"])
@virtual_time
async def test_either_side_restarts_when_it_is_told_to(index: int) -> None:
    async with stage() as both:
        before = both.credentials()
        states: list[str] = []
        for peer in both.peers:
            peer.on("connectionstatechange", lambda peer=peer: states.append(peer.connection_state))
        pairs = [peer.session.stats().selected_pair_changes for peer in both.peers]
        both.peers[index].restart_ice()
        await asyncio.sleep(3)
        assert not set(before) & set(both.credentials())
        assert [peer.session.stats().selected_pair_changes for peer in both.peers] == [each + 1 for each in pairs]
        assert len(both.wire.offers(both.peers[index])) == 2 - index
        assert len(both.wire.told) == 4
        assert states == []
        await both.agreed()


@virtual_time
async def test_later_descriptions_are_of_the_same_session_with_a_higher_version_and_the_dtls_roles_as_they_were() -> (
    None
):
    async with stage() as both:
        both.answerer.restart_ice()
        await asyncio.sleep(3)
        (_, _, first_offer), (_, _, first_answer), (_, _, offer), (_, _, answer) = both.wire.told
        for former, later in ((first_offer, answer), (first_answer, offer)):
            one, other = parse(former, SdpType.OFFER), parse(later, SdpType.OFFER)
            assert other.session_id == one.session_id
            assert other.session_version > one.session_version
            assert (other.fingerprints, other.sctp_port, other.mid) == (one.fingerprints, one.sctp_port, one.mid)
        setups = [parse(text, SdpType.OFFER).setup for text in (first_offer, first_answer, offer, answer)]
        assert setups == ["actpass", "active", "actpass", "passive"]


@virtual_time
async def test_before_the_first_exchange_there_is_nothing_to_restart() -> None:
    peer = DataPeer(SdpType.OFFER, session=session(behind(World(1), 1, None), Role.CONTROLLING))
    asked: list[str] = []
    peer.on("negotiationneeded", lambda: asked.append("offer"))
    peer.restart_ice()
    before = peer.create_offer()
    await asyncio.sleep(60)
    assert peer.create_offer() == before
    assert asked == []
    await peer.close()


@pytest.mark.parametrize("index", [0, 1], ids=["the offerer", "the answerer"])
@virtual_time
async def test_when_an_address_goes_away_ice_is_restarted_once_and_no_byte_is_lost(index: int) -> None:
    async with stage() as both:
        before = both.credentials()
        talking = asyncio.create_task(talk(both.trip, 300_000))
        await asyncio.sleep(0.01)
        both.move(index)
        assert await talking == bytes(300_000)
        assert not set(before) & set(both.credentials())
        assert len(both.wire.offers(both.offerer)) == 2  # the first, and one that restarts
        assert both.wire.offers(both.answerer) == []
        pair = both.peers[index].session.selected_pair
        assert pair is not None
        assert pair.path.local.host == NEW
        await both.agreed()


@virtual_time
async def test_when_both_ends_move_at_once_only_signalling_can_help_and_does() -> None:
    async with stage(PeerConfig(ice=IceConfig(roaming=RoamingConfig(poll_interval=1.0)))) as both:
        talking = asyncio.create_task(talk(both.trip, 300_000))
        await asyncio.sleep(0.01)
        both.move(0, NEW)
        both.move(1, NEWER)
        assert await talking == bytes(300_000)
        assert [each.session.selected_pair.path.local.host for each in both.peers] == [NEW, NEWER]  # type: ignore[union-attr]
        assert both.wire.offers(both.answerer) == []
        await both.agreed()


@virtual_time
async def test_the_answering_side_begins_when_it_has_waited_in_vain() -> None:
    loop = asyncio.get_running_loop()
    async with stage(PeerConfig(ice=PLAIN, restart=SILENT), PeerConfig(ice=PLAIN)) as both:
        wanted, asked = [], []
        both.answerer.session.on("restartwanted", lambda reason: wanted.append(loop.time()))
        both.answerer.on("negotiationneeded", lambda: asked.append(loop.time()))
        talking = asyncio.create_task(talk(both.trip, 300_000))
        await asyncio.sleep(0.01)
        both.move(1)
        assert await talking == bytes(300_000)
        assert asked[0] - wanted[0] == pytest.approx(both.answerer.config.restart.patience)
        assert len(both.wire.offers(both.answerer)) == len(asked) == 1
        assert len(both.wire.offers(both.offerer)) == 1
        await both.agreed()


@virtual_time
async def test_a_path_that_heals_meanwhile_needs_no_restart() -> None:
    restart = RestartConfig(patience=15.0)
    async with stage(PeerConfig(ice=PLAIN, restart=SILENT), PeerConfig(ice=PLAIN, restart=restart)) as both:
        wanted: list[RestartReason] = []
        both.answerer.session.on("restartwanted", wanted.append)
        both.hosts[1].vanish()
        await asyncio.sleep(18)
        both.hosts[1].reappear()
        await asyncio.sleep(30)
        assert set(wanted) == {RestartReason.PATH_DEAD}
        assert len(both.wire.told) == 2
        await both.agreed()


@virtual_time
async def test_without_a_listener_nothing_is_begun_and_it_is_counted() -> None:
    async with stage(PeerConfig(ice=PLAIN)) as both:
        for peer in both.peers:
            peer.remove_all_listeners("negotiationneeded")
        both.move(0)
        await asyncio.sleep(20)
        assert len(both.wire.told) == 2
        assert both.offerer.counters["restart without signalling"] >= 1


@virtual_time
async def test_restarts_that_cross_are_one_and_the_first_offerers_offer_stands() -> None:
    async with stage() as both:
        before = both.credentials()
        both.offerer.restart_ice()
        both.answerer.restart_ice()
        await asyncio.sleep(0.001)
        assert [peer.signaling_state for peer in both.peers] == [SignalingState.HAVE_LOCAL_OFFER] * 2
        await asyncio.sleep(3)
        assert both.offerer.counters["offer that crossed ours"] == 1
        assert both.answerer.counters["offer of ours that was taken back"] == 1
        assert [kind for _, kind, _ in both.wire.told[2:]] == ["offer", "offer", "answer"]
        assert not set(before) & set(both.credentials())
        await both.agreed()
        await asyncio.sleep(60)
        assert len(both.wire.told) == 5


@virtual_time
async def test_an_offer_that_restarts_nothing_is_answered_and_our_own_restart_goes_on_after_it() -> None:
    async with stage() as both:
        before = both.credentials()
        both.wire.offer(both.offerer, both.answerer)  # not wanted, so no restart
        both.answerer.restart_ice()
        await asyncio.sleep(0.03)
        assert both.offerer.counters["offer that crossed ours"] == 1
        told = [parse(text, SdpType.OFFER).ufrag for _, _, text in both.wire.told[2:5]]
        assert (told[0], told[2]) == before
        await asyncio.sleep(3)
        assert not set(before) & set(both.credentials())
        await both.agreed()


@virtual_time
async def test_candidates_that_are_found_before_the_answer_is_made_are_told_after_it() -> None:
    async with stage() as both:
        told: list[IceCandidate | None] = []
        both.offerer.restart_ice()
        both.wire.latency = 1e9
        await asyncio.sleep(0.1)
        both.answerer.remove_all_listeners("icecandidate")
        both.answerer.on("icecandidate", told.append)
        both.answerer.set_remote_description(both.wire.told[-1][2], SdpType.OFFER)
        await asyncio.sleep(1)
        assert told == []
        answer = parse(both.answerer.create_answer(), SdpType.ANSWER)
        assert answer.end_of_candidates
        await asyncio.sleep(0)
        assert {item.username_fragment for item in told if item is not None} == {answer.ufrag}
        assert told[-1] is None


@virtual_time
async def test_an_offer_that_got_lost_is_asked_for_again_ever_later_and_then_taken_back() -> None:
    loop = asyncio.get_running_loop()
    async with stage() as both:
        asked: list[float] = []
        both.answerer.on("negotiationneeded", lambda: asked.append(loop.time()))
        both.wire.loses = lambda kind: True
        begun = loop.time()
        both.answerer.restart_ice()
        await asyncio.sleep(100)
        assert [round(at - begun) for at in asked] == [0, 5, 15]
        assert len({parse(text, SdpType.OFFER).ufrag for text in both.wire.offers(both.answerer)}) == 1
        assert both.answerer.signaling_state is SignalingState.STABLE
        assert both.answerer.counters["restart without an answer"] == 1
        both.wire.loses = lambda kind: False
        before = both.credentials()
        both.offerer.restart_ice()
        await asyncio.sleep(3)
        assert both.credentials()[0] != before[0]
        assert both.credentials()[1] == before[1]  # what nobody has heard of may be told now
        await both.agreed()


@virtual_time
async def test_a_lost_answer_is_given_again_when_the_offer_comes_again() -> None:
    async with stage() as both:
        lost = iter([False, True])  # the offer passes, its answer does not
        both.wire.loses = lambda kind: next(lost, False)
        both.offerer.restart_ice()
        await asyncio.sleep(2)
        assert both.offerer.signaling_state is SignalingState.HAVE_LOCAL_OFFER
        await asyncio.sleep(8)
        assert [kind for _, kind, _ in both.wire.told[2:]] == ["offer", "answer"] * 2
        await both.agreed()


@virtual_time
async def test_closing_in_the_middle_of_a_restart() -> None:
    for pause in (0.0, 0.001, 0.02, 0.03, 0.05, 0.1):
        async with stage() as both:
            both.offerer.restart_ice()
            await asyncio.sleep(pause)
            await both.answerer.close()
            assert both.answerer.close_reason == "closed by us"


# ---------------------------------------------------------------- a hostile peer


def another(offer: str, **changes: str) -> str:
    """Return ``offer`` with other values of its attributes; dashes are underscores."""
    for name, value in changes.items():
        attribute = name.replace("_", "-")
        offer = re.sub(rf"(?m)^a={attribute}:[^\r\n]*", f"a={attribute}:{value}", offer)
    return re.sub(r"(?m)^a=candidate:.*\r\n", "", offer)


def restarting(offer: str, number: int) -> str:
    return another(offer, ice_ufrag=f"hostile{number}", ice_pwd=f"{number:024}")


HEX = ":".join(["AB"] * 32)
REFUSED = {
    "not a description": ("nonsense", "begins with v=0"),
    "no credentials": (lambda offer: offer.replace("a=ice-ufrag", "a=ice-fragment"), "ice-ufrag is missing"),
    "only the fragment": (lambda offer: another(offer, ice_ufrag="other"), "both user name fragment and password"),
    "only the password": (lambda offer: another(offer, ice_pwd="x" * 24), "both user name fragment and password"),
    "another certificate": (
        lambda offer: another(offer, ice_ufrag="other", ice_pwd="x" * 24, fingerprint=f"sha-256 {HEX}"),
        "another certificate",
    ),
    "another port": (lambda offer: another(offer, sctp_port="5001"), "another data section"),
    "another section": (lambda offer: another(offer, mid="data"), "another data section"),
    "our DTLS role": (lambda offer: another(offer, setup="active"), "changes the DTLS roles"),
}


@pytest.mark.parametrize("name", REFUSED)
@virtual_time
async def test_a_later_offer_that_cannot_be_is_refused_and_changes_nothing(name: str) -> None:
    change, reason = REFUSED[name]
    async with stage() as both:
        before = both.credentials(), both.answerer.remote_description
        offer = both.wire.told[0][2]
        text = change(offer) if callable(change) else change
        for number in range(1, 101):
            with pytest.raises(SdpError, match=reason):
                both.answerer.set_remote_description(text, SdpType.OFFER)
            assert both.answerer.counters["refused description"] == number
        assert (both.credentials(), both.answerer.remote_description) == before
        await both.agreed()


@virtual_time
async def test_restarts_of_the_peer_are_limited_and_what_is_refused_leaves_the_connection_alone() -> None:
    limit = 4
    config = PeerConfig(ice=PLAIN, restart=RestartConfig(max_peer_restarts=limit, peer_restart_interval=10.0))
    async with stage(config) as both:
        offer = both.wire.told[0][2]
        for number in range(limit):
            both.answerer.set_remote_description(restarting(offer, number), SdpType.OFFER)
            both.answerer.create_answer()
        for number in range(limit, 50):
            with pytest.raises(SdpError, match="too many ICE restarts"):
                both.answerer.set_remote_description(restarting(offer, number), SdpType.OFFER)
        assert both.answerer.signaling_state is SignalingState.STABLE
        with pytest.raises(SdpError, match="credentials of an earlier one"):
            both.answerer.set_remote_description(restarting(offer, 0), SdpType.OFFER)
        await asyncio.sleep(11)
        both.answerer.set_remote_description(restarting(offer, 60), SdpType.OFFER)
        with pytest.raises(SdpError, match="before the last one was answered"):
            both.answerer.set_remote_description(restarting(offer, 61), SdpType.OFFER)
        both.answerer.create_answer()
        assert await talk(both.trip, 20_000) == bytes(20_000)  # the old pair works, and nothing has replaced it


@virtual_time
async def test_answers_to_nothing_are_counted_and_those_that_ignore_a_restart_end_it_in_time() -> None:
    async with stage() as both:
        answer = both.wire.told[1][2]
        for _ in range(100):
            both.offerer.set_remote_description(another(answer, ice_ufrag="other", ice_pwd="x" * 24), SdpType.ANSWER)
        assert both.offerer.counters["answer to no offer"] == 100
        both.wire.loses = lambda kind: True
        both.offerer.restart_ice()
        await asyncio.sleep(0.001)
        for _ in range(100):
            both.offerer.set_remote_description(answer, SdpType.ANSWER)
        assert both.offerer.counters["answer without the restart"] == 100
        assert both.offerer.signaling_state is SignalingState.HAVE_LOCAL_OFFER
        await asyncio.sleep(40)
        assert both.offerer.signaling_state is SignalingState.STABLE
        assert await talk(both.trip, 20_000) == bytes(20_000)


@virtual_time
async def test_each_restart_has_its_own_allowance_of_candidates() -> None:
    config = PeerConfig(ice=PLAIN, max_remote_candidates=5)
    line = "candidate:1 1 udp 2130706431 192.0.2.9 {} typ host"
    async with stage(config) as both:
        for _ in range(2):
            both.offerer.restart_ice()
            await asyncio.sleep(3)
            before = both.answerer.counters["too many candidates"]
            for port in range(4000, 4020):
                both.answerer.add_ice_candidate(IceCandidate(candidate=line.format(port)))
            assert 15 <= both.answerer.counters["too many candidates"] - before <= 20
        await both.agreed()


def test_limits_that_make_no_sense() -> None:
    for wrong in ({"tries": 0}, {"patience": -1.0}, {"answer_timeout": 0.0}, {"max_peer_restarts": 0}):
        with pytest.raises(ValueError, match="must"):
            replace(RestartConfig(), **wrong)
