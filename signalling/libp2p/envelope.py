"""Signed envelopes (libp2p RFC 0002): a payload, its type, a signature bound to a domain that is not sent."""

from __future__ import annotations

from dataclasses import dataclass

from signalling.errors import DecodeError, EnvelopeError
from signalling.libp2p.keys import PrivateKey, PublicKey
from signalling.libp2p.wire import Kind, Message, delimit, required

__all__ = ["Envelope", "EnvelopeUse"]


@dataclass(frozen=True, slots=True)
class EnvelopeUse:
    """What an envelope is for: signer and verifier agree on both halves beforehand."""

    domain: str
    """Part of what is signed, never sent."""
    payload_type: bytes
    """Sent in the envelope: raw bytes, not a varint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PublicKeyMessage(Message):
    """``PublicKey``; field 1 of an envelope holds it as a message, so its bytes are those of a serialised key."""

    type: int = required(1, Kind.ENUM)
    data: bytes = required(2, Kind.BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnvelopeMessage(Message):
    public_key: _PublicKeyMessage = required(1, _PublicKeyMessage)
    payload_type: bytes = required(2, Kind.BYTES)
    payload: bytes = required(3, Kind.BYTES)
    signature: bytes = required(5, Kind.BYTES)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload whose signature has been made or verified; there is no other way to come by one."""

    public_key: PublicKey
    """The signer. Whether it may speak for the subject of the payload is for the caller to check."""
    payload_type: bytes
    payload: bytes
    signature: bytes

    @classmethod
    def seal(cls, key: PrivateKey, use: EnvelopeUse, payload: bytes) -> Envelope:
        """Return ``payload`` signed with ``key``."""
        signature = key.sign(_signed_bytes(use, payload))
        return cls(key.public_key, use.payload_type, payload, signature)

    @classmethod
    def open(cls, data: bytes, use: EnvelopeUse) -> Envelope:
        """Return the envelope of its serialised form, verified.

        Raises:
            EnvelopeError: malformed, of another type, or the signature is not the key's over this payload and domain.
        """
        try:
            message = _EnvelopeMessage.parse(data)
            key = PublicKey.parse(message.public_key.serialize())
        except DecodeError as error:
            raise EnvelopeError(f"not an envelope: {error}") from None
        if message.payload_type != use.payload_type:
            raise EnvelopeError(f"the payload type is {message.payload_type[:40]!r}, not {use.payload_type!r}")
        if not key.verify(message.signature, _signed_bytes(use, message.payload)):
            raise EnvelopeError("the signature does not verify")
        return cls(key, message.payload_type, message.payload, message.signature)

    def serialize(self) -> bytes:
        """Return the form on the wire."""
        return _EnvelopeMessage(
            public_key=_PublicKeyMessage(type=int(self.public_key.type), data=self.public_key.data),
            payload_type=self.payload_type,
            payload=self.payload,
            signature=self.signature,
        ).serialize()


def _signed_bytes(use: EnvelopeUse, payload: bytes) -> bytes:
    return delimit(use.domain.encode()) + delimit(use.payload_type) + delimit(payload)
