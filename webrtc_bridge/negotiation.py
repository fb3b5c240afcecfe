"""From a signalling stream to a connected peer, as dialler and as listener (libp2p WebRTC specification, private to
private), in the order that js-libp2p keeps.

Dialler: ``init`` channel, offer, candidates; when connected, close ``init``, wait until it is closed (its id would
else be given to another stream before both sides know), and end the stream. Listener: answer, candidates; when
connected, end the stream. Neither gives up when the stream ends early: the other side may have connected first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiortc import RTCDataChannel

from signalling.errors import SignallingError
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.webrtc_signalling import (
    EndOfCandidates,
    IceCandidate,
    RemoteDescription,
    SignallingRole,
)
from webrtc_bridge.config import WebRtcConfig
from webrtc_bridge.datachannel_streams import INIT_LABEL, DataChannelMuxer
from webrtc_bridge.ending import end_tasks
from webrtc_bridge.errors import NegotiationFailed, PeerFailed, SdpError
from webrtc_bridge.exchange import SignallingExchange
from webrtc_bridge.peer import ConnectionState, DataPeer
from webrtc_bridge.sdp import SdpType

__all__ = ["close_init", "negotiate"]

logger = logging.getLogger("webrtc_bridge")

SIDES = {SignallingRole.DIALLER: SdpType.OFFER, SignallingRole.LISTENER: SdpType.ANSWER}


async def negotiate(
    stream: Stream, role: SignallingRole, config: WebRtcConfig, signalling: SignallingConfig | None = None
) -> DataChannelMuxer:
    """Return the muxer of the peer connection that the other end of ``stream`` makes with us.

    Cancelling releases everything; the time limit is the caller's.

    Raises:
        NegotiationFailed: the peer broke the conversation, its description cannot be used, or no connection came about.
    """
    peer = DataPeer(SIDES[role], config.peer)
    muxer = DataChannelMuxer(peer, config.streams)
    try:
        async with (
            SignallingExchange(stream, role, signalling, linger=config.linger) as exchange,
            _told(peer, exchange),
        ):
            init = peer.create_data_channel(INIT_LABEL) if role is SignallingRole.DIALLER else None
            if role is SignallingRole.DIALLER:
                exchange.send_description(peer.create_offer())
                peer.start_gathering()
            await _converse(exchange, peer, config.orphan_timeout)
            if init is not None:
                await close_init(init, config.linger)
        return muxer
    except (PeerFailed, SdpError, SignallingError) as error:
        await peer.close()
        raise NegotiationFailed(str(error)) from error
    except BaseException:
        await peer.close()
        raise


@asynccontextmanager
async def _told(peer: DataPeer, exchange: SignallingExchange) -> AsyncIterator[None]:
    """Send the candidates that the peer finds until it is connected, as js-libp2p does."""

    def tell(candidate: IceCandidate | None) -> None:
        if peer.connection_state is not ConnectionState.CONNECTED:
            exchange.send_candidate(candidate)

    peer.on("icecandidate", tell)
    try:
        yield
    finally:
        with contextlib.suppress(KeyError):  # a closed peer has dropped its listeners
            peer.remove_listener("icecandidate", tell)


async def _converse(exchange: SignallingExchange, peer: DataPeer, orphan_timeout: float) -> None:
    """Take what the other side says until the peer is connected."""
    reading = asyncio.create_task(_read(exchange, peer), name="webrtc signalling: reader")
    connected = asyncio.create_task(peer.wait_connected(), name="webrtc signalling: connected")
    try:
        await asyncio.wait((reading, connected), return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()  # raises what went wrong; a mere end of the stream is no reason to give up
        async with asyncio.timeout(orphan_timeout if exchange.broken is not None else None):
            await connected
    except TimeoutError:
        raise NegotiationFailed(f"the signalling stream broke: {exchange.broken}") from None
    finally:
        await end_tasks(reading, connected)


async def _read(exchange: SignallingExchange, peer: DataPeer) -> None:
    async for item in exchange.items():
        _take(item, exchange, peer)


def _take(
    item: RemoteDescription | IceCandidate | EndOfCandidates, exchange: SignallingExchange, peer: DataPeer
) -> None:
    match item:
        case RemoteDescription(sdp=sdp):
            peer.set_remote_description(sdp)
            if peer.side is SdpType.ANSWER:
                exchange.send_description(peer.create_answer())
                peer.start_gathering()
        case IceCandidate():
            peer.add_ice_candidate(item)
        case EndOfCandidates():
            peer.add_ice_candidate(None)


async def close_init(init: RTCDataChannel, timeout: float) -> None:
    """Close the ``init`` channel once it is open, and return when both sides have closed it.

    A peer that leaves it open for ``timeout`` seconds is not waited for: its id is not used again until it is closed.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await _until_closed(init)
    init.close()


async def _until_closed(init: RTCDataChannel) -> None:
    changed = asyncio.Event()
    init.on("open", changed.set)
    init.on("close", changed.set)
    while init.readyState == "connecting":
        changed.clear()
        await changed.wait()
    init.close()
    while init.readyState != "closed":
        changed.clear()
        await changed.wait()
