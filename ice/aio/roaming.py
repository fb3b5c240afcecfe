"""Continual gathering: the addresses of the machine come and go while a session lasts (RFC 8445 section 5.1.1.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol, cast, runtime_checkable

from ice.aio.flag import Flag
from ice.life_config import RoamingConfig
from stun.address import TransportAddress
from stun.network import Network, provides

__all__ = ["Roaming", "WatchableNetwork"]

logger = logging.getLogger("ice")


@runtime_checkable
class WatchableNetwork(Protocol):
    """A network that says when its interfaces have changed; others are looked at now and then."""

    def watch_interfaces(self, changed: Callable[[], None]) -> Callable[[], None] | None:
        """Have ``changed`` called from the loop after every change; return what ends that, or None if it cannot be."""


class Roaming:
    """Keeps the bases of one session to what the machine has."""

    def __init__(
        self,
        config: RoamingConfig,
        network: Network,
        hosts: Callable[[], Awaitable[Sequence[str]]],
        bases: Callable[[], Collection[TransportAddress]],
        bind: Callable[[str], Awaitable[None]],
        unbind: Callable[[TransportAddress], None],
    ) -> None:
        """Args:
        config: the settings.
        network: what may say that interfaces have changed.
        hosts: lists the addresses that should have a base.
        bases: lists the bases.
        bind: makes a base of an address; raises OSError.
        unbind: takes a base away.
        """
        self._config = config
        self._network = network
        self._hosts = hosts
        self._bases = bases
        self._bind = bind
        self._unbind = unbind
        self._changed = Flag()
        self._refused: dict[str, int] = {}
        self._end: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the machine. Harmless twice."""
        if self._task is not None or not self._config.enabled:
            return
        if self._config.watch and provides(type(self._network), WatchableNetwork):
            self._end = cast(WatchableNetwork, self._network).watch_interfaces(self._changed.set)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ice: watch interfaces")

    def stop(self) -> None:
        """Follow no more. Harmless twice."""
        if self._end is not None:
            self._end()
            self._end = None
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(None if self._end is not None else self._config.poll_interval):
                    await self._changed.wait()
                # A change comes in pieces: the link, its addresses of both families, their being usable.
                await asyncio.sleep(self._config.settle_time)
            except TimeoutError:
                pass
            self._changed.clear()
            await self._follow()

    async def _follow(self) -> None:
        hosts = await self._hosts()
        bases = self._bases()
        bound = {base.host for base in bases}
        # New ones first, so that a session whose address is gone has somewhere to go.
        for host in hosts:
            if host not in bound and self._refused.get(host, 0) < self._config.attempts:
                try:
                    await self._bind(host)
                    logger.info("a new address is used: %s", host)
                except OSError as error:  # Not usable yet (IPv6 looks for duplicates first), or gone already.
                    self._refused[host] = self._refused.get(host, 0) + 1
                    logger.debug("no socket on %s: %s", host, error)
                    self._retry_later()
        for base in bases:
            if base.host not in hosts:
                logger.info("an address is gone: %s", base.host)
                self._unbind(base)
        self._refused = {host: count for host, count in self._refused.items() if host in hosts}

    def _retry_later(self) -> None:
        asyncio.get_running_loop().call_later(self._config.settle_time, self._changed.set)
