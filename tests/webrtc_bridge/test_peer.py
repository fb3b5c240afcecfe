"""A data-only peer connection on an in-memory pipe, in virtual time: states, candidates, and every kind of end."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aiortc import RTCDataChannel

from ice import IceConfig, LiteConfig, Role, Session
from signalling.libp2p.webrtc_signalling import IceCandidate
from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.peers import connected_pair, exchange, make_pair
from tests.webrtc_bridge.pipe import PipeSession
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.errors import PeerClosed, PeerFailed, SdpError
from webrtc_bridge.peer import ConnectionState, DataPeer
from webrtc_bridge.sdp import SdpType, parse

LINE = "candidate:1 1 udp 2130706431 192.0.2.9 4000 typ host"


async def received(channel: RTCDataChannel) -> bytes | str:
    got: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()
    channel.once("message", got.set_result)
    async with asyncio.timeout(10):
        return await got


@virtual_time
async def test_two_peers_connect_and_talk() -> None:
    async with connected_pair() as pair:
        arrived: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
        pair.answerer.on("datachannel", arrived.set_result)
        channel = pair.offerer.create_data_channel("chat", protocol="p")
        theirs = await arrived
        assert (theirs.label, theirs.protocol, theirs.ordered) == ("chat", "p", True)
        theirs.send(b"hello")
        assert await received(channel) == b"hello"
        channel.send("text")
        assert await received(theirs) == "text"


@virtual_time
async def test_stream_ids_follow_the_dtls_role_and_not_the_ice_role() -> None:
    async with connected_pair() as pair:
        assert pair.offerer.sctp.is_server
        ours, theirs = pair.offerer.create_data_channel(), pair.answerer.create_data_channel()
        await asyncio.gather(*(_opened(channel) for channel in (ours, theirs)))
        assert ours.id is not None
        assert ours.id % 2 == 1
        assert theirs.id is not None
        assert theirs.id % 2 == 0


async def _opened(channel: RTCDataChannel) -> None:
    opened = asyncio.Event()
    channel.on("open", opened.set)
    if channel.readyState != "open":
        await opened.wait()


@virtual_time
async def test_states_and_events_have_the_w3c_names_and_order() -> None:
    pair = make_pair()
    told: list[str] = []
    peer = pair.offerer
    peer.on("connectionstatechange", lambda: told.append(str(peer.connection_state)))
    peer.on("icegatheringstatechange", lambda: told.append(f"gathering {peer.ice_gathering_state}"))
    peer.on("iceconnectionstatechange", lambda: told.append(f"ice {peer.ice_connection_state}"))
    peer.on("icecandidate", lambda candidate: told.append("candidate" if candidate else "no more candidates"))
    peer.on("closed", lambda reason: told.append(reason))
    exchange(pair)
    await asyncio.gather(pair.offerer.wait_connected(), pair.answerer.wait_connected())
    await pair.offerer.close()
    await pair.answerer.wait_closed()
    assert [item for item in told if not item.startswith("ice ")] == [
        "connecting",
        "gathering gathering",
        "candidate",
        "gathering complete",
        "no more candidates",
        "connected",
        "closed",
        "closed by us",
    ]
    assert "ice connected" in told
    assert pair.answerer.close_reason == "closed by the peer"
    assert pair.answerer.connection_state is ConnectionState.CLOSED


@virtual_time
async def test_an_offer_has_the_candidates_found_so_far() -> None:
    pair = make_pair()
    assert parse(pair.offerer.create_offer(), SdpType.OFFER).candidates == ()
    await pair.offerer.gather()
    full = parse(pair.offerer.create_offer(), SdpType.OFFER)
    assert len(full.candidates) == 1
    assert full.end_of_candidates
    pair.answerer.set_remote_description(pair.offerer.create_offer())
    assert len(pair.below_answerer.remote_candidates) == 2  # the candidate, and their end
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())


@virtual_time
async def test_candidates_that_come_before_the_description_wait_for_it() -> None:
    pair = make_pair(PeerConfig(max_remote_candidates=3))
    for _ in range(5):
        pair.answerer.add_ice_candidate(IceCandidate(candidate=LINE))
    assert pair.below_answerer.remote_candidates == []
    pair.answerer.set_remote_description(pair.offerer.create_offer())
    assert len(pair.below_answerer.remote_candidates) == 3
    assert pair.answerer.counters["too many candidates"] == 2
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())


@virtual_time
async def test_a_thousand_bogus_candidates_cost_a_count() -> None:
    pair = make_pair()
    pair.answerer.set_remote_description(pair.offerer.create_offer())
    for number in range(1000):
        pair.answerer.add_ice_candidate(IceCandidate(candidate=f"nonsense {number}"))
    assert pair.below_answerer.remote_candidates == []
    assert pair.answerer.counters["unreadable candidate"] == 100
    assert pair.answerer.counters["too many candidates"] == 900
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())


@pytest.mark.parametrize(
    ("candidate", "counted"),
    [
        (IceCandidate(candidate=f"a={LINE}"), None),
        (IceCandidate(candidate=LINE, sdp_mid="whatever"), None),
        (IceCandidate(candidate=f"{LINE} ufrag other"), "candidate of another generation"),
        (IceCandidate(candidate=LINE, username_fragment="other"), "candidate of another generation"),
        (IceCandidate(candidate=LINE.replace(" 1 udp", " 2 udp")), "candidate of another component"),
        (IceCandidate(candidate=LINE, sdp_mid="a0"), "candidate of another component"),
        (IceCandidate(candidate=LINE, sdp_mline_index=0), None),
        (IceCandidate(candidate=LINE, sdp_mline_index=1), "candidate of another component"),
        (IceCandidate(candidate=LINE, sdp_mid="0", sdp_mline_index=1), None),
        (IceCandidate(candidate="a=candidate:"), "unreadable candidate"),
    ],
)
@virtual_time
async def test_which_candidates_are_for_us(candidate: IceCandidate, counted: str | None) -> None:
    pair = make_pair()
    audio = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a0\r\n"
    pair.answerer.set_remote_description(pair.offerer.create_offer() + audio)
    pair.answerer.add_ice_candidate(candidate)
    assert len(pair.below_answerer.remote_candidates) == (counted is None)
    assert counted is None or pair.answerer.counters[counted] == 1
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())


@virtual_time
async def test_the_answer_and_its_candidates_have_the_mid_of_the_offer() -> None:
    # RFC 8829 section 5.3.1
    pair = make_pair()
    told: list[IceCandidate | None] = []
    pair.answerer.on("icecandidate", told.append)
    offer = pair.offerer.create_offer().replace("a=mid:0", "a=mid:x7").replace("BUNDLE 0", "BUNDLE x7")
    pair.answerer.set_remote_description(offer)
    answer = pair.answerer.create_answer()
    assert "a=mid:x7\r\n" in answer
    assert "a=group:BUNDLE x7\r\n" in answer
    await pair.answerer.gather()
    assert {candidate.sdp_mid for candidate in told if candidate is not None} == {"x7"}
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())


@virtual_time
async def test_a_certificate_that_is_not_the_announced_one_ends_both_sides() -> None:
    pair = make_pair()
    pair.offerer.on("icecandidate", pair.answerer.add_ice_candidate)
    pair.answerer.on("icecandidate", pair.offerer.add_ice_candidate)
    offer = pair.offerer.create_offer()
    genuine = parse(offer, SdpType.OFFER).fingerprints[0].value
    pair.answerer.set_remote_description(offer.replace(genuine, ":".join(["00"] * 32)))
    pair.offerer.set_remote_description(pair.answerer.create_answer())
    pair.offerer.start_gathering()
    pair.answerer.start_gathering()
    with pytest.raises(PeerFailed, match="does not match the fingerprint"):
        await pair.answerer.wait_connected()
    await pair.answerer.wait_closed()
    assert pair.answerer.connection_state is ConnectionState.FAILED
    await pair.offerer.close()


@virtual_time
async def test_no_connection_in_time() -> None:
    pair = make_pair(PeerConfig(connect_timeout=20.0))
    pair.below_offerer.drop = pair.below_answerer.drop = lambda data: True
    exchange(pair)
    for peer in (pair.offerer, pair.answerer):
        with pytest.raises(PeerFailed, match="no connection within 20 s"):
            await peer.wait_connected()
        assert peer.connection_state is ConnectionState.FAILED
    assert asyncio.get_running_loop().time() == pytest.approx(20.0)


@virtual_time
async def test_lost_consent_is_noticed() -> None:
    pair = make_pair()
    exchange(pair)
    await asyncio.gather(pair.offerer.wait_connected(), pair.answerer.wait_connected())
    pair.below_answerer.other = pair.below_offerer.other = None  # the network is gone
    channel = pair.offerer.create_data_channel()
    pair.below_offerer.fail("consent expired")
    await pair.offerer.wait_closed()
    assert pair.offerer.connection_state is ConnectionState.FAILED
    assert pair.offerer.close_reason == "ICE: consent expired"
    assert channel.readyState == "closed"
    await pair.answerer.close()


@virtual_time
async def test_closing_is_harmless_at_any_time_and_twice() -> None:
    pair = make_pair()
    await pair.offerer.close()
    await pair.offerer.close()
    pair.answerer.add_ice_candidate(IceCandidate(candidate=LINE))
    with pytest.raises(PeerClosed):
        pair.offerer.create_offer()
    with pytest.raises(PeerClosed):
        pair.offerer.create_data_channel()
    with pytest.raises(PeerFailed, match="closed by us"):
        await pair.offerer.wait_connected()
    await pair.answerer.close()


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 10, 20])
@virtual_time
async def test_closing_in_the_middle_of_connecting(turns: int) -> None:
    pair = make_pair()
    exchange(pair)
    for _ in range(turns):
        await asyncio.sleep(0)
    await pair.offerer.close()
    await pair.answerer.close()
    assert pair.offerer.close_reason == "closed by us"


@virtual_time
async def test_who_waits_for_candidates_is_told_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair()
    monkeypatch.setattr(pair.offerer.session, "gather", asyncio.Event().wait)
    waiting = asyncio.create_task(pair.offerer.gather())
    await asyncio.sleep(0.01)
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())
    with pytest.raises(PeerClosed):
        await waiting


@virtual_time
async def test_what_a_caller_may_not_do() -> None:
    pair = make_pair()
    offerer, answerer = pair.offerer, pair.answerer
    with pytest.raises(RuntimeError, match="answers"):
        answerer.create_offer()
    with pytest.raises(RuntimeError, match="needs an offer"):
        answerer.create_answer()
    with pytest.raises(RuntimeError, match="needs an offer of ours"):
        offerer.set_remote_description("v=0")
    offer = offerer.create_offer()
    with pytest.raises(SdpError):
        offerer.set_remote_description("v=0")
    answerer.set_remote_description(offer)
    answerer.set_remote_description(offer)  # again, which changes nothing
    with pytest.raises(RuntimeError, match="to be answered"):
        answerer.create_offer()
    await asyncio.gather(offerer.close(), answerer.close())


@virtual_time
async def test_a_lite_peer_makes_us_control() -> None:
    below = PipeSession(Role.CONTROLLED)
    pair = make_pair()
    async with DataPeer(SdpType.ANSWER, session=cast(Session, below)) as peer:
        peer.set_remote_description(pair.offerer.create_offer().replace("t=0 0", "t=0 0\r\na=ice-lite"))
        assert below.role is Role.CONTROLLING
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())


async def test_a_lite_side_says_so_and_two_lite_sides_keep_their_roles() -> None:
    config = PeerConfig(ice=IceConfig(lite=LiteConfig(enabled=True)))
    async with DataPeer(SdpType.OFFER, config) as offerer, DataPeer(SdpType.ANSWER, config) as answerer:
        offer = offerer.create_offer()
        assert parse(offer, SdpType.OFFER).ice_lite
        answerer.set_remote_description(offer)
        assert answerer.session.role is Role.CONTROLLED
        offerer.set_remote_description(answerer.create_answer())
        assert offerer.session.role is Role.CONTROLLING


@pytest.mark.parametrize(("offered", "own_role"), [("active", "server"), ("passive", "client"), ("actpass", "client")])
@virtual_time
async def test_the_answer_takes_the_dtls_role_that_the_offer_leaves(offered: str, own_role: str) -> None:
    pair = make_pair()
    pair.answerer.set_remote_description(pair.offerer.create_offer().replace("actpass", offered))
    answer = parse(pair.answerer.create_answer(), SdpType.ANSWER)
    assert answer.setup == {"server": "passive", "client": "active"}[own_role]
    await asyncio.gather(pair.offerer.close(), pair.answerer.close())


@virtual_time
async def test_an_empty_datagram_on_a_live_path_is_dropped() -> None:
    async with connected_pair() as pair:
        channel = pair.offerer.create_data_channel()
        arrived: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
        pair.answerer.on("datachannel", arrived.set_result)
        theirs = await arrived
        await _opened(channel)
        for junk in (b"", b"\x00", b"\x16\xfe\xfd", bytes(1500), b"\xff" * 100, b"\x80" * 40):
            pair.below_answerer.deliver(junk)
        channel.send(b"still here")
        assert await received(theirs) == b"still here"


@virtual_time
async def test_losses_on_the_path_are_repaired() -> None:
    async with connected_pair() as pair:
        arrived: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
        pair.answerer.on("datachannel", arrived.set_result)
        channel = pair.offerer.create_data_channel()
        theirs = await arrived
        await _opened(channel)
        count = 0

        def every_fifth(data: bytes) -> bool:
            nonlocal count
            count += 1
            return count % 5 == 0

        pair.below_offerer.drop = every_fifth
        channel.send(b"x" * 100_000)
        channel.send(b"end")
        got: list[bytes] = []
        done = asyncio.Event()
        theirs.on("message", lambda data: (got.append(data), done.set() if data == b"end" else None))
        async with asyncio.timeout(600):
            await done.wait()
        assert got == [b"x" * 100_000, b"end"]


async def test_a_handler_that_raises_is_told_to_the_loop_and_hurts_nothing() -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
    async with connected_pair() as pair:
        arrived: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()

        def take(channel: RTCDataChannel) -> None:
            arrived.set_result(channel)
            raise ValueError("on datachannel")

        def listen(message: bytes) -> None:
            raise ValueError(f"on {message!r}")

        pair.answerer.on("datachannel", take)
        channel = pair.offerer.create_data_channel()
        theirs = await arrived
        theirs.on("message", listen)
        await _opened(channel)
        channel.send(b"one")
        channel.send(b"two")
        theirs.send(b"still here")
        assert await received(channel) == b"still here"
        assert told == ["ValueError('on datachannel')", "ValueError(\"on b'one'\")", "ValueError(\"on b'two'\")"]
        assert pair.answerer.connection_state is ConnectionState.CONNECTED


@virtual_time
async def test_a_channel_may_give_its_messages_up() -> None:
    # RFC 8831 section 6.4; the other channel of the same connection is reliable.
    async with connected_pair() as pair:
        theirs: dict[str, list[object]] = {"sparing": [], "reliable": []}
        limits: list[tuple[int | None, int | None]] = []

        def arrived(channel: RTCDataChannel) -> None:
            limits.append((channel.maxRetransmits, channel.maxPacketLifeTime))
            channel.on("message", theirs[channel.label].append)

        pair.answerer.on("datachannel", arrived)
        sparing = pair.offerer.create_data_channel("sparing", ordered=False, max_retransmits=0)
        reliable = pair.offerer.create_data_channel("reliable")
        await asyncio.gather(*(_opened(channel) for channel in (sparing, reliable)))
        assert limits == [(0, None), (None, None)]
        pair.below_offerer.drop = lambda data: True
        for channel in (sparing, reliable):
            channel.send("lost at first")
        await asyncio.sleep(0.1)
        pair.below_offerer.drop = lambda data: False
        await asyncio.sleep(10)
        sparing.send("and on")
        await asyncio.sleep(1)
        assert theirs == {"sparing": ["and on"], "reliable": ["lost at first"]}
        for wrong in ((1, 1), (-1, None), (2**32, None), (None, -5), (None, 0)):
            with pytest.raises(ValueError, match="limit"):
                pair.offerer.create_data_channel(max_retransmits=wrong[0], max_packet_life_time=wrong[1])
