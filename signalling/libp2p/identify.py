"""Identify: what peers tell each other about themselves (libp2p identify specification).

A message may come in several parts, which are merged: single fields are replaced by the last part that states them,
lists are appended. A push is merged into what is known in the same way, except that the lists which it states replace
the known ones. Addresses signed by the peer (``signedPeerRecord``) win over unsigned ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from signalling.errors import DecodeError, IdentifyError
from signalling.libp2p.addresses import without_peer
from signalling.libp2p.host_config import IdentifyConfig
from signalling.libp2p.keys import PublicKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import PeerRecord, open_peer_record
from signalling.libp2p.wire import Kind, Message, optional, repeated

__all__ = ["IDENTIFY_PROTOCOL", "PUSH_PROTOCOL", "IdentifyMessage", "PeerInfo", "describe", "learn", "merge_parts"]

IDENTIFY_PROTOCOL = "/ipfs/id/1.0.0"
PUSH_PROTOCOL = "/ipfs/id/push/1.0.0"


_SINGLE = ("public_key", "observed_address", "protocol_version", "agent_version", "signed_peer_record")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifyMessage(Message):
    """``Identify`` as it is on the wire."""

    public_key: bytes | None = optional(1, Kind.BYTES)
    listen_addresses: tuple[bytes, ...] = repeated(2, Kind.BYTES)
    protocols: tuple[str, ...] = repeated(3, Kind.STRING)
    observed_address: bytes | None = optional(4, Kind.BYTES)
    protocol_version: str | None = optional(5, Kind.STRING)
    agent_version: str | None = optional(6, Kind.STRING)
    signed_peer_record: bytes | None = optional(8, Kind.BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """What is known about a peer."""

    peer: PeerId
    """Who it is, as the connection proved."""
    public_key: PublicKey | None = None
    """Its key; None when it did not tell and its id does not contain it."""
    protocol_version: str = ""
    """Its ``protocolVersion``."""
    agent_version: str = ""
    """Its ``agentVersion``."""
    protocols: frozenset[str] = field(default_factory=frozenset)
    """What it says it speaks."""
    addresses: tuple[Multiaddr, ...] = ()
    """Where it says it listens, without ``/p2p``; from its signed record if it sent one."""
    signed_record: PeerRecord | None = None
    """The newest verified record."""
    observed_address: Multiaddr | None = None
    """Where it sees us. Unauthenticated hearsay."""


def describe(
    *,
    public_key: PublicKey,
    addresses: Sequence[Multiaddr],
    protocols: Iterable[str],
    observed_address: Multiaddr | None,
    signed_record: bytes | None,
    config: IdentifyConfig,
) -> Iterator[bytes]:
    """Yield the parts of our own identify message, each within ``config.max_own_message`` bytes.

    The first part carries everything that is not a list; the lists follow in as many parts as they need.
    """
    head = IdentifyMessage(
        public_key=public_key.serialize(),
        protocol_version=config.protocol_version,
        agent_version=config.agent_version,
        observed_address=observed_address.to_bytes() if observed_address is not None else None,
        signed_peer_record=signed_record,
    )
    lists = [IdentifyMessage(listen_addresses=(address.to_bytes(),)) for address in addresses]
    lists += [IdentifyMessage(protocols=(protocol,)) for protocol in sorted(protocols)]
    yield from _pack([head, *lists], config.max_own_message)


def _pack(pieces: Iterable[IdentifyMessage], limit: int) -> Iterator[bytes]:
    """Join encoded pieces as long as they fit: protobuf merges what is concatenated, as identify merges its parts."""
    part = b""
    for piece in pieces:
        encoded = piece.serialize()
        if part and len(part) + len(encoded) > limit:
            yield part
            part = b""
        part += encoded
    yield part


def merge_parts(parts: Iterable[bytes]) -> IdentifyMessage:
    """Return the message whose parts these are.

    Raises:
        DecodeError: a part is not protobuf of this shape, or there is none.
    """
    messages = [IdentifyMessage.parse(part) for part in parts]
    if not messages:
        raise DecodeError("the identify message has no part")
    merged = messages[0]
    for message in messages[1:]:
        stated = {name: getattr(message, name) for name in _SINGLE if getattr(message, name) is not None}
        merged = replace(
            merged,
            **stated,
            listen_addresses=merged.listen_addresses + message.listen_addresses,
            protocols=merged.protocols + message.protocols,
        )
    return merged


def learn(known: PeerInfo, message: IdentifyMessage, config: IdentifyConfig) -> PeerInfo:
    """Return ``known`` updated with what an identify or push message states.

    Raises:
        IdentifyError: the message names another key or signs for another peer than the connection proved.
    """
    info = known
    if message.public_key is not None:
        info = replace(info, public_key=_check_key(message.public_key, known.peer))
    if message.protocol_version is not None:
        info = replace(info, protocol_version=message.protocol_version[:256])
    if message.agent_version is not None:
        info = replace(info, agent_version=message.agent_version[:256])
    if message.protocols:
        info = replace(info, protocols=frozenset(message.protocols[: config.max_protocols]))
    if message.observed_address:
        info = replace(info, observed_address=_readable_address(message.observed_address))
    if message.listen_addresses and info.signed_record is None:
        info = replace(info, addresses=_readable_addresses(message.listen_addresses, config))
    if message.signed_peer_record:
        info = _learn_record(info, message.signed_peer_record, config)
    return info


def _check_key(encoded: bytes, peer: PeerId) -> PublicKey:
    try:
        key = PublicKey.parse(encoded)
    except DecodeError as error:
        raise IdentifyError("the public key cannot be read") from error
    if not peer.matches(key):
        raise IdentifyError("the public key belongs to another peer")
    return key


def _learn_record(info: PeerInfo, envelope: bytes, config: IdentifyConfig) -> PeerInfo:
    try:
        record = open_peer_record(envelope)
    except DecodeError as error:
        raise IdentifyError(f"the signed peer record is not valid: {error}") from error
    if record.peer != info.peer:
        raise IdentifyError("the signed peer record is about another peer")
    if info.signed_record is not None and record.sequence <= info.signed_record.sequence:
        return info
    addresses = tuple(without_peer(address, info.peer) for address in record.addresses[: config.max_addresses])
    return replace(info, signed_record=record, addresses=addresses)


def _readable_addresses(encoded: Sequence[bytes], config: IdentifyConfig) -> tuple[Multiaddr, ...]:
    """Return the addresses that can be read, each once, in the order given: one strange address spoils no other."""
    readable = (_readable_address(address) for address in encoded[: config.max_addresses])
    return tuple(dict.fromkeys(address for address in readable if address is not None))


def _readable_address(encoded: bytes) -> Multiaddr | None:
    try:
        return Multiaddr.from_bytes(encoded)
    except DecodeError:
        return None
