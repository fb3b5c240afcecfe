"""Asking STUN servers from asyncio code: one call that returns our reflexive address."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.link import ALPN_NAT_DISCOVERY, LinkOptions
from stun.aio.stream_driver import StreamDriver
from stun.aio.udp import UdpNetwork
from stun.auth import Authenticator
from stun.binding import BindingClient, BindingEvent, FailureReason, Mapped
from stun.config import BindingClientConfig
from stun.errors import StunAuthenticationError, StunError, StunResponseError, StunTimeoutError
from stun.network import Network

__all__ = ["NAT_DISCOVERY", "ask", "ask_any"]

NAT_DISCOVERY = LinkOptions(alpn=(ALPN_NAT_DISCOVERY,))
"""What a client that only asks for its address offers servers over TLS and DTLS (RFC 7443)."""

T = TypeVar("T")

_ANY = {4: "0.0.0.0", 6: "::"}


async def ask(
    server: TransportAddress,
    *,
    protocol: TransportProtocol = TransportProtocol.UDP,
    local: TransportAddress | None = None,
    network: Network | None = None,
    config: BindingClientConfig | None = None,
    authenticator: Authenticator | None = None,
    rng: random.Random | None = None,
    options: LinkOptions | None = None,
) -> Mapped:
    """Ask one server for our reflexive address.

    Args:
        server: where it listens.
        protocol: UDP, TCP, TLS or DTLS.
        local: the address to ask from; None takes the wildcard, and ``Mapped.path.local`` is then a wildcard too.
        network: UDP sockets; real ones by default. TCP always runs on real ones.
        config: times and attributes.
        authenticator: credentials, for servers that want them.
        rng: transaction ids; the system's generator by default.
        options: trust and names for TLS and DTLS; :data:`NAT_DISCOVERY` by default.

    Raises:
        StunLinkError: there is no connection to the server; a :class:`~stun.errors.StunCertificateError` when its
            certificate is not trusted.
        StunTimeoutError: no response within the schedule.
        StunAuthenticationError: credentials were refused or responses had wrong signatures.
        StunResponseError: the server answered with another error.
        StunError: the connection was closed, or the response made no sense.
        OSError: a socket could not be bound.
    """
    outcome: asyncio.Future[BindingEvent] = asyncio.get_running_loop().create_future()

    def on_event(event: BindingEvent) -> None:
        if not outcome.done():
            outcome.set_result(event)

    client = BindingClient(rng or random.SystemRandom(), config, authenticator)
    driver: StreamDriver[BindingEvent] = StreamDriver(client, network or UdpNetwork(), on_event)
    try:
        if protocol is not TransportProtocol.UDP:
            link = replace(options or NAT_DISCOVERY, local=local, network=network)
            path = await driver.connect_link(server, protocol, link)
        else:
            bound = await driver.bind(local or TransportAddress(_ANY[server.family], 0))
            path = FiveTuple(bound, server, protocol)
        client.request(path, asyncio.get_running_loop().time())
        driver.pump()
        return _result(await outcome)
    finally:
        driver.close()


def _result(event: BindingEvent) -> Mapped:
    if isinstance(event, Mapped):
        return event
    where = f"{event.path.remote} over {event.path.protocol}"
    if event.reason is FailureReason.TIMEOUT:
        raise StunTimeoutError(f"no response from {where}")
    if event.reason in (FailureReason.REFUSED, FailureReason.INTEGRITY_VIOLATED):
        detail = f" ({event.error})" if event.error else ""
        raise StunAuthenticationError(f"{where}: {event.reason.value}{detail}")
    if event.error is not None:
        raise StunResponseError(event.error.code, event.error.reason)
    raise StunError(f"{where}: {event.reason.value}")


async def ask_any(
    servers: Sequence[TransportAddress],
    *,
    protocol: TransportProtocol = TransportProtocol.UDP,
    network: Network | None = None,
    config: BindingClientConfig | None = None,
    authenticator: Callable[[], Authenticator] | None = None,
    options: LinkOptions | None = None,
) -> Mapped:
    """Ask several addresses, each a little after the one before it, and return the first answer (RFC 8305).

    A dead address so costs a quarter of a second, not a timeout.

    Raises:
        StunError: as :func:`ask`, of the address that failed last.
        OSError: as :func:`ask`.
    """
    if not servers:
        raise ValueError("no server to ask")

    def one(server: TransportAddress) -> Callable[[], Awaitable[Mapped]]:
        return lambda: ask(
            server,
            protocol=protocol,
            network=network,
            config=config,
            authenticator=authenticator() if authenticator else None,
            options=options,
        )

    return await _first_success([one(server) for server in servers], (config or BindingClientConfig()).stagger)


async def _first_success(attempts: Sequence[Callable[[], Awaitable[T]]], stagger: float) -> T:
    """Start the attempts ``stagger`` seconds apart, or sooner when one fails; the first result cancels the rest."""
    waiting = list(attempts)
    running: set[asyncio.Future[T]] = set()
    problem: BaseException = asyncio.CancelledError()
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.pop(0)()))
            timeout = stagger if waiting else None
            done, running = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    return attempt.result()
                problem = error
        raise problem
    finally:
        for attempt in running:
            attempt.cancel()
        if running:
            await asyncio.wait(running)
