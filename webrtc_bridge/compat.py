"""aiortc's ``RTCPeerConnection`` on our ICE agent: the same API, media and data, another connection below.

aiortc offers no hook for another ICE implementation, so this module overrides two private methods of it and replaces
attributes of the transports they make. Everything private that is touched is named in :data:`PRIVATE_NAMES`, with a
test that fails when aiortc drops one; the range of aiortc versions is pinned in ``pyproject.toml``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiortc
from aiortc import RTCConfiguration, RTCDtlsTransport, RTCIceCandidate, RTCIceTransport, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceServer, RTCIceTransportPolicy
from aiortc.rtcicetransport import candidate_from_aioice, parse_stun_turn_uri
from aiortc.sdp import SessionDescription

from ice import IceConfig, IceTransportPolicy
from turn import AccessToken, TurnServerConfig
from webrtc_bridge.config import SctpConfig
from webrtc_bridge.errors import BridgeError
from webrtc_bridge.ice_connection import IceConnection
from webrtc_bridge.sctp import SctpAssociation

__all__ = ["PRIVATE_NAMES", "RTCPeerConnection", "stun_servers", "turn_servers"]

logger = logging.getLogger("webrtc_bridge")

PRIVATE_NAMES: dict[type, tuple[str, ...]] = {
    aiortc.RTCPeerConnection: (
        "_RTCPeerConnection__createDtlsTransport",
        "_RTCPeerConnection__createSctpTransport",
        "_RTCPeerConnection__gather",
        "_RTCPeerConnection__iceTransports",
        "_RTCPeerConnection__sctp",
        "_RTCPeerConnection__sctp_mline_index",
    ),
    aiortc.RTCIceGatherer: ("_connection", "_remote_candidates_end"),
    aiortc.RTCIceTransport: ("_connection", "_recv", "_send"),
    aiortc.RTCSctpTransport: ("_bundled",),
}
"""The private names of aiortc that this module overrides or sets, by the class that has them."""


class RTCPeerConnection(aiortc.RTCPeerConnection):
    """A drop-in for ``aiortc.RTCPeerConnection``.

    ``configuration.iceServers`` becomes the STUN and TURN servers of every session, all of them and not only the first,
    over UDP, TCP, TLS and DTLS as their URLs say; unlike aiortc, no configuration means no server and not Google's.
    ``configuration.iceTransportPolicy`` ``relay`` shows and sends the peer nothing but relayed candidates. ``ice`` sets
    what W3C's configuration has no word for. The event ``"icecandidateerror"`` (an
    :class:`ice.events.CandidateErrorFound`) tells why a relayed candidate is missing.

    Offers and answers say ``ice-options:ice2`` (RFC 8445 section 10). Data channels are those of
    :class:`webrtc_bridge.sctp.SctpAssociation`, with its limits (``sctp``) and its care for the peer's window.

    With ``trickle`` the local description is set as soon as one candidate a transport is known, offers and answers
    say ``ice-options:trickle ice2``, and each further candidate comes as the event ``"icecandidate"`` (an
    ``RTCIceCandidate``, at last None), to be handed to the peer's ``addIceCandidate``. Without it, as in aiortc,
    setting the description waits for all candidates; the event comes then too.

    ICE is restarted by :meth:`restartIce` and never by itself. ``"restartwanted"`` (an
    :class:`ice.events.RestartReason`) tells that it would help now, since aiortc's states know no ``disconnected``.
    """

    def __init__(
        self,
        configuration: RTCConfiguration | None = None,
        *,
        ice: IceConfig | None = None,
        trickle: bool = False,
        sctp: SctpConfig | None = None,
    ) -> None:
        """Prepare a connection.

        Raises:
            BridgeError: the configuration wants relayed candidates only, and has no TURN server.
            ValueError: the URL of a server is malformed, or a TURN server has no user name or credential.
        """
        configuration = configuration or RTCConfiguration(iceServers=[])
        config, servers = ice or IceConfig(), configuration.iceServers or []
        relays = (*config.turn_servers, *turn_servers(servers))
        policy = config.transport_policy
        if configuration.iceTransportPolicy is RTCIceTransportPolicy.RELAY:
            policy = IceTransportPolicy.RELAY
        if policy is IceTransportPolicy.RELAY and not relays:
            raise BridgeError("relayed candidates only, and no TURN server to have them from")
        stun = (*config.stun_servers, *stun_servers(servers))
        self._ice_config = replace(config, stun_servers=stun, turn_servers=relays, transport_policy=policy)
        self._trickle = trickle
        self._sctp_config = sctp
        self._gatherings: set[asyncio.Task[None]] = set()
        self._needs_offer = False
        super().__init__(configuration)
        self.on("signalingstatechange", self._ask_for_offer)

    async def createOffer(self) -> RTCSessionDescription:
        """Return an offer, see aiortc; after :meth:`restartIce` one with new credentials."""
        self._needs_offer = False
        await self._gather_again()
        return self._with_options(await super().createOffer())

    async def createAnswer(self) -> RTCSessionDescription:
        """Return an answer, see aiortc; to an offer that restarts ICE one with new credentials."""
        self._needs_offer = False
        await self._gather_again()
        return self._with_options(await super().createAnswer())

    def restartIce(self) -> None:
        """Let the next offer restart ICE (W3C, RFC 8829 section 5.2.2): media and data stay on the path there is until
        the new checks have found one, and DTLS is not touched.

        ``"negotiationneeded"`` asks for that offer, as in browsers: soon, or when the exchange under way is over.
        Before the first one there is nothing to restart, and no event.
        """
        started = [transport.iceGatherer._connection.restart() for transport in self._transports()]
        if any(started):
            self._needs_offer = True
            asyncio.get_running_loop().call_soon(self._ask_for_offer)

    def _ask_for_offer(self) -> None:
        if self._needs_offer and self.signalingState == "stable":
            self._needs_offer = False
            self.emit("negotiationneeded")

    async def setRemoteDescription(self, sessionDescription: RTCSessionDescription) -> None:
        """Take the peer's description, see aiortc; later ones with other credentials restart ICE."""
        expected = {"offer": "stable", "answer": "have-local-offer"}.get(sessionDescription.type)
        if self.signalingState == expected:
            self._follow_restart(sessionDescription)
        await super().setRemoteDescription(sessionDescription)

    def _follow_restart(self, description: RTCSessionDescription) -> None:
        # Before aiortc hands on the candidates of the description, which belong to the new credentials.
        media = {section.rtp.muxId: section for section in SessionDescription.parse(description.sdp).media}
        for transport in self._transports():
            mid, _ = self._place(transport) or (None, None)
            section = media.get(mid) if mid is not None else None
            told = None if section is None else section.ice
            if told is None or told.usernameFragment is None or told.password is None:
                continue
            gatherer = transport.iceGatherer
            if gatherer._connection.follow(told.usernameFragment, told.password):
                gatherer._remote_candidates_end = False

    async def _gather_again(self) -> None:
        if not self._trickle:
            waits = [transport.iceGatherer._connection.gather_again() for transport in self._transports()]
            await asyncio.gather(*waits)

    async def close(self) -> None:
        """End the connection, see aiortc; a gathering that still runs ends too."""
        await super().close()
        await asyncio.gather(*tuple(self._gatherings), return_exceptions=True)

    def _with_options(self, description: RTCSessionDescription) -> RTCSessionDescription:
        options = "trickle ice2" if self._trickle else "ice2"
        lines = description.sdp.splitlines()
        told = [option for line in lines for option in _behind(line, options)]
        return RTCSessionDescription(sdp="\r\n".join(told) + "\r\n", type=description.type)

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:
        # aiortc has made an aioice connection by now; it holds no socket, so it is simply forgotten.
        dtls: RTCDtlsTransport = super()._RTCPeerConnection__createDtlsTransport()  # type: ignore[misc]
        transport = dtls.transport
        connection = IceConnection(
            self._ice_config, lambda candidate: self._found(transport, candidate), trickles=self._trickle
        )
        connection.session.on("candidateerror", lambda error: self.emit("icecandidateerror", error))
        connection.session.on("restartwanted", lambda reason: self.emit("restartwanted", reason))
        gatherer: Any = transport.iceGatherer
        gatherer._connection = connection
        replaced: Any = transport
        replaced._connection = connection
        replaced._recv = connection.recv
        replaced._send = connection.send
        return dtls

    def _RTCPeerConnection__createSctpTransport(self) -> None:
        super()._RTCPeerConnection__createSctpTransport()  # type: ignore[misc]
        made: Any = self._RTCPeerConnection__sctp  # type: ignore[has-type]
        ours = SctpAssociation(made.transport, self._sctp_config)
        ours._bundled, ours.mid = made._bundled, made.mid
        ours.on("datachannel", lambda channel: self.emit("datachannel", channel))
        self._RTCPeerConnection__sctp = ours

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
    """Return the ``stun:`` URLs of ``servers``; a ``stuns:`` one is told in the log and left out.

    Raises:
        ValueError: a URL is malformed.
    """
    found = []
    for _, url, parsed in _urls(servers):
        if parsed["scheme"] == "stun":
            found.append(f"stun:{parsed['host']}:{parsed['port']}")
        elif parsed["scheme"] == "stuns":
            logger.warning("ICE server %s is not used: our addresses are asked for over UDP and TCP, without TLS", url)
    return found


