"""Permissions: which hosts may send to the relayed address (RFC 8656 sections 9 and 10), kept alive in batches."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stun import attributes as att
from stun.address import TransportAddress
from stun.machine import Deadline
from stun.message import Method
from turn.config import TurnClientConfig
from turn.errors import (
    TurnBadRequestError,
    TurnError,
    TurnForbiddenError,
    TurnLimitError,
    TurnPeerFamilyError,
)
from turn.events import PermissionFailed, PermissionGranted
from turn.requests import Ask
from turn.soonest import Soonest

__all__ = ["PermissionRequest", "Permissions"]


class _State(enum.Enum):
    WANTED = enum.auto()
    """Goes with the next request."""
    ASKED = enum.auto()
    OPEN = enum.auto()


_OPEN: Final = _State.OPEN


@dataclass(slots=True)
class _Permission:
    state: _State = _State.WANTED
    expires_at: float = 0.0
    """Until when the server holds it; 0 before it ever did."""
    refresh_at: float = 0.0
    alone: bool = False
    """Asked for in a request of its own, since one wrong address refuses a whole batch (section 10.2)."""


@dataclass(frozen=True, slots=True)
class PermissionRequest:
    """The context of one CreatePermission."""

    hosts: tuple[str, ...]


class Permissions:
    """The permissions of one allocation."""

    def __init__(self, config: TurnClientConfig, server: str) -> None:
        self.events: deque[PermissionGranted | PermissionFailed] = deque()
        self.open: set[str] = set()
        """Hosts with a permission that the server holds."""
        self._config = config
        self._server = server
        self._table: dict[str, _Permission] = {}
        self._soonest = Soonest(self._times)

    def __contains__(self, host: object) -> bool:
        return host in self._table

    def __len__(self) -> int:
        return len(self._table)

    def want(self, hosts: Iterable[str]) -> None:
        """Ask for permissions with the next request, and keep them until they are dropped."""
        for host in hosts:
            if host in self._table:
                continue
            if len(self._table) >= self._config.max_permissions:
                error = TurnLimitError(f"no permission for {host}: {len(self._table)} are held", server=self._server)
                self.events.append(PermissionFailed(host, error))
            else:
                self._table[host] = _Permission()
                self._soonest.wanted = True

    def drop(self, host: str) -> None:
        """Let a permission run out; harmless when there is none."""
        self._table.pop(host, None)
        self.open.discard(host)
        self._soonest.forget()

    def clear(self) -> None:
        """The allocation is gone, and all permissions with it."""
        self._table.clear()
        self.open.clear()
        self._soonest.forget()

    def requests(self, families: frozenset[int], now: float) -> list[Ask[PermissionRequest]]:
        """Return the requests that are due now, in as few messages as will hold them."""
        if not self._soonest.take(now):
            return []
        batch: list[str] = []
        alone: list[str] = []
        urgent = any(item.state is _OPEN and item.refresh_at <= now for item in self._table.values())
        horizon = now + (self._config.permission_window if urgent else 0.0)
        for host, item in list(self._table.items()):
            due = item.state is _State.WANTED or (item.state is _OPEN and item.refresh_at <= horizon)
            if not due:
                continue
            if TransportAddress(host, 0).family not in families:
                self._fail(host, self._no_family(host))
                continue
            item.state = _State.ASKED
            (alone if item.alone else batch).append(host)
        size = self._config.permission_batch
        groups = [batch[start : start + size] for start in range(0, len(batch), size)]
        return [_ask(group) for group in [*groups, *([host] for host in alone)]]

    def confirmed(self, context: PermissionRequest, now: float) -> None:
        """The server has taken a CreatePermission."""
        for host in context.hosts:
            self.refreshed(host, now)

    def refreshed(self, host: str, now: float) -> None:
        """The server holds a permission from now on: CreatePermission and ChannelBind do that (section 9)."""
        item = self._table.get(host)
        if item is None:
            return
        item.state = _OPEN
        item.expires_at = now + self._config.permission_lifetime
        item.refresh_at = item.expires_at - self._config.permission_margin
        self._soonest.forget()
        if host not in self.open:
            self.open.add(host)
            self.events.append(PermissionGranted(host))

    def refused(self, context: PermissionRequest, error: TurnError, now: float) -> None:
        """The server has refused a CreatePermission, or not answered it."""
        self._soonest.forget()
        culprits = isinstance(error, (TurnForbiddenError, TurnPeerFamilyError, TurnBadRequestError))
        for host in context.hosts:
            item = self._table.get(host)
            if item is None or item.state is not _State.ASKED:
                continue
            if culprits and len(context.hosts) > 1:
                item.alone = True
                item.state = _State.WANTED
                self._soonest.wanted = True
            elif not culprits and now + self._config.retry_delay < item.expires_at:
                # It still holds: ask again until it does not.
                item.state = _OPEN
                item.refresh_at = now + self._config.retry_delay
            else:
                self._fail(host, error)

    def keep_families(self, families: frozenset[int]) -> list[str]:
        """A relayed address was given back, and its permissions with it (section 8.1); return their hosts."""
        lost = [host for host in self._table if TransportAddress(host, 0).family not in families]
        for host in lost:
            self._fail(host, self._no_family(host))
        return lost

    def handle_timeout(self, now: float) -> None:
        """Forget what the server no longer holds."""
        for host in [host for host in self.open if self._table[host].expires_at <= now]:
            # Whoever is still being asked about stays wanted; until the answer nothing may be sent.
            self.open.discard(host)
            self._soonest.forget()

    def next_timeout(self) -> Deadline | None:
        """Return when a permission is to be refreshed or has run out."""
        at = self._soonest.at
        return None if at is None else Deadline(at, "permission")

    def _times(self) -> Iterator[float]:
        for host, item in self._table.items():
            if item.state is _OPEN:
                yield item.refresh_at
            if host in self.open:
                yield item.expires_at

    def _no_family(self, host: str) -> TurnPeerFamilyError:
        return TurnPeerFamilyError(f"no relayed address of the family of {host}", server=self._server)

    def _fail(self, host: str, error: TurnError) -> None:
        self.drop(host)
        self.events.append(PermissionFailed(host, error))


def _ask(hosts: list[str]) -> Ask[PermissionRequest]:
    # The port does not matter (section 10.1).
    attributes = [(att.XOR_PEER_ADDRESS, TransportAddress(host, 0)) for host in hosts]
    return Ask(Method.CREATE_PERMISSION, attributes, PermissionRequest(tuple(hosts)))
