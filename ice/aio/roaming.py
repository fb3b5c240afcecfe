"""Continual gathering: the addresses of the machine come and go while a session lasts (RFC 8445 section 5.1.1.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, cast, runtime_checkable

from ice.life_config import RoamingConfig
from stun.address import TransportAddress
from stun.network import Network, provides
from stun.nothing import NO_ENTRIES

__all__ = ["Bases", "Roaming", "WatchableNetwork"]

logger = logging.getLogger("ice")


@runtime_checkable
class WatchableNetwork(Protocol):
    """A network that says when its interfaces have changed; others are looked at now and then."""

    def watch_interfaces(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Have ``changed`` called from the loop after every change; return what ends that, or None if it cannot be."""


class Bases(Protocol):
    """The bases of a session, and the addresses that should have one."""

    async def hosts(self) -> Sequence[str]:
        """Return the addresses of the machine that should have a base, as of now."""

    def bound(self) -> Collection[TransportAddress]:
        """Return the bases."""

    async def add_host(self, host: str) -> None:
        """Make bases of an address.

        Raises:
            OSError: no socket can be bound to it, or not yet.
        """

    def drop(self, base: TransportAddress) -> None:
        """Take a base away."""


class Roaming:
    """Keeps the bases of one session to what the machine has. Between changes nothing of it runs.

    Args:
        config: the settings.
        network: what may say that interfaces have changed.
        bases: what is kept.
    """

    __slots__ = ("_bases", "_config", "_end", "_has_changed", "_is_on", "_network", "_refused", "_task", "_timer")

    def __init__(self, config: RoamingConfig, network: Network, bases: Bases) -> None:
        self._config = config
        self._network = network
        self._bases = bases
        self._has_changed = False
        self._refused: dict[str, int] = NO_ENTRIES
        self._is_on = False
        self._end: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the machine. Harmless twice."""
        if self._is_on or not self._config.enabled:
            return
        self._is_on = True
        if self._config.watch and provides(type(self._network), WatchableNetwork):
            self._end = cast(WatchableNetwork, self._network).watch_interfaces(self._changed)
        self._poll()

    def stop(self) -> None:
        """Follow no more. Harmless twice."""
        self._is_on = False
        if self._end is not None:
            self._end()
            self._end = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _poll(self) -> None:
        """Where nobody tells of changes, look after a while."""
        if self._is_on and self._end is None:
            self._timer = asyncio.get_running_loop().call_later(self._config.poll_interval, self._begin)

    def _changed(self) -> None:
        self._has_changed = True
        self._begin()

    def _begin(self) -> None:
        if self._is_on and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="ice: follow interfaces")

    async def _run(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            if not self._has_changed:  # It was time to look.
                await self._follow()
            while self._has_changed:
                # A change comes in pieces: the link, its addresses of both families, their being usable.
                await asyncio.sleep(self._config.settle_time)
                self._has_changed = False
                await self._follow()
        finally:
            self._task = None
            self._poll()

    async def _follow(self) -> None:
        hosts = await self._bases.hosts()
        bases = self._bases.bound()
        bound = {base.host for base in bases}
        # New ones first, so that a session whose address is gone has somewhere to go.
        for host in hosts:
            if host not in bound and self._refused.get(host, 0) < self._config.attempts:
                try:
                    await self._bases.add_host(host)
                    logger.info("a new address is used: %s", host)
                except OSError as error:  # Not usable yet (IPv6 looks for duplicates first), or gone already.
                    self._refused = {**self._refused, host: self._refused.get(host, 0) + 1}
                    logger.debug("no socket on %s: %s", host, error)
                    self._retry_later()
        for base in bases:
            if base.host not in hosts:
                logger.info("an address is gone: %s", base.host)
                self._bases.drop(base)
        self._refused = {host: count for host, count in self._refused.items() if host in hosts} or NO_ENTRIES

    def _retry_later(self) -> None:
        asyncio.get_running_loop().call_later(self._config.settle_time, self._changed)
