"""aiortc's ``RTCPeerConnection`` on our ICE agent: the same API, media and data, another connection below.

aiortc offers no hook for another ICE implementation, so this module overrides two private methods of it and replaces
attributes of the transports they make. Everything private that is touched is named in :data:`PRIVATE_NAMES`, with a
test that fails when aiortc drops one; the range of aiortc versions is pinned in ``pyproject.toml``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiortc
from aiortc import RTCConfiguration, RTCDtlsTransport, RTCIceCandidate, RTCIceTransport, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceServer, RTCIceTransportPolicy
from aiortc.rtcicetransport import candidate_from_aioice, parse_stun_turn_uri

from ice import IceConfig
from webrtc_bridge.errors import BridgeError
from webrtc_bridge.ice_connection import IceConnection

__all__ = ["PRIVATE_NAMES", "RTCPeerConnection", "stun_servers"]

logger = logging.getLogger("webrtc_bridge")

PRIVATE_NAMES: dict[type, tuple[str, ...]] = {
    aiortc.RTCPeerConnection: (
        "_RTCPeerConnection__createDtlsTransport",
        "_RTCPeerConnection__gather",
        "_RTCPeerConnection__iceTransports",
        "_RTCPeerConnection__sctp_mline_index",
    ),
    aiortc.RTCIceGatherer: ("_connection",),
    aiortc.RTCIceTransport: ("_connection", "_recv", "_send"),
}
"""The private names of aiortc that this module overrides or sets, by the class that has them."""


class RTCPeerConnection(aiortc.RTCPeerConnection):
    """A drop-in for ``aiortc.RTCPeerConnection``.

    ``configuration.iceServers`` becomes the STUN servers of every session, all of them and not only the first; unlike
    aiortc, no configuration means no server and not Google's. ``ice`` sets what W3C's configuration has no word for.

    With ``trickle`` the local description is set as soon as one candidate a transport is known, offers and answers
    say ``ice-options:trickle``, and each further candidate comes as the event ``"icecandidate"`` (an
    ``RTCIceCandidate``, at last None), to be handed to the peer's ``addIceCandidate``. Without it, as in aiortc,
    setting the description waits for all candidates; the event comes then too.
    """

    def __init__(
        self, configuration: RTCConfiguration | None = None, *, ice: IceConfig | None = None, trickle: bool = False
    ) -> None:
        """Prepare a connection.

        Raises:
            BridgeError: the configuration wants relayed candidates only, and there is no TURN client yet.
            ValueError: the URL of a server is malformed.
        """
        configuration = configuration or RTCConfiguration(iceServers=[])
        if configuration.iceTransportPolicy is RTCIceTransportPolicy.RELAY:
            raise BridgeError("relayed candidates need TURN, which is not here yet")
        config = ice or IceConfig()
        servers = stun_servers(configuration.iceServers or [])
        self._ice_config = config.with_servers(*config.stun_servers, *servers)
        self._trickle = trickle
        self._gatherings: set[asyncio.Task[None]] = set()
        super().__init__(configuration)

    async def createOffer(self) -> RTCSessionDescription:
        """Return an offer, see aiortc."""
        return self._with_options(await super().createOffer())

    async def createAnswer(self) -> RTCSessionDescription:
        """Return an answer, see aiortc."""
        return self._with_options(await super().createAnswer())

    async def close(self) -> None:
        """End the connection, see aiortc; a gathering that still runs ends too."""
        await super().close()
        await asyncio.gather(*tuple(self._gatherings), return_exceptions=True)

    def _with_options(self, description: RTCSessionDescription) -> RTCSessionDescription:
        if not self._trickle:
            return description
        lines = description.sdp.splitlines()
        told = [option for line in lines for option in _behind(line)]
        return RTCSessionDescription(sdp="\r\n".join(told) + "\r\n", type=description.type)

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:
        # aiortc has made an aioice connection by now; it holds no socket, so it is simply forgotten.
        dtls: RTCDtlsTransport = super()._RTCPeerConnection__createDtlsTransport()  # type: ignore[misc]
        transport = dtls.transport
        connection = IceConnection(self._ice_config, lambda candidate: self._found(transport, candidate))
        gatherer: Any = transport.iceGatherer
        gatherer._connection = connection
        replaced: Any = transport
        replaced._connection = connection
        replaced._recv = connection.recv
        replaced._send = connection.send
        return dtls

    async def _RTCPeerConnection__gather(self) -> None:
        if not self._trickle:
            await super()._RTCPeerConnection__gather()  # type: ignore[misc]
            return
        transports: set[RTCIceTransport] = self._RTCPeerConnection__iceTransports  # type: ignore[attr-defined]
        waits = []
        for transport in transports:
            gatherer: Any = transport.iceGatherer
            if gatherer.state == "new":
                gathering = asyncio.create_task(gatherer.gather())
                self._gatherings.add(gathering)
                gathering.add_done_callback(self._gatherings.discard)
            waits.append(gatherer._connection.first_candidate())
        await asyncio.gather(*waits)

    def _found(self, transport: RTCIceTransport, candidate: Any) -> None:
        """Tell the application a local candidate, with the section that it belongs to."""
        place = self._place(transport)
        if place is None:
            return  # aiortc has bundled this transport away meanwhile
        if candidate is None:
            if all(one.iceGatherer._connection.told_all for one in self._transports()):
                self.emit("icecandidate", None)
            return
        told: RTCIceCandidate = candidate_from_aioice(candidate)
        told.sdpMid, told.sdpMLineIndex = place
        self.emit("icecandidate", told)

    def _transports(self) -> set[Any]:
        transports: set[Any] = self._RTCPeerConnection__iceTransports  # type: ignore[attr-defined]
        return transports

    def _place(self, transport: RTCIceTransport) -> tuple[str | None, int | None] | None:
        """Return mid and index of the first section on ``transport``."""
        for transceiver in self.getTransceivers():
            if transceiver.receiver.transport.transport is transport:
                return transceiver.mid, transceiver._get_mline_index()
        if self.sctp is not None and self.sctp.transport.transport is transport:
            index: int | None = self._RTCPeerConnection__sctp_mline_index  # type: ignore[attr-defined]
            return self.sctp.mid, index
        return None


def stun_servers(servers: list[RTCIceServer]) -> list[str]:
    """Return the ``stun:`` URLs of ``servers``; what needs TURN or TLS is told in the log and left out.

    Raises:
        ValueError: a URL is malformed.
    """
    found = []
    for server in servers:
        for url in [server.urls] if isinstance(server.urls, str) else server.urls:
            parsed = parse_stun_turn_uri(url)
            if parsed["scheme"] == "stun":
                found.append(f"stun:{parsed['host']}:{parsed['port']}")
            else:
                logger.warning("ICE server %s is not used: only stun: is supported yet", url)
    return found


def _behind(line: str) -> tuple[str, ...]:
    """Return ``line``, and the options line behind a section's password (RFC 8839 section 5.6)."""
    return (line, "a=ice-options:trickle") if line.startswith("a=ice-pwd:") else (line,)
