"""Which signalled candidates reach ICE."""

from __future__ import annotations

from dataclasses import replace

from ice import Candidate
from signalling.libp2p.webrtc_signalling import IceCandidate
from tests.webrtc_bridge.test_sdp import SAMPLE
from webrtc_bridge.remote_candidates import RemoteCandidates
from webrtc_bridge.sdp import RejectedMedia

LINE = "candidate:1 1 udp 2130706431 192.0.2.9 4000 typ host"


def test_those_of_the_description_come_before_those_that_waited() -> None:
    candidates = RemoteCandidates(10)
    assert candidates.take(IceCandidate(candidate=LINE.replace("4000", "4001"))) == []
    assert candidates.take(None) == []
    ready = candidates.describe(replace(SAMPLE, candidates=(LINE,)))
    assert [item.address.port if isinstance(item, Candidate) else item for item in ready] == [4000, 4001, None]
    assert candidates.counters == {"candidates": 2}


def test_the_end_in_the_description_comes_after_its_candidates() -> None:
    ready = RemoteCandidates(10).describe(replace(SAMPLE, candidates=(LINE,), end_of_candidates=True))
    assert ready == [Candidate.from_sdp(LINE), None]


def test_a_name_instead_of_an_address_is_handed_on_for_ice_to_judge() -> None:
    candidates = RemoteCandidates(10)
    candidates.describe(SAMPLE)
    (taken,) = candidates.take(IceCandidate(candidate=LINE.replace("192.0.2.9", "3c1b9d6e.local")))
    assert isinstance(taken, Candidate)
    assert taken.address.host == "3c1b9d6e.local"


def test_the_limit_counts_what_is_unreadable_too() -> None:
    candidates = RemoteCandidates(2)
    candidates.describe(SAMPLE)
    for text in ("nonsense", LINE, LINE):
        candidates.take(IceCandidate(candidate=text))
    assert candidates.counters == {"candidates": 3, "unreadable candidate": 1, "too many candidates": 1}
    assert candidates.take(None) == [None]


def test_the_end_of_another_generation_or_section_is_not_ours() -> None:
    # RFC 8829 section 4.1.19, RFC 8838 section 14: an end names what it ends.
    audio = RejectedMedia(1, "audio", "UDP/TLS/RTP/SAVPF", "0", "a0")
    candidates = RemoteCandidates(10)
    candidates.describe(replace(SAMPLE, rejected=(audio,)))
    assert candidates.take(IceCandidate(candidate="", username_fragment="older")) == []
    assert candidates.take(IceCandidate(candidate="", sdp_mid="a0")) == []
    assert candidates.take(IceCandidate(candidate="", sdp_mline_index=1)) == []
    assert candidates.counters == {"candidate of another generation": 1, "candidate of another component": 2}
    assert candidates.take(IceCandidate(candidate="", sdp_mid=SAMPLE.mid, username_fragment=SAMPLE.ufrag)) == [None]
