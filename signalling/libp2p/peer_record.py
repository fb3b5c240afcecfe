"""What travels in signed envelopes: peer records (libp2p RFC 0003) and relay vouchers (circuit relay v2)."""

from __future__ import annotations

from dataclasses import dataclass

from signalling.errors import DecodeError, EnvelopeError, MultiaddrError
from signalling.libp2p.envelope import Envelope, EnvelopeUse
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.wire import Kind, Message, repeated, required

__all__ = [
    "PEER_RECORD",
    "RELAY_VOUCHER",
    "PeerRecord",
    "RelayVoucher",
    "open_peer_record",
    "open_voucher",
    "seal_peer_record",
    "seal_voucher",
]

PEER_RECORD = EnvelopeUse("libp2p-peer-record", bytes((0x03, 0x01)))
"""As deployed everywhere; the RFC's own text names another domain and type."""

RELAY_VOUCHER = EnvelopeUse("libp2p-relay-rsvp", bytes((0x03, 0x02)))
"""A relay's promise to keep a slot for a peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AddressMessage(Message):
    multiaddr: bytes = required(1, Kind.BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PeerRecordMessage(Message):
    peer_id: bytes = required(1, Kind.BYTES)
    seq: int = required(2, Kind.UINT64)
    addresses: tuple[_AddressMessage, ...] = repeated(3, _AddressMessage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _VoucherMessage(Message):
    relay: bytes = required(1, Kind.BYTES)
    peer: bytes = required(2, Kind.BYTES)
    expiration: int = required(3, Kind.UINT64)


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Addresses that a peer claims for itself. It proves who wrote the claim, not that the addresses work."""

    peer: PeerId
    sequence: int
    """Only a strictly larger one replaces what is known; by custom Unix time in nanoseconds."""
    addresses: tuple[Multiaddr, ...]


@dataclass(frozen=True, slots=True)
class RelayVoucher:
    """A relay's signed statement that it holds a reservation for a peer."""

    relay: PeerId
    peer: PeerId
    expiration: int
    """Unix seconds."""


def seal_peer_record(key: PrivateKey, record: PeerRecord) -> bytes:
    """Return the serialised envelope of ``record``, signed with the peer's own ``key``.

    Raises:
        ValueError: the key is not that of ``record.peer``.
    """
    if not record.peer.matches(key.public_key):
        raise ValueError("a peer signs only its own record")
    payload = _PeerRecordMessage(
        peer_id=record.peer.to_bytes(),
        seq=record.sequence,
        addresses=tuple(_AddressMessage(multiaddr=address.to_bytes()) for address in record.addresses),
    ).serialize()
    return Envelope.seal(key, PEER_RECORD, payload).serialize()


def open_peer_record(data: bytes) -> PeerRecord:
    """Return the record of a serialised envelope, verified; addresses of unknown protocols are left out.

    Raises:
        EnvelopeError: malformed, badly signed, or signed by another peer than it speaks of.
    """
    envelope = Envelope.open(data, PEER_RECORD)
    try:
        message = _PeerRecordMessage.parse(envelope.payload)
        peer = PeerId.from_bytes(message.peer_id)
    except DecodeError as error:
        raise EnvelopeError(f"not a peer record: {error}") from None
    if not peer.matches(envelope.public_key):
        raise EnvelopeError("the peer record is signed by another peer")
    return PeerRecord(peer, message.seq, tuple(_known_addresses(message.addresses)))


def _known_addresses(messages: tuple[_AddressMessage, ...]) -> list[Multiaddr]:
    addresses = []
    for message in messages:
        try:
            addresses.append(Multiaddr.from_bytes(message.multiaddr))
        except MultiaddrError:
            continue
    return addresses


def seal_voucher(key: PrivateKey, voucher: RelayVoucher) -> bytes:
    """Return the serialised envelope of ``voucher``, signed with the relay's ``key``.

    Raises:
        ValueError: the key is not that of ``voucher.relay``.
    """
    if not voucher.relay.matches(key.public_key):
        raise ValueError("a relay signs only its own vouchers")
    payload = _VoucherMessage(
        relay=voucher.relay.to_bytes(), peer=voucher.peer.to_bytes(), expiration=voucher.expiration
    ).serialize()
    return Envelope.seal(key, RELAY_VOUCHER, payload).serialize()


def open_voucher(data: bytes) -> RelayVoucher:
    """Return the voucher of a serialised envelope, verified.

    Raises:
        EnvelopeError: malformed, badly signed, or not signed by the relay it names.
    """
    envelope = Envelope.open(data, RELAY_VOUCHER)
    try:
        message = _VoucherMessage.parse(envelope.payload)
        relay, peer = PeerId.from_bytes(message.relay), PeerId.from_bytes(message.peer)
    except DecodeError as error:
        raise EnvelopeError(f"not a relay voucher: {error}") from None
    if not relay.matches(envelope.public_key):
        raise EnvelopeError("the voucher is signed by another peer than the relay it names")
    return RelayVoucher(relay, peer, message.expiration)
