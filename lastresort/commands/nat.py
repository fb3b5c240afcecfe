"""``lastresort nat``: what the NATs before us do, and which peers we can reach from behind them."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from ice.aio.portmap import default_gateway, find_port_mappers
from ice.portmap.probe import PortMapper
from lastresort.commands.options import SubParsers, new_parser, seconds
from lastresort.nat_output import as_json, as_text
from lastresort.output import Output
from stun.address import TransportAddress
from stun.aio import UdpNetwork, examine_nat, examine_tcp_mapping, locate
from stun.aio.resolve import NAT_BEHAVIOUR_SERVICE
from stun.behaviour import Mapping, NatReport
from stun.behaviour_client import ALL_TESTS, QUICK_TESTS
from stun.config import BehaviourClientConfig
from stun.errors import StunUriError
from stun.uri import ServerUri

__all__ = ["Examination", "add_parser", "run"]

EPILOG = """examples:
  lastresort nat stun.example.org                    a server that speaks RFC 5780 tells most
  lastresort nat stun.example.org stun.example.net   two ordinary STUN servers tell the mapping, not the filtering
  lastresort nat --lifetime stun.example.org         and how long an idle mapping lives: some minutes
  lastresort nat                                     only what needs no server: port mapping, IPv6
  lastresort nat --json stun.example.org             one JSON object

A server of your own, on a host with two addresses:
  python -m stun serve --host 198.51.100.1 --other-host 198.51.100.2

It takes about ten seconds. What is found holds for the NAT as it is now: a busy one may act differently.
Exit status: 0 done, 1 no server answered, 2 wrong usage.
"""


_MOST_TRIES = 3
"""Addresses of each family that are asked in turn until one answers."""


@dataclass(slots=True)
class Examination:
    """All that was found."""

    servers: list[str]
    """As they were given."""
    udp: list[NatReport] = field(default_factory=list)
    """One a family."""
    tcp_mapping: Mapping | None = None
    tcp_reachable: bool | None = None
    """Whether the server answered over TCP; None when it was not asked."""
    mappers: Sequence[PortMapper] = ()
    gateway: str | None = None
    ipv6_addresses: list[str] = field(default_factory=list)
    """Global addresses of this host."""
    problems: list[str] = field(default_factory=list)
    """What could not be done, for people."""


def add_parser(commands: SubParsers, help: str) -> None:
    """Add ``nat`` to the command line."""
    parser = new_parser(
        commands,
        "nat",
        help=help,
        description="Find out what the NATs between this host and a STUN server do (RFC 5780), and what it means.",
        epilog=EPILOG,
    )
    parser.add_argument("servers", nargs="*", metavar="SERVER", help="a STUN server: name, address, [IPv6]:port or URI")
    family = parser.add_mutually_exclusive_group()
    family.add_argument("--ipv4", "-4", action="store_const", dest="family", const=4, help="only IPv4")
    family.add_argument("--ipv6", "-6", action="store_const", dest="family", const=6, help="only IPv6")
    parser.add_argument("--lifetime", action="store_true", help="also find how long an idle mapping lives (minutes)")
    parser.add_argument(
        "--lifetime-limit", type=seconds, default=600.0, metavar="S", help="longest silence that --lifetime tries (600)"
    )
    parser.add_argument("--no-port-mapping", action="store_true", help="do not ask the router for PCP, NAT-PMP, UPnP")
    parser.set_defaults(run=run)


async def run(options: argparse.Namespace, output: Output) -> int:
    """Examine and print."""
    examination = Examination(list(options.servers))
    servers = await _addresses(options, examination)
    if options.servers and not servers:
        output.error("; ".join(examination.problems) or "no server has an address of the wanted family")
        return 1
    await asyncio.gather(
        *(_udp(family, servers, options, examination) for family in (4, 6)),
        _tcp(servers, examination),
        _port_mapping(options, examination),
    )
    examination.udp.sort(key=lambda report: report.server.family)
    examination.ipv6_addresses = _global_ipv6(UdpNetwork())
    output.event("nat", as_text(examination), **as_json(examination))
    answered = any(report.mapped is not None for report in examination.udp) or bool(examination.tcp_reachable)
    return 0 if answered or not options.servers else 1


async def _addresses(options: argparse.Namespace, examination: Examination) -> list[list[TransportAddress]]:
    """Return each server's addresses; a server without one is a problem, not the end."""
    # All at once: a name server that does not answer costs its time only once.
    found: list[list[TransportAddress]] = []
    for text, addresses in zip(options.servers, await asyncio.gather(*map(_locate, options.servers)), strict=True):
        if isinstance(addresses, str):
            examination.problems.append(f"{text}: {addresses}")
            continue
        wanted = [address for address in addresses if options.family in (None, address.family)]
        if wanted:
            found.append(wanted)
        else:
            examination.problems.append(f"{text}: it has no IPv{options.family} address")
    return found


