"""Mobility tickets: which allocation a client may take along to another address (RFC 8016 sections 3 and 5)."""

from __future__ import annotations

import base64
import binascii
import random
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from turn.service.allocation import Allocation

__all__ = ["Ticket", "TicketBox"]

_NUMBER = 5
_SERIAL = 3
_LENGTH = 32
"""Characters of a ticket; coturn's client has room for no more."""


class Ticket(NamedTuple):
    """What a ticket says."""

    number: int
    """The allocation's number."""
    serial: int
    """Which of its tickets this is, from 1."""


class TicketBox:
    """Seals and opens tickets: encrypted and authenticated, with a key that dies with the server (section 5).

    No two tickets say the same, so a cipher without nonces (AES-SIV, RFC 5297) hides and proves them as well as one
    with; its 128-bit tag is what has to be guessed.
    """

    def __init__(self, rng: random.Random) -> None:
        """Args:
        rng: makes the key; ``random.SystemRandom`` outside of tests.
        """
        self._cipher = AESSIV(rng.randbytes(64))

    def next_ticket(self, allocation: Allocation) -> bytes:
        """Return an allocation's next ticket; only the newest is good."""
        allocation.ticket_serial = allocation.ticket_serial % (256**_SERIAL - 1) + 1
        text = allocation.number.to_bytes(_NUMBER, "big") + allocation.ticket_serial.to_bytes(_SERIAL, "big")
        return base64.urlsafe_b64encode(self._cipher.encrypt(text, None))

    def open(self, sealed: bytes) -> Ticket | None:
        """Return what a ticket says, or None when it is none of ours."""
        if len(sealed) != _LENGTH:
            return None
        try:
            text = self._cipher.decrypt(base64.b64decode(sealed, b"-_", validate=True), None)
        except (InvalidTag, binascii.Error, ValueError):
            return None
        return Ticket(int.from_bytes(text[:_NUMBER], "big"), int.from_bytes(text[_NUMBER:], "big"))
