"""From a ``turn:`` or ``turns:`` URI to transport addresses: NAPTR, SRV, A and AAAA (RFC 5928, RFC 7065)."""

from __future__ import annotations

import asyncio
import random
from typing import NamedTuple

from stun.address import TransportAddress, TransportProtocol
from stun.aio.resolve import SrvTarget, ask_dns, lookup_srv, order_targets, srv_targets
from stun.config import ResolverConfig
from stun.network import Network
from stun.uri import Scheme, ServerUri
from turn.errors import TurnResolveError

__all__ = ["Target", "locate_turn"]

_MAX_NAPTR_STEPS = 5
_TRANSPORTS = {
    Scheme.TURN: {"turn.udp": TransportProtocol.UDP, "turn.tcp": TransportProtocol.TCP},
    Scheme.TURNS: {"turn.tls": TransportProtocol.TLS, "turn.dtls": TransportProtocol.DTLS},
}
"""The application protocol tags of RFC 5928 section 4 and RFC 7350 section 4.6, by preference."""
_QUERY = {TransportProtocol.UDP: "udp", TransportProtocol.DTLS: "udp"}


class Target(NamedTuple):
    """One way to a server."""

    address: TransportAddress
    protocol: TransportProtocol
    name: str
    """The name that its certificate has to show: the URI's, whatever DNS said (RFC 5928 section 5)."""


class _Naptr(NamedTuple):
    order: int
    preference: int
    flags: str
    protocols: tuple[str, ...]
    replacement: str


async def locate_turn(
    uri: ServerUri, network: Network, rng: random.Random, config: ResolverConfig | None = None
) -> list[Target]:
    """Return the ways to a server in the order in which to try them (RFC 5928 section 3).

    A literal or a port leaves nothing to look up but addresses. A bare name with ``transport`` is asked for SRV
    records; without it for NAPTR records first, then for the SRV records of every transport. A name that has none of
    these is taken with the default port.

    Raises:
        TurnResolveError: nothing resolves, or the domain says that it has no such service.
    """
    config = config or ResolverConfig()
    found: list[Target] = []
    if uri.port is None and not uri.is_literal and "." in uri.host.rstrip("."):
        if uri.transport is None:
            # Both at once: a resolver that is out of reach costs its time-out only once.
            by_naptr, by_srv = await asyncio.gather(
                _by_naptr(uri, uri.host, _Naptrs(network, rng, config)), _by_srv(uri, network, rng, config)
            )
            found = by_naptr or by_srv
        else:
            found = await _by_srv(uri, network, rng, config)
    if not found:
        found = await _addresses(uri, uri.host, uri.effective_port, uri.protocol, network)
    if not found:
        raise TurnResolveError(f"{uri.host} has no address", server=str(uri))
    return list(dict.fromkeys(found))[: _MAX_NAPTR_STEPS * config.max_targets]


class _Naptrs:
    """One walk along NAPTR records, each of which may lead to many others: how far it may still go."""

    def __init__(self, network: Network, rng: random.Random, config: ResolverConfig) -> None:
        self.network = network
        self.rng = rng
        self.config = config
        self._left = _MAX_NAPTR_STEPS * config.max_targets

    def may_follow(self) -> bool:
        """Count one more record; False when it is one too many."""
        self._left -= 1
        return self._left >= 0


async def _by_naptr(uri: ServerUri, domain: str, walk: _Naptrs, steps: int = _MAX_NAPTR_STEPS) -> list[Target]:
    found: list[Target] = []
    for record in await _lookup_naptr(domain, walk.config):
        if not walk.may_follow():
            break
        if record.flags == "" and steps > 1:
            found += await _by_naptr(uri, record.replacement, walk, steps - 1)
            continue
        for tag, protocol in _TRANSPORTS[uri.scheme].items():
            if tag not in record.protocols:
                continue
            if record.flags == "A":
                port = uri.scheme.default_port
                found += await _addresses(uri, record.replacement, port, protocol, walk.network, missing_ok=True)
            elif record.flags == "S":
                targets = srv_targets(await ask_dns(record.replacement, "SRV", walk.config.srv_timeout))
                found += await _follow(uri, order_targets(targets, walk.rng), protocol, walk.network, walk.config)
    return found


async def _by_srv(uri: ServerUri, network: Network, rng: random.Random, config: ResolverConfig) -> list[Target]:
    if uri.transport is not None:
        wanted = [uri.protocol]
    else:
        # Without NAPTR the client's own order of transports decides (section 3, step 4).
        wanted = [uri.protocol, *(other for other in _TRANSPORTS[uri.scheme].values() if other is not uri.protocol)]
    found: list[Target] = []
    asked = [ServerUri(uri.scheme, uri.host, None, _QUERY.get(protocol, "tcp")) for protocol in wanted]
    answers = await asyncio.gather(*(lookup_srv(one, config.srv_timeout) for one in asked))
    for protocol, answer in zip(wanted, answers, strict=True):
        targets = order_targets(answer, rng)
        if targets and all(target.host in ("", ".") for target in targets):
            if uri.transport is not None:
                raise TurnResolveError(f"{uri.host} says that it has no such service", server=str(uri))
            continue
        found += await _follow(uri, targets, protocol, network, config)
    return found


async def _follow(
    uri: ServerUri, targets: list[SrvTarget], protocol: TransportProtocol, network: Network, config: ResolverConfig
) -> list[Target]:
    found: list[Target] = []
    for target in targets[: config.max_targets]:
        host = target.host.rstrip(".")
        if host:
            found += await _addresses(uri, host, target.port, protocol, network, missing_ok=True)
    return found


async def _addresses(
    uri: ServerUri, host: str, port: int, protocol: TransportProtocol, network: Network, *, missing_ok: bool = False
) -> list[Target]:
    try:
        addresses = await network.resolve(host.rstrip("."), port)
    except OSError as error:
        if missing_ok:
            return []
        raise TurnResolveError(f"{host} does not resolve ({error})", server=str(uri)) from error
    return [Target(address, protocol, uri.host) for address in addresses]


async def _lookup_naptr(domain: str, config: ResolverConfig) -> list[_Naptr]:
    """Return the RELAY records of a domain in the order in which to follow them; none when there is no answer."""
    records: list[_Naptr] = []
    for record in await ask_dns(domain, "NAPTR", config.srv_timeout):
        service, *protocols = record.service.decode("ascii", "replace").lower().split(":")
        flags = record.flags.decode("ascii", "replace").upper()
        if service == "relay" and flags in ("", "S", "A") and not record.regexp:
            replacement = str(record.replacement)
            records.append(_Naptr(record.order, record.preference, flags, tuple(protocols), replacement))
    return sorted(records)[: config.max_targets]
