"""The libp2p transport ``/webrtc``: a relayed connection carries the signalling, a peer connection carries the streams.

It listens on ``<relay>/p2p/<R>/p2p-circuit/webrtc`` and dials ``<relay>/p2p/<R>/p2p-circuit/webrtc/p2p/<T>``. The
relayed connection proved who the peer is and carried the certificates' fingerprints, and DTLS holds the peer to them:
there is no Noise and no muxer negotiation.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from signalling.errors import ConnectionClosed, HandshakeError, LimitExceeded, MultiaddrError
from signalling.libp2p.aio.connection import Connection, Direction, Listener
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.webrtc_signalling import SIGNALLING_PROTOCOL, SignallingRole
from webrtc_bridge.config import WebRtcConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer
from webrtc_bridge.errors import NegotiationFailed
from webrtc_bridge.exchange import linger
from webrtc_bridge.negotiation import negotiate

__all__ = ["WebRtcAddress", "WebRtcTransport", "split_webrtc"]

logger = logging.getLogger("webrtc_bridge")

Accept = Callable[[Connection], None]


class WebRtcAddress(NamedTuple):
    """A ``/webrtc`` address taken apart."""

    circuit: Multiaddr
    """The address of the relayed connection, ``/p2p/<target>`` included if there is one; empty if none was given."""
    target: PeerId | None


def split_webrtc(address: Multiaddr) -> WebRtcAddress | None:
    """Take ``[<circuit address>]/webrtc[/p2p/<target>]`` apart; None when it is none."""
    names = address.protocols()
    if names.count("webrtc") != 1:
        return None
    at = names.index("webrtc")
    before, behind = address[:at], address[at + 1 :]
    if behind.protocols() not in ((), ("p2p",)) or (names[:at] and names[at - 1] not in ("p2p-circuit", "p2p")):
        return None
    if names[:at] and names[:at].count("p2p-circuit") != 1:
        return None
    target = behind.peer_id or before.peer_id
    if target is not None and len(before) and before.peer_id is None:
        before = before.encapsulate(f"/p2p/{target}")
    return WebRtcAddress(before, target)


class WebRtcListener:
    """Peers can reach us at ``/webrtc`` behind one reservation."""

    def __init__(self, transport: WebRtcTransport, reservation: Listener, *, owned: bool) -> None:
        """``owned`` tells whether the reservation was made for this listener and ends with it."""
        self._transport = transport
        self._reservation = reservation
        self._owned = owned

    @property
    def addresses(self) -> list[Multiaddr]:
        """The circuit addresses of the reservation, with ``/webrtc`` behind."""
        return [address.encapsulate("/webrtc") for address in self._reservation.addresses]

    async def close(self) -> None:
        """Give up a reservation of our own, and answer no more signalling once no listener is left. Harmless twice."""
        await self._transport._forget(self)
        if self._owned:
            await self._transport.host.unlisten(self._reservation)


class WebRtcTransport:
    """Plug it into a host with ``host.add_transport(WebRtcTransport(host))``.

    A connection that it makes is unlimited and direct; ``connection.muxer`` is a
    :class:`~webrtc_bridge.datachannel_streams.DataChannelMuxer`, and ``connection.muxer.peer.session`` the ICE session
    with its selected pair.
    """

    def __init__(self, host: Host, config: WebRtcConfig | None = None) -> None:
        self.host = host
        self.config = config or WebRtcConfig()
        self.refused: Counter[str] = Counter()
        """Inbound negotiations that did not lead to a connection, by reason."""
        self._signalling = SignallingConfig(
            max_message=self.config.max_signalling_message, max_candidates=self.config.peer.max_remote_candidates
        )
        self._listeners: list[WebRtcListener] = []
        self._accept: Accept | None = None
        self._inbound: Counter[PeerId] = Counter()

    # ---------------------------------------------------------------- dialling

    def can_dial(self, address: Multiaddr) -> bool:
        """Whether it is a ``/webrtc`` address with a target."""
        parts = split_webrtc(address)
        return parts is not None and parts.target is not None

    async def dial(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        """Connect to the target of ``address`` over a relayed connection, which is made when there is none.

        Raises:
            MultiaddrError: it is no ``/webrtc`` address with a target, or with another one than ``peer``.
            SignallingError: the target cannot be reached through the relay.
            NegotiationFailed: the peer does not speak WebRTC, or no direct path was found.
            TimeoutError: it took longer than ``dial_timeout``.
        """
        parts = split_webrtc(address)
        if parts is None or parts.target is None:
            raise MultiaddrError(f"{address} is no /webrtc address with a target")
        if peer is not None and peer != parts.target:
            raise MultiaddrError(f"{address} leads to another peer than {peer}")
        async with asyncio.timeout(self.config.dial_timeout):
            relayed = await self._relayed(parts)
            stream = await self.host.new_stream(relayed, [SIGNALLING_PROTOCOL], allow_limited=True)
            muxer = await negotiate(stream, SignallingRole.DIALLER, self.config, self._signalling)
            try:
                await stream.close()
            except ConnectionClosed:
                pass  # the relay may go now
            except BaseException:
                await muxer.close()
                raise
        return self._connection(muxer, parts.target, address, Direction.OUTBOUND)

    async def _relayed(self, parts: WebRtcAddress) -> Connection:
        """Return a connection to the target that can carry the signalling: one that is open, or a new relayed one."""
        assert parts.target is not None
        existing = self.host.connections(parts.target)
        relayed = next((connection for connection in reversed(existing) if connection.limit is not None), None)
        if relayed is not None or existing:
            return relayed or existing[-1]
        if not len(parts.circuit):
            raise MultiaddrError("the address names no relay, and there is no connection to the peer")
        return await self.host.connect(parts.circuit)

    # ---------------------------------------------------------------- listening

    def can_listen(self, address: Multiaddr) -> bool:
        """Whether it is a relayed address that ends in ``/webrtc``."""
        parts = split_webrtc(address)
        return parts is not None and parts.target is None and "p2p-circuit" in parts.circuit.protocols()

    async def listen(self, address: Multiaddr, accept: Accept) -> Listener:
        """Reserve at the relay and answer signalling from now on.

        Raises:
            MultiaddrError: it is no address to listen on.
            SignallingError: the relay cannot be reached, or refuses.
        """
        parts = split_webrtc(address)
        if parts is None or not self.can_listen(address):
            raise MultiaddrError(f"{address} is no relayed address that ends in /webrtc")
        before = {own.decapsulate("p2p") for own in self.host.addresses()}
        reservation = await self.host.reserve(parts.circuit)
        listener = WebRtcListener(self, reservation, owned=before.isdisjoint(reservation.addresses))
        self._listeners.append(listener)
        self._accept = accept
        self.host.handle(SIGNALLING_PROTOCOL, self._serve, allow_limited=True)
        return listener

    async def _forget(self, listener: WebRtcListener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and self._accept is not None:
            self._accept = None
            if not self.host.closed:
                self.host.unhandle(SIGNALLING_PROTOCOL)

    async def _serve(self, stream: Stream) -> None:
        """Answer one dialler; the host resets the stream when this raises."""
        remote = stream.connection.remote_peer
        if (
            self._inbound.total() >= self.config.max_inbound
            or self._inbound[remote] >= self.config.max_inbound_per_peer
        ):
            self.refused["too many negotiations"] += 1
            raise LimitExceeded("too many negotiations at once")
        self._inbound[remote] += 1
        try:
            async with asyncio.timeout(self.config.accept_timeout):
                muxer = await negotiate(stream, SignallingRole.LISTENER, self.config, self._signalling)
        except TimeoutError:
            self.refused["timeout"] += 1
            raise HandshakeError(f"no connection within {self.config.accept_timeout:g} s") from None
        except NegotiationFailed as error:
            self.refused["failed"] += 1
            logger.debug("inbound negotiation with %s failed: %s", remote, error)
            raise
        finally:
            self._inbound[remote] -= 1
            if not self._inbound[remote]:
                del self._inbound[remote]
        if self._accept is None:
            await muxer.close()
            return
        address = Multiaddr(f"/webrtc/p2p/{remote}")
        self._accept(self._connection(muxer, remote, address, Direction.INBOUND))
        await linger(stream, self.config.linger)

    def _connection(
        self, muxer: DataChannelMuxer, peer: PeerId, address: Multiaddr, direction: Direction
    ) -> Connection:
        return Connection(
            muxer,
            remote_peer=peer,
            remote_address=address,
            local_address=Multiaddr("/webrtc"),
            direction=direction,
            limit=None,
            negotiation=self.host.config.upgrade.multistream,
        )
