"""Where sockets are bound: the addresses that the exposure mode allows, and ports of the configured range."""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

from ice.config import IceConfig
from ice.interfaces import usable_addresses
from stun.address import TransportAddress
from stun.aio.routes import route_to
from stun.network import Network

__all__ = ["bind_in_range", "hosts_to_bind", "listen_in_range", "ports_to_try"]

_FAR = (TransportAddress("198.41.0.4", 53), TransportAddress("2001:503:ba3e::2:30", 53))
"""Addresses of the DNS root, to which only default routes lead. Nothing is sent there: the kernel is asked for the
way."""
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


async def hosts_to_bind(network: Network, config: IceConfig) -> Sequence[str]:
    """Return the hosts that become bases, best first.

    A machine that has nothing but loopback addresses uses those: it still reaches its own processes.
    """
    interfaces = network.interfaces()
    routes = await _routes(network) if config.exposure.follows_routes else ()
    hosts = usable_addresses(interfaces, config, routes)
    if not hosts and not routes:
        hosts = usable_addresses(interfaces, replace(config, include_loopback=True), routes)
    return hosts


async def _routes(network: Network) -> Sequence[str]:
    found = []
    for far in _FAR:
        try:
            found.append(await route_to(far, network))
        except OSError:  # No default route, or not that family.
            continue
    return found


def ports_to_try(config: IceConfig, rng: random.Random) -> Iterator[int]:
    """Yield the ports that a base may have, in an order that no one can foresee; 0 where any will do."""
    if config.port_range is None:
        yield 0
        return
    first, last = config.port_range
    yield from rng.sample(range(first, last + 1), last + 1 - first)


async def bind_in_range(
    bind: Callable[[TransportAddress], Awaitable[None]], host: str, config: IceConfig, rng: random.Random
) -> None:
    """Bind ``host`` at one of the ports that it may have.

    Raises:
        OSError: none of them is free, or the host is not ours.
    """
    problem: OSError | None = None
    for port in ports_to_try(config, rng):
        try:
            return await bind(TransportAddress(host, port))
        except OSError as error:
            problem = error
            if error.errno not in _TAKEN:
                raise
    raise problem or OSError(errno.EADDRINUSE, f"no port for {host}")


def listen_in_range(listen: Callable[[int], None], config: IceConfig, rng: random.Random) -> None:
    """As :func:`bind_in_range`, for what listens at a port at once.

    Raises:
        OSError: none of the ports is free, or the host is not ours.
    """
    problem: OSError | None = None
    for port in ports_to_try(config, rng):
        try:
            return listen(port)
        except OSError as error:
            problem = error
            if error.errno not in _TAKEN:
                raise
    raise problem or OSError(errno.EADDRINUSE, "no port")
