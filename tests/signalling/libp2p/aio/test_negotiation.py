from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from signalling.errors import NegotiationError, StreamReset
from signalling.libp2p.aio.connection import Connection, Direction, Limit
from signalling.libp2p.aio.negotiation import negotiate_inbound, negotiate_outbound, propose
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.multistream import encode_token
from tests.signalling.libp2p.aio.pipes import SERVER_PEER, MemoryStream, over_tcp

ADDRESS = Multiaddr("/ip4/127.0.0.1/tcp/1")


async def test_both_sides_agree() -> None:
    one, two = MemoryStream.pair()
    ours, theirs = await asyncio.gather(
        negotiate_outbound(one, ["/nope", "/echo"]), negotiate_inbound(two, {"/echo", "/other"})
    )
    assert ours == theirs == ("/echo", b"")


async def test_what_follows_at_once_is_kept() -> None:
    one, two = MemoryStream.pair()
    await one.write(encode_token("/multistream/1.0.0") + encode_token("/echo") + b"payload")
    assert await negotiate_inbound(two, {"/echo"}) == ("/echo", b"payload")


async def test_without_agreement_both_ends_are_reset() -> None:
    one, two = MemoryStream.pair()
    results = await asyncio.gather(
        negotiate_outbound(one, ["/nope"]), negotiate_inbound(two, {"/echo"}), return_exceptions=True
    )
    assert isinstance(results[0], NegotiationError)
    assert isinstance(results[1], StreamReset)


async def test_a_silent_peer_is_given_up() -> None:
    one, two = MemoryStream.pair()
    with pytest.raises(NegotiationError, match="within"):
        await negotiate_outbound(one, ["/echo"], timeout=0.01)
    assert two.was_reset


async def test_a_cancelled_negotiation_resets_the_stream() -> None:
    one, two = MemoryStream.pair()
    negotiation = asyncio.create_task(negotiate_outbound(one, ["/echo"]))
    await asyncio.sleep(0.01)
    negotiation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await negotiation
    assert two.was_reset


async def test_a_proposal_to_a_peer_that_speaks_it_waits_for_nothing() -> None:
    one, two = MemoryStream.pair()
    answer = await propose(one, "/echo")
    await one.write(b"payload")
    waiting = asyncio.create_task(answer())
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not one.was_reset
    assert await negotiate_inbound(two, {"/echo"}) == ("/echo", b"payload")
    await two.write(b"reply")
    assert await answer() == b"reply"


async def test_a_proposal_that_is_refused_is_told_by_the_first_read() -> None:
    one, two = MemoryStream.pair()
    stream = Stream(one, "/echo", cast(Connection, None), proposed=await propose(one, "/echo"))
    await two.write(encode_token("/multistream/1.0.0") + encode_token("na"))
    with pytest.raises(NegotiationError):
        await stream.read()
    assert two.was_reset


@pytest.mark.parametrize("close", [Stream.close, Stream.close_write])
async def test_the_end_waits_for_the_answer_to_a_proposal(close: Callable[[Stream], Awaitable[None]]) -> None:
    one, two = MemoryStream.pair()
    stream = Stream(one, "/echo", cast(Connection, None), proposed=await propose(one, "/echo"))
    await stream.write(b"payload")
    closing = asyncio.ensure_future(close(stream))
    reading = asyncio.create_task(stream.read()) if close is Stream.close_write else None
    await asyncio.sleep(0.01)
    assert not two._eof
    assert await negotiate_inbound(two, {"/echo"}) == ("/echo", b"payload")
    await closing
    assert await two.read() == b""
    if reading is not None:
        await two.write(b"answer")
        assert await reading == b"answer"


async def test_a_connection_opens_negotiated_streams() -> None:
    async with over_tcp() as both:
        connection = Connection(
            both.client.muxer,
            remote_peer=SERVER_PEER,
            remote_address=ADDRESS,
            local_address=ADDRESS,
            direction=Direction.OUTBOUND,
            limit=Limit(duration=120, data=131072),
        )
        opening = asyncio.create_task(connection.open_stream(["/echo"]))
        raw = await both.server.muxer.accept_stream()
        assert await negotiate_inbound(raw, {"/echo"}) == ("/echo", b"")
        stream = await opening
        assert stream.protocol == "/echo"
        assert stream.connection is connection
        assert "limited outbound" in repr(connection)
        assert not connection.closed
        await connection.close()
        await connection.wait_closed()
        assert connection.closed
