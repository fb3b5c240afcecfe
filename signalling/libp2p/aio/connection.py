"""A connection to one peer, and the ports through which transports are plugged into a host."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from signalling.libp2p.aio.negotiation import negotiate_outbound, propose
from signalling.libp2p.aio.streams import Muxer, Stream
from signalling.libp2p.circuit_messages import Limit
from signalling.libp2p.config import MultistreamConfig
from signalling.libp2p.identify import PeerInfo
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId

__all__ = ["Connection", "Direction", "Limit", "Listener", "Transport"]


class Direction(enum.Enum):
    """Which side dialled."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Connection:
    """An authenticated, multiplexed connection to one peer.

    ``limit`` is None on an unlimited connection; anything else marks a limited (relayed) one, which only protocols that
    opted in may use.
    """

    def __init__(
        self,
        muxer: Muxer,
        *,
        remote_peer: PeerId,
        remote_address: Multiaddr,
        local_address: Multiaddr,
        direction: Direction,
        limit: Limit | None = None,
        negotiation: MultistreamConfig | None = None,
    ) -> None:
        self.muxer = muxer
        self.remote_peer = remote_peer
        self.remote_address = remote_address
        self.local_address = local_address
        self.direction = direction
        self.limit = limit
        self.negotiation = negotiation or MultistreamConfig()
        self.peer_info: PeerInfo | None = None
        """What the peer told about itself over identify; None until it did."""

    def __repr__(self) -> str:
        kind = "limited " if self.limit is not None else ""
        return f"<Connection {kind}{self.direction.value} {self.remote_peer} {self.remote_address}>"

    @property
    def closed(self) -> bool:
        """Whether no stream can be opened any more."""
        return self.muxer.closed

    async def open_stream(self, protocols: Sequence[str], *, timeout: float | None = None) -> Stream:
        """Open a stream and agree on the first of ``protocols`` that the peer speaks, within ``timeout`` seconds.

        When the peer's identify message names one of them, its answer is not waited for, which saves a round trip. If
        the peer refuses after all or stays silent, the first read raises NegotiationError or StreamReset.

        Raises:
            NegotiationError: the peer speaks none of them, or did not answer in time; the stream is reset.
            ConnectionClosed: the connection is gone.
            LimitExceeded: too many streams are open.
        """
        raw = await self.muxer.open_stream()
        known = self.peer_info.protocols if self.peer_info is not None else frozenset()
        expected = next((protocol for protocol in protocols if protocol in known), None)
        if expected is not None:
            answer = await propose(raw, expected, self.negotiation)
            return Stream(raw, expected, self, proposed=answer)
        protocol, received = await negotiate_outbound(raw, protocols, self.negotiation, timeout=timeout)
        return Stream(raw, protocol, self, received)

    async def close(self) -> None:
        """Close the connection and every stream on it. Harmless twice."""
        await self.muxer.close()

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await self.muxer.wait_closed()


class Listener(Protocol):
    """A place where a transport accepts connections."""

    @property
    def addresses(self) -> list[Multiaddr]:
        """Where it can be dialled, with real ports and without ``/p2p``."""

    async def close(self) -> None:
        """Stop accepting; connections that exist go on. Harmless twice."""


class Transport(Protocol):
    """A way to reach peers, pluggable into a host: TCP, WebSocket, circuit relay, WebRTC."""

    def can_dial(self, address: Multiaddr) -> bool:
        """Whether :meth:`dial` understands the address."""

    def can_listen(self, address: Multiaddr) -> bool:
        """Whether :meth:`listen` understands the address."""

    async def dial(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        """Connect to ``address`` and return the secured, multiplexed connection; ``peer`` is who must answer.

        Raises:
            SignallingError: the peer is another one, or the handshake failed.
            OSError: the address cannot be reached.
        """

    async def listen(self, address: Multiaddr, accept: Callable[[Connection], None]) -> Listener:
        """Listen on ``address`` and hand every upgraded connection to ``accept``.

        Raises:
            OSError: the address cannot be bound.
        """
