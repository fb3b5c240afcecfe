"""What a hostile peer may try with later offers and answers: all of it refused or passed over, counted, and bounded."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from signalling.libp2p.webrtc_signalling import IceCandidate
from tests.simulation import virtual_time
from tests.webrtc_bridge.restart_stage import PLAIN, stage
from tests.webrtc_bridge.test_simulated import talk
from webrtc_bridge.config import PeerConfig, RestartConfig
from webrtc_bridge.errors import SdpError
from webrtc_bridge.sdp import SdpType
from webrtc_bridge.states import SignalingState


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
