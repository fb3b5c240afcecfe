"""From a server's name to its addresses: SRV records, A and AAAA (RFC 8489 section 8, RFC 2782)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from stun.address import TransportAddress, TransportProtocol
from stun.config import ResolverConfig
from stun.network import Network
from stun.uri import ServerUri

__all__ = ["NAT_BEHAVIOUR_SERVICE", "SrvTarget", "ask_dns", "locate", "lookup_srv", "order_targets", "srv_targets"]

_SRV_PROTOCOL = {
    TransportProtocol.UDP: "_udp",
    TransportProtocol.DTLS: "_udp",
    TransportProtocol.TCP: "_tcp",
    TransportProtocol.TLS: "_tcp",
}


class SrvTarget(NamedTuple):
    """One SRV record."""

    priority: int
    weight: int
    port: int
    host: str


NAT_BEHAVIOUR_SERVICE = "stun-behavior"
"""The SRV service of servers with two addresses (RFC 5780 section 5.1)."""


async def locate(
    uri: ServerUri,
    network: Network,
    rng: random.Random,
    config: ResolverConfig | None = None,
    service: str | None = None,
) -> list[TransportAddress]:
    """Return the addresses of a server in the order in which to try them.

    A literal and a URI with a port are looked up as they are; a bare name is asked for SRV records first, and falls
    back to its own addresses with the default port (section 8.1).

    Args:
        uri: the server.
        network: resolves host names.
        rng: spreads load over SRV records of one priority.
        config: time and limits.
        service: an SRV service to look for before the scheme's own.

    Raises:
        OSError: nothing resolves, or the domain says that it has no such service.
    """
    config = config or ResolverConfig()
    targets: list[SrvTarget] = []
    if uri.port is None and not uri.is_literal and "." in uri.host.rstrip("."):
        records = await lookup_srv(uri, config.srv_timeout, service) if service is not None else []
        records = records or await lookup_srv(uri, config.srv_timeout)
        targets = order_targets(records, rng)[: config.max_targets]
    if not targets:
        return list(await network.resolve(uri.host, uri.effective_port))
    if all(target.host in ("", ".") for target in targets):
        raise OSError(f"{uri.host} says that it has no {uri.scheme} service")
    found: list[TransportAddress] = []
    problem: OSError | None = None
    for target in targets:
        try:
            found += await network.resolve(target.host.rstrip("."), target.port)
        except OSError as error:
            problem = error
    if not found and problem is not None:
        raise problem
    return list(dict.fromkeys(found))


async def lookup_srv(uri: ServerUri, timeout: float, service: str | None = None) -> list[SrvTarget]:
    """Return the SRV records of a service (the scheme's by default).

    They are empty when there are none, or when no name server answers in time.
    """
    name = f"_{service or uri.scheme}.{_SRV_PROTOCOL[uri.protocol]}.{uri.host}"
    return srv_targets(await ask_dns(name, "SRV", timeout))


def srv_targets(records: Sequence[Any]) -> list[SrvTarget]:
    """Return SRV records as :func:`ask_dns` has them without its library's classes."""
    return [SrvTarget(record.priority, record.weight, record.port, str(record.target)) for record in records]


async def ask_dns(name: str, kind: str, timeout: float) -> Sequence[Any]:
    """Return the records of one kind, as dnspython has them; empty when there are none, or no answer in time."""
    # Most servers are told by address or with their port. The library is loaded for the first that is not, and in a
    # thread, because that takes a tenth of a second.
    look_up = await asyncio.to_thread(_library)
    return await look_up(name, kind, timeout)


def _library() -> Callable[[str, str, float], Awaitable[Sequence[Any]]]:
    from stun.aio.dns_records import look_up

    return look_up


def order_targets(targets: Sequence[SrvTarget], rng: random.Random) -> list[SrvTarget]:
    """Return SRV records in the order of RFC 2782: by priority, and by weighted chance within one."""
    ordered: list[SrvTarget] = []
    for priority in sorted({target.priority for target in targets}):
        # Records of weight 0 go first, so that a draw of 0 can reach them.
        left = sorted((target for target in targets if target.priority == priority), key=lambda target: target.weight)
        while left:
            draw = rng.randint(0, sum(target.weight for target in left))
            for target in left:
                draw -= target.weight
                if draw <= 0:
                    break
            ordered.append(target)
            left.remove(target)
    return ordered
