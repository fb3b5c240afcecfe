"""The allocation itself: Allocate, Refresh, moving, and what the answers mean (RFC 8656 sections 7 and 8, RFC 8016)."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.machine import Deadline
from stun.message import Message, Method
from stun.values import AddressFamily
from turn.config import EvenPort, TurnServerConfig
from turn.errors import (
    TurnAddressFamilyError,
    TurnAllocationMismatchError,
    TurnError,
    TurnExpiredError,
    TurnLimitError,
    TurnMobilityError,
    TurnProtocolError,
    TurnServerError,
    TurnTimeoutError,
    error_of_code,
)
from turn.events import Allocated, AllocationFailed, AllocationLost, Closed, FamilyLost, Moved, MoveFailed
from turn.requests import Ask, Attributes

__all__ = ["AllocateRequest", "Allocation", "AllocationState", "Purpose", "RefreshRequest"]

_DEFAULT_LIFETIME = 600
_FAMILIES = {4: AddressFamily.IPV4, 6: AddressFamily.IPV6}
_VERSIONS = {int(code): version for version, code in _FAMILIES.items()}
_LIFECYCLE = Allocated | AllocationFailed | AllocationLost | FamilyLost | Closed | Moved | MoveFailed


class AllocationState(enum.Enum):
    """Where an allocation is in its life; DEAD is the end of all."""

    NEW = enum.auto()
    ALLOCATING = enum.auto()
    ALLOCATED = enum.auto()
    CLOSING = enum.auto()
    DEAD = enum.auto()


_ALLOCATED: Final = AllocationState.ALLOCATED
_CLOSING: Final = AllocationState.CLOSING


class Purpose(enum.Enum):
    """What a Refresh is for."""

    KEEP = enum.auto()
    DELETE = enum.auto()
    DELETE_FAMILY = enum.auto()
    MOVE = enum.auto()


@dataclass(frozen=True, slots=True)
class AllocateRequest:
    """The context of Allocate."""

    mobile: bool
    """Whether it asks for a ticket."""


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """The context of Refresh."""

    purpose: Purpose
    family: int | None = None


class Allocation:
    """The life of one allocation. It makes requests and takes their outcomes; its owner sends them."""

    def __init__(self, config: TurnServerConfig, server: str, path: FiveTuple) -> None:
        self.state = AllocationState.NEW
        self.path = path
        """Where the server knows us."""
        self.relayed: tuple[TransportAddress, ...] = ()
        """The relayed addresses that we still have."""
        self.families: frozenset[int] = frozenset()
        """Their address families."""
        self.mapped: TransportAddress | None = None
        self.asks: deque[tuple[Ask[AllocateRequest | RefreshRequest], FiveTuple]] = deque()
        """Requests to send, and along which path."""
        self.events: deque[_LIFECYCLE] = deque()
        self._config = config
        self._server = server
        self._ticket: bytes | None = None
        self._moving = False
        self._stranded: TurnError | None = None
        self._refreshing = False
        self._leaving: set[int] = set()
        self._expires_at = 0.0
        self._refresh_at = 0.0
        self._failures = 0
        self._close_at = 0.0

    # -- inputs

    def start(self) -> None:
        """Ask for the allocation."""
        self.state = AllocationState.ALLOCATING
        self._allocate(self._config.mobility)

    def close(self, now: float) -> None:
        """Give the allocation back."""
        if self.state in (AllocationState.DEAD, _CLOSING):
            return
        if self.state is AllocationState.NEW:
            self._die(Closed())
            return
        if self.state is _ALLOCATED:
            self._delete()
        self.state = _CLOSING
        self._close_at = now + self._config.client.close_timeout

    def delete_family(self, family: int) -> None:
        """Give one address of a dual allocation back.

        Raises:
            ValueError: there is no other address, or none of that family.
        """
        left = self.families - self._leaving
        if len(left) < 2 or family not in left:
            raise ValueError(f"IPv{family} is not one of two relayed addresses")
        self._leaving.add(family)
        self._refresh(RefreshRequest(Purpose.DELETE_FAMILY, family), lifetime=0)

    def probe(self) -> None:
        """Refresh now, to learn whether the server still has the allocation."""
        if self.state is _ALLOCATED and not self._refreshing:
            self._refresh(RefreshRequest(Purpose.KEEP), self._config.lifetime)

    def move(self, path: FiveTuple) -> None:
        """Move the allocation to a new path (RFC 8016 section 3.2).

        Raises:
            ValueError: there is no ticket, the path is the same, or a move is under way.
        """
        if self._ticket is None or self.state is not _ALLOCATED:
            raise ValueError("the server has granted no mobility")
        if path == self.path or self._moving:
            raise ValueError(f"cannot move to {path} now")
        self._moving = True
        attributes: Attributes = [(att.MOBILITY_TICKET, self._ticket)]
        if self._config.lifetime is not None:
            attributes.append((att.LIFETIME, self._config.lifetime))
        self.asks.append((Ask(Method.REFRESH, attributes, RefreshRequest(Purpose.MOVE)), path))

    def strand(self, error: TurnError) -> bool:
        """The path that we are moving away from is gone: the move decides. False when there is no move under way."""
        if not self._moving or self.state is not _ALLOCATED:
            return False
        self._stranded = error
        return True

    def fail(self, error: TurnError) -> None:
        """The way to the server is gone."""
        if self.state is _CLOSING:
            self._die(Closed())
        elif self.state is _ALLOCATED:
            self._die(AllocationLost(error))
        elif self.state is not AllocationState.DEAD:
            self._die(AllocationFailed(error))

    def handle_timeout(self, now: float) -> None:
        """Refresh, give up, or stop waiting for the confirmation of a close."""
        if self.state is _CLOSING and self._close_at <= now:
            self._die(Closed())
        if self.state is not _ALLOCATED:
            return
        if self._expires_at <= now:
            self.fail(TurnExpiredError("the allocation ran out before a Refresh was confirmed", server=self._server))
        elif not self._refreshing and self._refresh_at <= now:
            self._refresh(RefreshRequest(Purpose.KEEP), self._config.lifetime)

    def next_timeout(self) -> Deadline | None:
        """Return when a Refresh is due, or the allocation is over."""
        if self.state is _CLOSING:
            return Deadline(self._close_at, "close")
        if self.state is not _ALLOCATED:
            return None
        return Deadline(self._expires_at if self._refreshing else self._refresh_at, "refresh")

    # -- outcomes

    def allocated(self, response: Message, now: float, *, authentic: bool) -> None:
        """The server has answered Allocate with success.

        Without authentication or (D)TLS (``authentic``) anybody could take the allocation away with its ticket, so it
        does not move then (RFC 8016 section 5).
        """
        lifetime = response.get(att.LIFETIME)
        lifetime = _DEFAULT_LIFETIME if lifetime is None else lifetime
        self._relay(response.get_all(att.XOR_RELAYED_ADDRESS))
        self.mapped = response.get(att.XOR_MAPPED_ADDRESS)
        if self.state is _CLOSING:
            self._delete()  # closed while the request was under way
            return
        if problem := self._unusable(lifetime):
            self._delete()
            self._die(AllocationFailed(problem))
            return
        self.state = _ALLOCATED
        self._ticket = (response.get(att.MOBILITY_TICKET) or None) if authentic else None
        self._granted(lifetime, now)
        assert self.mapped is not None  # _unusable has seen to that
        errors = self._missing_families(response)
        token = response.get(att.RESERVATION_TOKEN)
        mobile = self._ticket is not None
        software = response.get(att.SOFTWARE)
        self.events.append(Allocated(self.relayed, self.mapped, lifetime, errors, token, mobile, software))

    def not_allocated(self, context: AllocateRequest, error: TurnError) -> None:
        """The server has refused Allocate."""
        if isinstance(error, TurnMobilityError) and context.mobile and self.state is AllocationState.ALLOCATING:
            self._allocate(mobile=False)  # an allocation that stays is better than none (RFC 8016 section 3.1.3)
        else:
            self.fail(error)

    def refreshed(self, context: RefreshRequest, path: FiveTuple, response: Message, now: float) -> None:
        """The server has answered Refresh with success."""
        if context.purpose is Purpose.DELETE:
            self._die(Closed())
        if self.state is not _ALLOCATED:
            return
        if self._ticket is not None:
            self._ticket = response.get(att.MOBILITY_TICKET) or self._ticket
        if context.purpose is Purpose.DELETE_FAMILY:
            assert context.family is not None
            self._relay(address for address in self.relayed if address.family != context.family)
            self.events.append(FamilyLost(context.family))
            return
        lifetime = response.get(att.LIFETIME)
        self._granted(_DEFAULT_LIFETIME if lifetime is None else lifetime, now)
        if context.purpose is Purpose.MOVE:
            self._moving = False
            self._stranded = None
            self.path = path
            self.events.append(Moved(path))

    def not_refreshed(self, context: RefreshRequest, path: FiveTuple, error: TurnError, now: float) -> None:
        """The server has refused Refresh, or not answered it."""
        if context.purpose is Purpose.DELETE:
            self._die(Closed())
        elif context.purpose is Purpose.MOVE:
            self._moving = False
            self.events.append(MoveFailed(path, error))
            if self._stranded is not None:
                self.fail(self._stranded)
        elif context.purpose is Purpose.KEEP:
            self._refreshing = False
            self._failures += not isinstance(error, TurnLimitError)  # that is none of the server's
            again = now + (0.0 if isinstance(error, TurnTimeoutError) else self._config.client.retry_delay)
            hopeless = not isinstance(error, (TurnTimeoutError, TurnServerError, TurnLimitError))
            if hopeless or self._failures > self._config.client.server_error_retries or again >= self._expires_at:
                self.fail(error)
            else:
                self._refresh_at = again
        else:
            self._leaving.discard(context.family or 0)
            if isinstance(error, TurnAllocationMismatchError):
                self.fail(error)

    # -- inside

    def _allocate(self, mobile: bool) -> None:
        config = self._config
        attributes: Attributes = [(att.REQUESTED_TRANSPORT, int(config.transport))]
        if config.lifetime is not None:
            attributes.append((att.LIFETIME, config.lifetime))
        if config.families == (6,):
            attributes.append((att.REQUESTED_ADDRESS_FAMILY, AddressFamily.IPV6))
        elif len(config.families) == 2:
            attributes.append((att.ADDITIONAL_ADDRESS_FAMILY, AddressFamily.IPV6))
        if config.even_port is not EvenPort.ANY:
            attributes.append((att.EVEN_PORT, config.even_port is EvenPort.EVEN_AND_RESERVE_NEXT))
        if config.reservation_token is not None:
            attributes.append((att.RESERVATION_TOKEN, config.reservation_token))
        if config.dont_fragment:
            attributes.append((att.DONT_FRAGMENT, True))
        if mobile:
            attributes.append((att.MOBILITY_TICKET, b""))
        self.asks.append((Ask(Method.ALLOCATE, attributes, AllocateRequest(mobile)), self.path))

    def _refresh(self, context: RefreshRequest, lifetime: int | None) -> None:
        attributes: Attributes = []
        if lifetime is not None:
            attributes.append((att.LIFETIME, lifetime))
        if context.family is not None:
            attributes.append((att.REQUESTED_ADDRESS_FAMILY, _FAMILIES[context.family]))
        self._refreshing = self._refreshing or context.purpose is Purpose.KEEP
        self.asks.append((Ask(Method.REFRESH, attributes, context), self.path))

    def _delete(self) -> None:
        self._refresh(RefreshRequest(Purpose.DELETE), lifetime=0)

    def _relay(self, addresses: Iterable[TransportAddress]) -> None:
        self.relayed = tuple(addresses)
        self.families = frozenset(address.family for address in self.relayed)  # Each datagram asks for them.

    def _granted(self, lifetime: int, now: float) -> None:
        margin = min(self._config.client.refresh_margin, lifetime / 4)
        self._refreshing = False
        self._failures = 0
        self._expires_at = now + lifetime
        self._refresh_at = self._expires_at - margin

    def _unusable(self, lifetime: int) -> TurnError | None:
        if not self.relayed or self.mapped is None or lifetime < 1:
            return TurnProtocolError("the response has no relayed or no mapped address", server=self._server)
        strangers = self.families.difference(self._config.families)
        token = self._config.reservation_token is not None  # then the family is that of the reservation
        if (strangers and not token) or len(self.relayed) != len(self.families):
            wanted = " and ".join(f"IPv{family}" for family in self._config.families)
            got = ", ".join(map(str, self.relayed))
            return TurnAddressFamilyError(f"{wanted} was asked for and {got} was granted", server=self._server)
        return None

    def _missing_families(self, response: Message) -> tuple[TurnError, ...]:
        told = response.get_all(att.ADDRESS_ERROR_CODE)
        errors = [error_of_code(item.code, item.reason, self._server, _family_of(item.family)) for item in told]
        for family in set(self._config.families) - self.families - {_VERSIONS.get(item.family, 0) for item in told}:
            if self._config.reservation_token is None:
                text = f"IPv{family} was asked for and the server says nothing about it: it knows no dual allocations"
                errors.append(TurnAddressFamilyError(text, server=self._server))
        return tuple(errors)

    def _die(self, event: _LIFECYCLE) -> None:
        if self.state is AllocationState.DEAD:
            return
        self.state = AllocationState.DEAD
        self._moving = False
        self.events.append(event)


def _family_of(family: int) -> tuple[str, ...]:
    return (f"for IPv{_VERSIONS[family]}",) if family in _VERSIONS else ()