async def _locate(text: str) -> list[TransportAddress] | str:
    try:
        return await locate(_uri(text), UdpNetwork(), random.SystemRandom(), service=NAT_BEHAVIOUR_SERVICE)
    except (OSError, StunUriError) as error:
        return str(error)


def _uri(text: str) -> ServerUri:
    if text.count(":") > 1 and "[" not in text and not text.lower().startswith("stun"):
        text = f"[{text}]"
    uri = ServerUri.parse(text if text.lower().startswith(("stun:", "stuns:")) else f"stun:{text}")
    if uri.scheme.is_secure:
        raise StunUriError("what a NAT does is tested over plain UDP and TCP: name a stun: server")
    return uri


async def _udp(
    family: int, servers: list[list[TransportAddress]], options: argparse.Namespace, examination: Examination
) -> None:
    left = _of_family(servers, family)
    silent: NatReport | None = None
    for _ in range(_MOST_TRIES):
        if not left:
            break
        server = left.pop(0)
        try:
            report = await examine_nat(
                server,
                second=next((address for address in left if address.host != server.host), None),
                tests=ALL_TESTS if options.lifetime else QUICK_TESTS,
                config=BehaviourClientConfig(lifetime_limit=options.lifetime_limit),
            )
        except OSError as error:
            examination.problems.append(f"{server} over UDP: {error}")
            continue
        if report.mapped is not None:
            examination.udp.append(report)
            return
        # It may be dead, and another one not: only when all are silent it is the network that blocks UDP.
        examination.problems.append(f"{server} over UDP: no answer")
        silent = silent or report
    if silent is not None:
        examination.udp.append(silent)


def _of_family(servers: list[list[TransportAddress]], family: int) -> list[TransportAddress]:
    """Return the addresses of a family: each server's first ones first, so that a second try is another server."""
    mine = [[address for address in addresses if address.family == family] for addresses in servers]
    rounds = itertools.zip_longest(*mine)
    return list(dict.fromkeys(address for one in rounds for address in one if address is not None))


async def _tcp(servers: list[list[TransportAddress]], examination: Examination) -> None:
    # Mappings of TCP matter for IPv4, where there are NATs.
    for server in _of_family(servers, 4)[:_MOST_TRIES]:
        try:
            examination.tcp_mapping, answers = await examine_tcp_mapping(server)
        except OSError as error:
            examination.problems.append(f"{server} over TCP: {error}")
        else:
            if answers:
                examination.tcp_reachable = True
                return
            examination.problems.append(f"{server} over TCP: no answer")
        examination.tcp_reachable = False


async def _port_mapping(options: argparse.Namespace, examination: Examination) -> None:
    if options.no_port_mapping:
        return
    examination.gateway = default_gateway()
    try:
        examination.mappers = await find_port_mappers(examination.gateway)
    except OSError as error:
        examination.problems.append(f"port mapping: {error}")


def _global_ipv6(network: UdpNetwork) -> list[str]:
    hosts = [interface.host.partition("%")[0] for interface in network.interfaces()]
    addresses = [ipaddress.ip_address(host) for host in hosts]
    # Not is_global: documentation and unique local prefixes are routed in laboratories and private networks.
    return [
        str(address)
        for address in addresses
        if address.version == 6 and not (address.is_link_local or address.is_loopback)
    ]
