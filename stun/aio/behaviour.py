"""NAT behaviour discovery (RFC 5780) from asyncio code: over UDP on any network, and mappings of TCP."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence

from stun.address import TransportAddress
from stun.aio.driver import Driver
from stun.aio.routes import route_to
from stun.aio.stream_driver import StreamDriver
from stun.aio.udp import UdpNetwork
from stun.behaviour import Mapping, NatReport, NatTest, classify_mapping
from stun.behaviour_client import QUICK_TESTS, BehaviourClient, BindPort, ReleasePort
from stun.binding import BindingClient, BindingEvent, Mapped
from stun.config import BehaviourClientConfig, BindingClientConfig, StreamConfig, TransactionConfig
from stun.network import Network

__all__ = ["examine_nat", "examine_tcp_mapping"]

_ANY = {4: "0.0.0.0", 6: "::"}


async def examine_nat(
    server: TransportAddress,
    *,
    second: TransportAddress | None = None,
    tests: frozenset[NatTest] = QUICK_TESTS,
    local_host: str | None = None,
    network: Network | None = None,
    config: BehaviourClientConfig | None = None,
    rng: random.Random | None = None,
) -> NatReport:
    """Examine the NATs on the way to ``server`` over UDP.

    Args:
        server: the primary address of a server; one of RFC 5780 tells most.
        second: an ordinary server at another address, for servers without OTHER-ADDRESS.
        tests: what to find out; :data:`~stun.behaviour_client.ALL_TESTS` takes many minutes.
        local_host: the address to test from; None takes the one that the route to the server has.
        network: where sockets are bound; real ones by default.
        config: times and numbers.
        rng: transaction ids; the system's generator by default.

    Raises:
        OSError: there is no route to the server.
        ValueError: ``second`` is no other address of the same family.
    """
    network = network or UdpNetwork()
    host = local_host or await route_to(server, network)
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[NatReport] = loop.create_future()
    client = BehaviourClient(server, rng or random.SystemRandom(), second=second, tests=tests, config=config)
    binding: set[asyncio.Task[None]] = set()

    async def bind(key: int) -> None:
        try:
            local = await driver.bind(TransportAddress(host, 0))
        except OSError:
            local = None
        client.port_bound(key, local, loop.time())
        driver.pump()

    def on_effect(effect: object) -> None:
        if isinstance(effect, BindPort):
            task = loop.create_task(bind(effect.key))
            binding.add(task)
            task.add_done_callback(binding.discard)
        elif isinstance(effect, ReleasePort):
            driver.unbind(effect.local)

    driver: Driver[NatReport] = Driver(client, network, outcome.set_result, on_effect=on_effect)
    try:
        client.start(loop.time())
        driver.pump()
        return await outcome
    finally:
        for task in list(binding):
            task.cancel()
        driver.close()


async def examine_tcp_mapping(
    server: TransportAddress, other: TransportAddress | None = None, *, timeout: float = 5.0
) -> tuple[Mapping | None, Sequence[Mapped]]:
    """Find the mapping class for TCP: one local port connects to the addresses of a server (RFC 5780 section 4.3).

    Args:
        server: the primary address.
        other: its OTHER-ADDRESS; None takes what it says over TCP, and a server that says none tells no class.
        timeout: seconds for each connection and its answer.

    Returns:
        The class, None when it could not be told, and what the connections said, the first one's answer first.

    Raises:
        OSError: the server cannot be reached over TCP, or no local port can be shared by connections.
    """
    loop = asyncio.get_running_loop()
    answers: asyncio.Queue[BindingEvent] = asyncio.Queue()
    config = BindingClientConfig(transaction=TransactionConfig(stream_timeout=timeout))
    client = BindingClient(random.SystemRandom(), config)
    driver: StreamDriver[BindingEvent] = StreamDriver(
        client, UdpNetwork(), answers.put_nowait, config=StreamConfig(connect_timeout=timeout)
    )
    found: list[Mapped] = []

    async def ask(to: TransportAddress) -> TransportAddress | None:
        path = await driver.connect_from(_sharing_socket(to, found[0].path.local if found else None), to)
        client.request(path, loop.time())
        driver.pump()
        event = await answers.get()
        if not isinstance(event, Mapped):
            return None
        found.append(event)
        return event.address

    try:
        first = await ask(server)
        other = other or (found[0].other_address if found else None)
        if first is None or other is None or other.host == server.host:
            return None, found
        try:
            second = await ask(TransportAddress(other.host, server.port))
            third = None if second in (None, first) else await ask(other)
        except OSError:  # It does not listen there, or the two connections look like one to the NAT.
            return None, found
        return classify_mapping(first, second, third), found
    finally:
        driver.close()


def _sharing_socket(remote: TransportAddress, local: TransportAddress | None) -> socket.socket:
    family = socket.AF_INET6 if remote.family == 6 else socket.AF_INET
    ours = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ours.bind(local or (_ANY[remote.family], 0))
    except BaseException:
        ours.close()
        raise
    return ours
