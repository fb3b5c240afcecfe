"""Channels: two-byte names for peers that much data goes to (RFC 8656 section 12)."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stun import attributes as att
from stun.address import TransportAddress
from stun.machine import Deadline
from stun.message import Method
from turn.config import TurnClientConfig
from turn.errors import TurnError, TurnLimitError, TurnPeerFamilyError
from turn.events import ChannelBound, ChannelFailed
from turn.framing import CHANNEL_MIN
from turn.requests import Ask, Attributes
from turn.soonest import Soonest

__all__ = ["ChannelRequest", "Channels"]


class _State(enum.Enum):
    WANTED = enum.auto()
    """Goes out with the next drain."""
    ASKED = enum.auto()
    BOUND = enum.auto()
    RELEASED = enum.auto()
    """Nobody wants it any more, but the server may still hold it, or its pause is not over."""


_BOUND: Final = _State.BOUND


@dataclass(slots=True)
class _Channel:
    number: int
    peer: TransportAddress
    state: _State = _State.WANTED
    expires_at: float = 0.0
    """Until when the server holds the binding at the latest; 0 before it was ever asked for."""
    rebind_at: float = 0.0


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """The context of one ChannelBind."""

    peer: TransportAddress
    number: int


class Channels:
    """The channels of one allocation.

    A number belongs to one peer for as long as the server may hold the binding and five minutes more; the peer itself
    may have it again at any time (section 12.1).
    """

    def __init__(self, config: TurnClientConfig, server: str) -> None:
        self.events: deque[ChannelBound | ChannelFailed] = deque()
        self.heads: dict[tuple[str, int], bytes] = {}
        """The channel number of every peer that data may be sent to, as the two bytes of the header."""
        self.peers: dict[bytes, TransportAddress] = {}
        """The peer of every channel that data may come from; from the request on (section 12.2)."""
        self._config = config
        self._server = server
        self._by_peer: dict[tuple[str, int], _Channel] = {}
        self._next = CHANNEL_MIN
        self._soonest = Soonest(self._times)

    def __contains__(self, peer: object) -> bool:
        channel = self._by_peer.get(peer)  # type: ignore[call-overload]
        return channel is not None and channel.state is not _State.RELEASED

    @property
    def bound_peers(self) -> tuple[TransportAddress, ...]:
        """The peers that data may be sent to over a channel."""
        return tuple(TransportAddress(*peer) for peer in self.heads)

    def want(self, peer: TransportAddress, now: float) -> None:
        """Bind a channel with the next request, and keep it bound until it is released."""
        channel = self._by_peer.get(peer)
        if channel is None:
            number = self._free_number(now)
            if number is None:
                error = TurnLimitError(f"no channel for {peer}: {len(self._by_peer)} are in use", server=self._server)
                self.events.append(ChannelFailed(peer, error))
                return
            self._by_peer[peer] = _Channel(number, peer)
            self._soonest.wanted = True
        elif channel.state is _State.RELEASED:
            channel.state = _State.WANTED
            self._soonest.forget()
            self._soonest.wanted = True

    def release(self, peer: tuple[str, int]) -> None:
        """Let a channel run out; data to this peer goes in indications again."""
        channel = self._by_peer.get(peer)
        if channel is None:
            return
        self.heads.pop(peer, None)
        self._soonest.forget()
        if channel.state is _State.WANTED and channel.expires_at == 0.0:
            del self._by_peer[peer]  # the server was never asked
        else:
            channel.state = _State.RELEASED

    def cut(self, host: str) -> None:
        """Release every channel to a host, and take nothing from them any more (section 12.6)."""
        for channel in [channel for channel in self._by_peer.values() if channel.peer.host == host]:
            self.peers.pop(channel.number.to_bytes(2, "big"), None)
            self.release(channel.peer)

    def admit(self, host: str, now: float) -> None:
        """Take again what comes over channels to a host that were cut: the server uses those that it still holds."""
        for channel in self._by_peer.values():
            if channel.peer.host == host and channel.state is _State.RELEASED and channel.expires_at > now:
                self.peers[channel.number.to_bytes(2, "big")] = channel.peer
                self._soonest.forget()

    def clear(self) -> None:
        """The allocation is gone, and all channels with it."""
        self._by_peer.clear()
        self._soonest.forget()
        self.heads.clear()
        self.peers.clear()

    def requests(self, families: frozenset[int], now: float) -> list[Ask[ChannelRequest]]:
        """Return the requests that are due now, for peers of the families that are relayed (section 12.1)."""
        if not self._soonest.take(now):
            return []
        asks: list[Ask[ChannelRequest]] = []
        for channel in list(self._by_peer.values()):
            due = channel.state is _BOUND and channel.rebind_at <= now
            if channel.state is not _State.WANTED and not due:
                continue
            if channel.peer.family not in families:
                text = f"no relayed address of the family of {channel.peer}"
                self.release(channel.peer)
                self.events.append(ChannelFailed(channel.peer, TurnPeerFamilyError(text, server=self._server)))
                continue
            channel.state = _State.ASKED
            # The server may take the request and its response be lost: reckon with the longest it can hold it.
            channel.expires_at = max(channel.expires_at, now + self._config.channel_lifetime)
            self.peers[channel.number.to_bytes(2, "big")] = channel.peer
            attributes: Attributes = [(att.CHANNEL_NUMBER, channel.number), (att.XOR_PEER_ADDRESS, channel.peer)]
            asks.append(Ask(Method.CHANNEL_BIND, attributes, ChannelRequest(channel.peer, channel.number)))
        return asks

    def confirmed(self, context: ChannelRequest, now: float) -> None:
        """The server has bound a channel."""
        channel = self._by_peer.get(context.peer)
        if channel is None or channel.number != context.number:
            return
        channel.expires_at = now + self._config.channel_lifetime
        channel.rebind_at = channel.expires_at - self._config.channel_margin
        self._soonest.forget()
        if channel.state is not _State.ASKED:
            return  # released meanwhile
        channel.state = _BOUND
        if channel.peer not in self.heads:
            self.heads[channel.peer] = channel.number.to_bytes(2, "big")
            self.events.append(ChannelBound(channel.peer, channel.number))

    def refused(self, context: ChannelRequest, error: TurnError) -> None:
        """The server has refused a channel, or not answered: data goes on in indications."""
        channel = self._by_peer.get(context.peer)
        if channel is None or channel.state is not _State.ASKED:
            return
        channel.state = _State.RELEASED
        self._soonest.forget()
        self.heads.pop(context.peer, None)
        self.events.append(ChannelFailed(context.peer, error))

    def handle_timeout(self, now: float) -> None:
        """Stop using what the server no longer holds, and free the numbers whose pause is over."""
        for channel in list(self._by_peer.values()):
            if channel.state is _State.WANTED or channel.expires_at > now:
                continue
            self._soonest.forget()
            self.heads.pop(channel.peer, None)
            self.peers.pop(channel.number.to_bytes(2, "big"), None)
            if channel.state is _State.RELEASED and channel.expires_at + self._config.channel_pause <= now:
                del self._by_peer[channel.peer]

    def next_timeout(self) -> Deadline | None:
        """Return when a channel is to be bound again or has run out."""
        at = self._soonest.at
        return None if at is None else Deadline(at, "channel")

    def _times(self) -> Iterator[float]:
        for channel in self._by_peer.values():
            if channel.state is _BOUND:
                yield channel.rebind_at
            elif channel.state is not _State.WANTED and channel.number.to_bytes(2, "big") in self.peers:
                yield channel.expires_at

    def _free_number(self, now: float) -> int | None:
        if len(self._by_peer) >= self._config.max_channels:
            self.handle_timeout(now)
        if len(self._by_peer) >= self._config.max_channels:
            return None
        taken = {channel.number for channel in self._by_peer.values()}
        number = self._next
        while number in taken:
            number = _after(number)
        self._next = _after(number)
        return number


def _after(number: int) -> int:
    return CHANNEL_MIN | (number + 1 & 0x0FFF)
