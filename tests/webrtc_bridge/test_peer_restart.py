"""ICE restarts of data peers in a simulated world: asked for, automatic, crossing, lost, begun by a hostile peer."""

from __future__ import annotations

import asyncio

import pytest

from ice import IceConfig, Role
from ice.events import RestartReason
from ice.life_config import RoamingConfig
from signalling.libp2p.webrtc_signalling import IceCandidate
from tests.ice.sessions import behind, session
from tests.simulation import World, virtual_time
from tests.webrtc_bridge.restart_stage import NEW, NEWER, PLAIN, SILENT, stage
from tests.webrtc_bridge.test_simulated import talk
from webrtc_bridge.config import PeerConfig, RestartConfig
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType, parse
from webrtc_bridge.states import SignalingState


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
        before = both.credentials()
        both.answerer.on("negotiationneeded", lambda: asked.append(loop.time()))
        both.wire.loses = lambda kind: True
        begun = loop.time()
        both.answerer.restart_ice()
        await asyncio.sleep(100)
        assert [round(at - begun) for at in asked] == [0, 5, 15]
        assert len({parse(text, SdpType.OFFER).ufrag for text in both.wire.offers(both.answerer)}) == 1
        assert both.answerer.signaling_state is SignalingState.STABLE
        assert both.answerer.counters["restart without an answer"] == 1
        assert both.credentials() == before  # those of the offer are given up
        both.wire.loses = lambda kind: False
        both.offerer.restart_ice()
        await asyncio.sleep(3)
        assert not set(before) & set(both.credentials())
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
