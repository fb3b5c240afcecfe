"""Binding relayed addresses: another port when one is taken, pairs of ports, and ports held for a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stun.address import TransportAddress, TransportProtocol
from turn.service.config import RelayHost
from turn.service.events import CloseRelay, OpenRelay, RelayFailure
from turn.service.state import ServerState
from turn.timetable import Timetable

__all__ = ["Opening", "RelayOpener", "Reservation"]


@dataclass(slots=True)
class Opening:
    """One relayed address on its way."""

    family: int
    protocol: TransportProtocol
    identity: str = ""
    """Whose it is; only this user may claim the held port."""
    source: str = ""
    """The address that its quota is counted for."""
    even: bool = False
    pair: bool = False
    """Whether the next higher port is to be held for somebody with the token (EVEN-PORT's R bit)."""
    address: TransportAddress | None = None
    """Where it is bound in the end; None when that failed."""
    host: RelayHost | None = None
    token: bytes | None = None
    """The token of the held port."""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A bound port that waits for an Allocate with its token (RFC 8656 section 7.2)."""

    token: bytes
    address: TransportAddress
    host: RelayHost
    identity: str
    source: str
    """With the identity: whose quotas the port has a place in, until an allocation takes that over."""


Done = Callable[[Opening], None]


class RelayOpener:
    """Asks the driver for sockets and keeps the held ones."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._openings: dict[tuple[TransportAddress, TransportProtocol], tuple[Opening, Done]] = {}
        self._reservations: dict[bytes, Reservation] = {}
        self.timetable: Timetable[bytes] = Timetable()
        """When each reservation ends."""

    @property
    def held(self) -> int:
        """Ports that wait for their token."""
        return len(self._reservations)

    def open(self, opening: Opening, done: Done) -> None:
        """Bind a relayed address; ``done`` is called when that came to an end."""
        state = self._state
        opening.host = state.ports.next_host(opening.family)
        opening.tries += 1
        full = opening.pair and self.held >= state.config.limits.reservations
        opening.address = (
            None
            if full or opening.tries > state.config.limits.port_tries
            else state.ports.take(opening.host, opening.protocol, even=opening.even, pair=opening.pair)
        )
        if opening.address is None:
            done(opening)
        else:
            self._ask(opening.address, opening, done)

    def opened(self, address: TransportAddress, protocol: TransportProtocol, now: float) -> None:
        """The driver bound an address."""
        found = self._openings.pop((address, protocol), None)
        if found is None:
            self._state.outbox.effects.append(CloseRelay(address, protocol))
            return
        opening, done = found
        if opening.pair and address == opening.address:
            self._ask(TransportAddress(address.host, address.port + 1), opening, done)
            return
        if opening.pair:
            self._hold(opening, address, now)
        done(opening)

    def failed(self, address: TransportAddress, protocol: TransportProtocol, failure: RelayFailure) -> None:
        """The driver could not bind an address: try another port, or give up."""
        found = self._openings.pop((address, protocol), None)
        if found is None:
            return
        opening, done = found
        ports, first = self._state.ports, opening.address
        assert first is not None
        ports.give_back(first, protocol)
        if opening.pair:
            ports.give_back(TransportAddress(first.host, first.port + 1), protocol)
            if address != first:
                self._state.outbox.effects.append(CloseRelay(first, protocol))
        if failure is RelayFailure.UNAVAILABLE:
            opening.tries = self._state.config.limits.port_tries
        self.open(opening, done)

    def _ask(self, address: TransportAddress, opening: Opening, done: Done) -> None:
        self._openings[address, opening.protocol] = (opening, done)
        self._state.outbox.effects.append(OpenRelay(address, opening.protocol))

    # -- held ports --

    def reserved(self, token: bytes, identity: str) -> Reservation | None:
        """Return the port held under a token for this user, or None."""
        found = self._reservations.get(token)
        return found if found is not None and found.identity == identity else None

    def claim(self, reservation: Reservation) -> Opening:
        """Hand over a held port with its place in the quotas; it is no longer held."""
        del self._reservations[reservation.token]
        self.timetable.discard(reservation.token)
        return Opening(
            reservation.address.family, TransportProtocol.UDP, address=reservation.address, host=reservation.host
        )

    def forget(self, token: bytes) -> None:
        """Free a held port whose token nobody was told."""
        self.timetable.discard(token)
        self._free(self._reservations.pop(token))

    def expire(self, now: float) -> None:
        """Free the held ports whose time is over."""
        for token in self.timetable.due(now):
            self._free(self._reservations.pop(token))

    def close(self) -> None:
        """Free all held ports."""
        for token, reservation in list(self._reservations.items()):
            self.timetable.discard(token)
            self._free(reservation)
        self._reservations.clear()

    def _hold(self, opening: Opening, address: TransportAddress, now: float) -> None:
        assert opening.host is not None
        opening.token = self._state.rng.randbytes(8)
        self._reservations[opening.token] = Reservation(
            opening.token, address, opening.host, opening.identity, opening.source
        )
        self.timetable.set(opening.token, now + self._state.config.times.reservation)

    def _free(self, reservation: Reservation) -> None:
        self._state.unreserve(reservation.identity, reservation.source)
        self._state.ports.give_back(reservation.address, TransportProtocol.UDP)
        self._state.outbox.effects.append(CloseRelay(reservation.address, TransportProtocol.UDP))
