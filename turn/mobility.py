"""Mobility tickets: which allocation a client may take along to another address (RFC 8016 sections 3 and 5)."""

from __future__ import annotations

import random
from struct import Struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turn.server_allocation import Allocation

__all__ = ["Ticket", "TicketBox"]

_TICKET = Struct("!QI")
_NONCE = 12
_LENGTH = _NONCE + _TICKET.size + 16


class Ticket(NamedTuple):
    """What a ticket says."""

    number: int
    """The allocation's number."""
    serial: int
    """Which of its tickets this is, from 1."""


class TicketBox:
    """Seals and opens tickets: encrypted and authenticated, with a key that dies with the server (section 5)."""

    def __init__(self, rng: random.Random) -> None:
        """Args:
        rng: makes the key and the nonces; ``random.SystemRandom`` outside of tests.
        """
        self._rng = rng
        self._cipher = AESGCM(rng.randbytes(32))

    def next_ticket(self, allocation: Allocation) -> bytes:
        """Return an allocation's next ticket; only the newest is good."""
        allocation.ticket_serial += 1
        nonce = self._rng.randbytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, _TICKET.pack(allocation.number, allocation.ticket_serial), None)

    def open(self, sealed: bytes) -> Ticket | None:
        """Return what a ticket says, or None when it is none of ours."""
        if len(sealed) != _LENGTH:
            return None
        try:
            return Ticket(*_TICKET.unpack(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)))
        except InvalidTag:
            return None
