"""A browser page without a browser: a WebSocket to the gateway and a peer connection of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

from signalling.libp2p.aio.presence import PresenceService
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.webrtc_signalling import IceCandidate
from tests.webrtc_bridge.hosts import LOOPBACK, Relay, relay
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.gateway import Gateway, GatewayConfig, serve
from webrtc_bridge.negotiation import close_init
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType


class Page:
    """What the page's scripts do, message by message."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.peer = ""
        self.passed_over: list[dict[str, Any]] = []

    async def say(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def hear(self, kind: str, timeout: float = 10.0) -> dict[str, Any]:
        """Return the next message of a kind; others are remembered."""
        async with asyncio.timeout(timeout):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.receive_str())
                if message["type"] == kind:
                    return message
                self.passed_over.append(message)

    async def hello(self, name: str = "a tab") -> dict[str, Any]:
        await self.say(type="hello", name=name)
        welcome = await self.hear("welcome")
        self.peer = welcome["peer"]
        return welcome

    async def call(self, peer: str, session: str = "s1") -> DataChannelMuxer:
        """Call a peer and return the muxer of the connection, as the page's contact list does on a click."""
        own = DataPeer(SdpType.OFFER, LOOPBACK.peer)
        muxer = DataChannelMuxer(own)
        init = own.create_data_channel("init")
        own.on("icecandidate", lambda candidate: self._tell_candidate(session, candidate))
        await self.say(type="offer", peer=peer, session=session, sdp=own.create_offer())
        own.start_gathering()
        await self._until_connected(own, session)
        await close_init(init, 5.0)
        await self.say(type="bye", session=session, reason="connected")
        return muxer

    async def answer(self) -> DataChannelMuxer:
        """Wait for a call and take it."""
        offer = await self.hear("offer")
        session = offer["session"]
        own = DataPeer(SdpType.ANSWER, LOOPBACK.peer)
        muxer = DataChannelMuxer(own)
        own.on("icecandidate", lambda candidate: self._tell_candidate(session, candidate))
        own.set_remote_description(offer["sdp"])
        await self.say(type="answer", session=session, sdp=own.create_answer())
        own.start_gathering()
        await self._until_connected(own, session)
        await self.say(type="bye", session=session, reason="connected")
        return muxer

    async def _until_connected(self, own: DataPeer, session: str) -> None:
        listening = asyncio.create_task(self._listen(own, session))
        try:
            await own.wait_connected()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, own: DataPeer, session: str) -> None:
        while True:
            message = json.loads(await self.socket.receive_str())
            if message.get("session") != session:
                self.passed_over.append(message)
            elif message["type"] == "answer":
                own.set_remote_description(message["sdp"])
            elif message["type"] == "candidate":
                candidate = message["candidate"]
                own.add_ice_candidate(None if candidate is None else IceCandidate.from_json(candidate))
            else:
                self.passed_over.append(message)

    def _tell_candidate(self, session: str, candidate: IceCandidate | None) -> None:
        value = None if candidate is None else candidate.to_json()
        task = asyncio.ensure_future(self.say(type="candidate", session=session, candidate=value))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


class World:
    """A relay with presence, a gateway beside it, and pages."""

    def __init__(self, at: Relay, gateway: Gateway, address: tuple[str, int], client: ClientSession) -> None:
        self.relay = at
        self.gateway = gateway
        self.url = f"http://{address[0]}:{address[1]}"
        self._client = client

    async def connect(self, origin: str | None = "", path: str = "/gateway") -> ClientWebSocketResponse:
        """Open a WebSocket as a page of ``origin`` would; "" stands for the gateway's own, None for no header."""
        headers = {} if origin is None else {"Origin": origin or self.url}
        return await self._client.ws_connect(self.url + path, headers=headers)

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """Open a page that has not said hello."""
        socket = await self.connect()
        try:
            yield Page(socket)
        finally:
            await socket.close()


@asynccontextmanager
async def world(config: GatewayConfig | None = None) -> AsyncIterator[World]:
    """Run everything on loopback."""
    async with relay(RelayConfig.private()) as at:  # the guests of all tabs come from one address
        presence = PresenceService(at.host)
        gateway = Gateway(at.address, config)
        try:
            async with serve(gateway) as address, ClientSession() as client:
                yield World(at, gateway, address, client)
        finally:
            await presence.close()


__all__ = ["Page", "World", "world"]