def turn_servers(servers: list[RTCIceServer]) -> list[TurnServerConfig]:
    """Return what to ask the ``turn:`` and ``turns:`` URLs of ``servers`` with.

    A ``credentialType`` of ``"oauth"`` stands for an access token (RFC 7635), as WebRTC once had it: the user name is
    the name of its key, the credential a mapping with ``macKey`` and ``accessToken``, each in Base64.

    Raises:
        ValueError: a URL is malformed, or its server has no user name or credential, or one of no kind that there is
            (W3C: InvalidAccessError).
    """
    found = []
    for server, url, parsed in _urls(servers):
        if parsed["scheme"] in ("turn", "turns"):
            if server.username is None or server.credential is None:
                raise ValueError(f"{url} needs a username and a credential")
            found.append(TurnServerConfig(url=url, **_credential(server, url)))
    return found


def _credential(server: RTCIceServer, url: str) -> dict[str, Any]:
    credential: Any = server.credential
    if server.credentialType == "password" and isinstance(credential, str):
        return {"username": server.username, "password": credential}
    if server.credentialType == "oauth" and isinstance(credential, Mapping):
        key, token = credential.get("macKey"), credential.get("accessToken")
        if isinstance(key, str) and isinstance(token, str):
            return {"access_tokens": AccessToken.from_text(str(server.username), key, token)}
    raise ValueError(f"{url} has a credential that does not go with credentialType {server.credentialType!r}")


def _urls(servers: list[RTCIceServer]) -> list[tuple[RTCIceServer, str, dict[str, Any]]]:
    urls = [(server, [server.urls] if isinstance(server.urls, str) else server.urls) for server in servers]
    return [(server, url, parse_stun_turn_uri(url)) for server, each in urls for url in each]


def _behind(line: str, options: str) -> tuple[str, ...]:
    """Return ``line``, and the options line behind a section's password (RFC 8839 section 5.6)."""
    return (line, f"a=ice-options:{options}") if line.startswith("a=ice-pwd:") else (line,)
