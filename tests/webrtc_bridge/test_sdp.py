"""Descriptions of data-only peers: what others write is read, what is unusable is refused with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from webrtc_bridge.errors import SdpError
from webrtc_bridge.sdp import DataDescription, Fingerprint, SdpType, Setup, parse, serialize

HEX = ":".join(f"{value:02X}" for value in range(32))
SAMPLE = DataDescription(
    type=SdpType.OFFER,
    ufrag="abcd",
    pwd="p" * 24,
    fingerprints=(Fingerprint("sha-256", HEX),),
    setup=Setup.ACTPASS,
    max_message_size=262144,
    session_id=42,
)

CHROMIUM = f"""v=0
o=- 6053093492011332342 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:Yb2/
a=ice-pwd:fI0G3z2u6CfHo4gOZ1N5Vh+x
a=ice-options:trickle
a=fingerprint:sha-256 {HEX}
a=setup:actpass
a=mid:0
a=sctp-port:5000
a=max-message-size:262144
"""

LIBDATACHANNEL = f"""v=0\r
o=rtc 2890844526 0 IN IP4 127.0.0.1\r
s=-\r
t=0 0\r
a=group:BUNDLE 0\r
a=group:LS 0\r
a=msid-semantic:WMS *\r
a=ice-options:ice2,trickle\r
a=fingerprint:sha-256 {HEX.lower()}\r
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r
c=IN IP4 0.0.0.0\r
a=mid:0\r
a=sendrecv\r
a=sctp-port:5000\r
a=max-message-size:262144\r
a=setup:active\r
a=ice-ufrag:dGVz\r
a=ice-pwd:abcdefghijklmnopqrstuv\r
"""

AIORTC_LEGACY = f"""v=0
o=- 3900000000 3900000000 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
m=application 51234 DTLS/SCTP 5000
c=IN IP4 192.0.2.7
a=mid:0
a=sctpmap:5000 webrtc-datachannel 65535
a=candidate:f0 1 udp 2130706431 192.0.2.7 51234 typ host
a=end-of-candidates
a=ice-ufrag:wxyz
a=ice-pwd:abcdefghijklmnopqrstuv
a=fingerprint:sha-256 {HEX}
a=fingerprint:sha-384 {":".join(["00"] * 48)}
a=setup:actpass
"""


def test_an_offer_reads_back_as_it_was() -> None:
    assert parse(serialize(SAMPLE), SdpType.OFFER) == SAMPLE


def test_the_offer_has_what_rfc_8829_section_5_2_1_asks() -> None:
    lines = serialize(SAMPLE).split("\r\n")
    assert lines[0] == "v=0"
    for line in (
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-options:trickle ice2",
        "a=setup:actpass",
        f"a=fingerprint:sha-256 {HEX}",
        "a=mid:0",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
    ):
        assert line in lines
    assert not any(line.startswith("a=candidate") for line in lines)


def test_the_pace_of_checks_is_proposed_unless_none_are_sent() -> None:
    # RFC 8839 sections 4.3.1 and 5.5
    assert "a=ice-pacing:50" in serialize(SAMPLE).split("\r\n")
    assert parse(serialize(replace(SAMPLE, ice_pacing=200)), SdpType.OFFER).ice_pacing == 200
    assert "ice-pacing" not in serialize(replace(SAMPLE, ice_lite=True))
    assert parse(CHROMIUM, SdpType.OFFER).ice_pacing == 50


def test_candidates_and_their_end_are_carried() -> None:
    line = "candidate:1 1 udp 2130706431 192.0.2.7 51234 typ host"
    full = replace(SAMPLE, candidates=(line,), end_of_candidates=True)
    assert parse(serialize(full), SdpType.OFFER) == full


def test_chromium() -> None:
    got = parse(CHROMIUM, SdpType.OFFER)
    assert (got.ufrag, got.setup, got.max_message_size, got.ice_options) == (
        "Yb2/",
        Setup.ACTPASS,
        262144,
        ("trickle",),
    )
    assert got.fingerprints == (Fingerprint("sha-256", HEX),)


def test_libdatachannel_with_attributes_of_the_session() -> None:
    got = parse(LIBDATACHANNEL, SdpType.ANSWER)
    assert (got.setup, got.mid, got.ufrag) == (Setup.ACTIVE, "0", "dGVz")
    assert got.ice_options == ("ice2", "trickle")
    assert got.fingerprints == (Fingerprint("sha-256", HEX),)


def test_the_older_form_of_aiortc() -> None:
    got = parse(AIORTC_LEGACY, SdpType.OFFER)
    assert got.sctp_port == 5000
    assert got.max_message_size == 65536
    assert got.candidates == ("candidate:f0 1 udp 2130706431 192.0.2.7 51234 typ host",)
    assert got.end_of_candidates
    assert [item.algorithm for item in got.fingerprints] == ["sha-256", "sha-384"]


def test_other_media_is_rejected_in_the_answer_at_its_place() -> None:
    audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\nc=IN IP4 0.0.0.0\na=mid:a0\na=sendrecv\n"
    offer = CHROMIUM.replace("m=application", audio + "m=application")
    got = parse(offer, SdpType.OFFER)
    assert got.index == 1
    answer = replace(SAMPLE, type=SdpType.ANSWER, setup=Setup.ACTIVE, rejected=got.rejected, index=got.index)
    lines = serialize(answer).split("\r\n")
    medias = [line for line in lines if line.startswith("m=")]
    assert medias == ["m=audio 0 UDP/TLS/RTP/SAVPF 111 0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"]
    assert "a=mid:a0" in lines
    assert parse(serialize(answer), SdpType.ANSWER).index == 1


def _without(prefix: str) -> str:
    return "".join(line for line in CHROMIUM.splitlines(keepends=True) if not line.startswith(prefix))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "begins with v=0"),
        ("hello", "begins with v=0"),
        ("v=0\n", "no data section"),
        ("v=0\nnonsense\n", "not a line"),
        ("v=0\nm=application\n", "not a media line"),
        (CHROMIUM.replace("m=application 9", "m=application 0"), "no data section"),
        (_without("a=ice-ufrag"), "ice-ufrag is missing"),
        (_without("a=ice-pwd"), "ice-pwd is missing"),
        (CHROMIUM.replace("Yb2/", "ab"), "ice-ufrag is not"),
        (CHROMIUM.replace("Yb2/", "a b c d"), "ice-ufrag is not"),
        (CHROMIUM.replace("Yb2/", "a" * 257), "ice-ufrag is not"),
        (CHROMIUM.replace("t=0 0", "t=0 0\na=ice-pacing:fast"), "ice-pacing is not a number"),
        (_without("a=fingerprint"), "no fingerprint"),
        (CHROMIUM.replace("sha-256", "sha-1"), "no fingerprint"),
        (CHROMIUM.replace(HEX, HEX[:-3]), "32 hex pairs"),
        (_without("a=setup"), "setup is None"),
        (CHROMIUM.replace("actpass", "holdconn"), "setup is 'holdconn'"),
        (CHROMIUM.replace("sctp-port:5000", "sctp-port:0"), "closes the association"),
        (CHROMIUM.replace("sctp-port:5000", "sctp-port:70000"), "not a number in 0..65535"),
        (CHROMIUM.replace("sctp-port:5000", "sctp-port:٣"), "not a number"),
        (CHROMIUM.replace("max-message-size:262144", "max-message-size:10"), "too small"),
        (CHROMIUM.replace("a=mid:0", "a=mid:" + "x" * 65), "mid is not"),
        (CHROMIUM + "a=tls-id:" + "x" * 19 + "\n", "tls-id is not"),
        (CHROMIUM + "a=tls-id:" + "x" * 256 + "\n", "tls-id is not"),
        (CHROMIUM + "a=x\n" * 3000, "lines exceeds"),
        (CHROMIUM + "a=" + "x" * 70000, "characters exceeds"),
        (CHROMIUM + "m=audio 9 RTP/AVP 0\n" * 70, "media sections exceed"),
    ],
)
def test_what_is_refused_and_why(text: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        parse(text, SdpType.OFFER)


def test_an_answer_has_to_choose_a_role() -> None:
    with pytest.raises(SdpError, match="has to choose"):
        parse(CHROMIUM, SdpType.ANSWER)


def test_no_limit_on_messages_is_zero() -> None:
    assert parse(CHROMIUM.replace("size:262144", "size:0"), SdpType.OFFER).max_message_size == 0
