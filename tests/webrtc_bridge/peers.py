"""Pairs of peers on a pipe, connected by handing descriptions and candidates over directly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, cast

from ice import Session
from tests.webrtc_bridge.pipe import PipeSession, pipe
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType


class Pair(NamedTuple):
    """Two peers, and the sessions below them."""

    offerer: DataPeer
    answerer: DataPeer
    below_offerer: PipeSession
    below_answerer: PipeSession


def make_pair(config: PeerConfig | None = None, answerer_config: PeerConfig | None = None) -> Pair:
    """Return two peers that know nothing of each other yet."""
    one, other = pipe()
    offerer = DataPeer(SdpType.OFFER, config, session=cast(Session, one))
    answerer = DataPeer(SdpType.ANSWER, answerer_config or config, session=cast(Session, other))
    return Pair(offerer, answerer, one, other)


def exchange(pair: Pair) -> None:
    """Carry the offer, the answer and every candidate across, trickled."""
    pair.offerer.on("icecandidate", pair.answerer.add_ice_candidate)
    pair.answerer.on("icecandidate", pair.offerer.add_ice_candidate)
    pair.answerer.set_remote_description(pair.offerer.create_offer())
    pair.offerer.set_remote_description(pair.answerer.create_answer())
    pair.offerer.start_gathering()
    pair.answerer.start_gathering()


@asynccontextmanager
async def connected_pair(config: PeerConfig | None = None) -> AsyncIterator[Pair]:
    """Give two peers whose association is up, and close them."""
    pair = make_pair(config)
    exchange(pair)
    try:
        await asyncio.gather(pair.offerer.wait_connected(), pair.answerer.wait_connected())
        yield pair
    finally:
        await asyncio.gather(pair.offerer.close(), pair.answerer.close())
