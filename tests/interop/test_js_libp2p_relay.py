"""Circuits with js-libp2p: through our relay and through its relay, with every pairing of peers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from signalling.errors import CircuitRefused, LimitedConnection, NegotiationError
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.circuit import ReservationState
from signalling.libp2p.circuit_messages import Status
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from tests.interop import payload
from tests.interop.js_peer import JsError, JsPeer, js_peer

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("node_modules")]

LISTEN = "/ip4/127.0.0.1/tcp/0"
JS_CLIENT = {"transports": ["tcp", "ws", "circuit"], "allowLimited": True}

Peer = Host | JsPeer

PAIRINGS = [
    (relay, dialler, target)
    for relay, dialler, target in itertools.product(("ours", "js"), repeat=3)
    if (relay, dialler, target) != ("js", "js", "js")
]


@dataclass(frozen=True, slots=True)
class Relay:
    peer_id: PeerId
    address: Multiaddr
    service: RelayService | None = None


@contextlib.asynccontextmanager
async def our_relay(config: RelayConfig | None = None, listen: str = LISTEN) -> AsyncIterator[Relay]:
    async with Host(PrivateKey.generate()) as host:
        await host.listen(listen)
        service = RelayService(host, config)
        yield Relay(host.peer_id, host.addresses()[0], service)
        await service.close()


@contextlib.asynccontextmanager
async def js_relay(node: Path, **reservations: int | bool) -> AsyncIterator[Relay]:
    options = {"reservations": reservations}
    async with js_peer(node, transports=["tcp"], listen=[LISTEN], relayServer=options) as js:
        yield Relay(js.peer_id, js.addresses[0])


@contextlib.asynccontextmanager
async def a_relay(kind: str, node: Path) -> AsyncIterator[Relay]:
    async with our_relay() if kind == "ours" else js_relay(node) as relay:
        yield relay


@contextlib.asynccontextmanager
async def a_peer(kind: str, node: Path) -> AsyncIterator[Peer]:
    if kind == "js":
        async with js_peer(node, **JS_CLIENT) as js:
            yield js
        return
    async with Host(PrivateKey.generate()) as host:
        payload.serve(host, allow_limited=True)
        yield host


async def reserve(target: Peer, relay: Relay) -> Multiaddr:
    """Get a reservation; return the address to dial."""
    if isinstance(target, Host):
        reservation = await target.reserve(relay.address)
        assert reservation.state is ReservationState.HELD
        assert reservation.addresses[0] == relay.address.encapsulate("/p2p-circuit")
    else:
        await target.do("reserve", relay=relay.address)
    return relay.address.encapsulate(f"/p2p-circuit/p2p/{target.peer_id}")


async def connection_of(peer: Peer, other: PeerId) -> tuple[bool, str]:
    """Return whether the connection to ``other`` is limited, and its remote address."""
    async with asyncio.timeout(20):
        while True:
            if isinstance(peer, Host):
                if found := peer.connections(other):
                    return found[0].limit is not None, str(found[0].remote_address)
            else:
                told = (await peer.do("connections"))["connections"]
                if mine := [entry for entry in told if entry["peer"] == str(other)]:
                    return mine[0]["limited"], mine[0]["address"]
            await asyncio.sleep(0.01)


async def echo(peer: Peer, other: PeerId, count: int) -> bool:
    if isinstance(peer, Host):
        return await payload.echo(peer, other, count, allow_limited=True)
    return bool((await peer.do("echo", target=other, bytes=count, limited=True))["same"])


async def ping(peer: Peer, other: PeerId) -> float:
    return await peer.ping(other) if isinstance(peer, Host) else (await peer.do("ping", target=other))["ms"]


@pytest.mark.parametrize(("relay_kind", "dialler_kind", "target_kind"), PAIRINGS)
async def test_two_peers_meet_through_a_relay(node: Path, relay_kind: str, dialler_kind: str, target_kind: str) -> None:
    async with (
        a_relay(relay_kind, node) as relay,
        a_peer(target_kind, node) as target,
        a_peer(dialler_kind, node) as dialler,
    ):
        address = await reserve(target, relay)
        if isinstance(dialler, Host):
            connection = await dialler.identified(await dialler.connect(address))
            assert connection.remote_peer == target.peer_id
            assert connection.peer_info is not None
            assert payload.ECHO in connection.peer_info.protocols
        else:
            await dialler.do("connect", target=address)
            await dialler.event("peer:identify", peer=str(target.peer_id))

        for here, there in ((dialler, target), (target, dialler)):
            limited, remote = await connection_of(here, there.peer_id)
            assert limited
            assert remote.startswith(str(relay.address.encapsulate("/p2p-circuit"))) or "/p2p-circuit" in remote
            assert await ping(here, there.peer_id) >= 0
            assert await echo(here, there.peer_id, 20_000)


@pytest.mark.parametrize("relay_kind", ["ours", "js"])
async def test_a_protocol_that_did_not_opt_in_is_refused_both_ways(node: Path, relay_kind: str) -> None:
    async with (
        a_relay(relay_kind, node) as relay,
        js_peer(node, transports=["tcp", "circuit"]) as js,
        Host(PrivateKey.generate()) as host,
    ):
        payload.serve(host)
        connection = await host.connect(await reserve(js, relay))
        with pytest.raises(LimitedConnection):
            await host.new_stream(js.peer_id, [payload.ECHO])
        # js agrees on the protocol, and then resets the stream.
        with pytest.raises(ConnectionError):
            await payload.echo(host, connection, 10, allow_limited=True)
        with pytest.raises(JsError, match="LimitedConnectionError"):
            await js.do("echo", target=host.peer_id, bytes=10)
        # We refuse the protocol.
        with pytest.raises(JsError, match="UnsupportedProtocolError"):
            await js.do("echo", target=host.peer_id, bytes=10, limited=True)
        assert await host.ping(connection) > 0


async def test_our_relay_without_limits_carries_ten_megabytes_between_js_peers(node: Path) -> None:
    async with (
        our_relay(RelayConfig.unlimited()) as relay,
        a_peer("js", node) as target,
        a_peer("js", node) as dialler,
    ):
        assert isinstance(dialler, JsPeer)
        address = await reserve(target, relay)
        await dialler.do("connect", target=address)
        limited, _ = await connection_of(dialler, target.peer_id)
        assert not limited
        assert (await dialler.do("echo", target=target.peer_id, bytes=10 * payload.MEGABYTES))["same"]
        assert relay.service is not None
        assert relay.service.snapshot().circuits[0][2] > 10 * payload.MEGABYTES


@pytest.mark.parametrize("dialler_kind", ["ours", "js"])
async def test_our_relay_is_reached_over_websockets(node: Path, dialler_kind: str) -> None:
    async with (
        our_relay(listen=f"{LISTEN}/ws") as relay,
        a_peer("js", node) as target,
        a_peer(dialler_kind, node) as dialler,
    ):
        address = await reserve(target, relay)
        assert "ws" in address.protocols()
        if isinstance(dialler, Host):
            await dialler.connect(address)
        else:
            await dialler.do("connect", target=address)
        assert await echo(dialler, target.peer_id, 20_000)
        assert await echo(target, dialler.peer_id, 20_000)


async def test_a_relay_of_js_without_limits_gives_us_an_unlimited_connection(node: Path) -> None:
    async with (
        js_relay(node, applyDefaultLimit=False) as relay,
        a_peer("ours", node) as target,
        a_peer("ours", node) as dialler,
    ):
        assert isinstance(dialler, Host)
        connection = await dialler.connect(await reserve(target, relay))
        assert connection.limit is None
        assert await payload.echo(dialler, target.peer_id, payload.MEGABYTES)


@pytest.mark.parametrize("dialler_kind", ["ours", "js"])
async def test_our_relay_cuts_a_circuit_at_its_limit(node: Path, dialler_kind: str) -> None:
    config = RelayConfig(circuit_data=64 * 1024)
    async with (
        our_relay(config) as relay,
        a_peer("js", node) as target,
        a_peer(dialler_kind, node) as dialler,
    ):
        address = await reserve(target, relay)
        if isinstance(dialler, Host):
            await dialler.connect(address)
        else:
            await dialler.do("connect", target=address)
        assert await echo(dialler, target.peer_id, 10_000)
        # js-libp2p ends the stream without an error.
        with contextlib.suppress(ConnectionError, JsError):
            assert not await echo(dialler, target.peer_id, 200_000)
        assert relay.service is not None
        service = relay.service
        await payload.eventually(lambda: not service.snapshot().circuits)
        assert service.snapshot().statistics.circuits_cut == 1
        # The reservation outlives the circuit: another one is there for the asking.
        if isinstance(dialler, Host):
            await dialler.connect(address)
        else:
            await dialler.do("connect", target=address)
        assert await echo(dialler, target.peer_id, 10_000)


async def test_a_relay_of_js_cuts_our_circuit_at_its_limit(node: Path) -> None:
    async with (
        js_relay(node, defaultDataLimit=64 * 1024) as relay,
        a_peer("ours", node) as target,
        a_peer("ours", node) as dialler,
    ):
        assert isinstance(dialler, Host)
        connection = await dialler.connect(await reserve(target, relay))
        assert connection.limit is not None
        assert connection.limit.data == 64 * 1024
        with pytest.raises(ConnectionError):
            assert await echo(dialler, target.peer_id, 400_000)
        async with asyncio.timeout(10):
            await connection.wait_closed()


@pytest.mark.parametrize("relay_kind", ["ours", "js"])
async def test_a_peer_without_a_reservation_cannot_be_reached(node: Path, relay_kind: str) -> None:
    nobody = PeerId.from_public_key(PrivateKey.generate().public_key)
    async with a_relay(relay_kind, node) as relay, a_peer("ours", node) as dialler, a_peer("js", node) as js:
        address = relay.address.encapsulate(f"/p2p-circuit/p2p/{nobody}")
        assert isinstance(dialler, Host)
        transport = next(one for one in dialler._transports if one.can_dial(address))
        with pytest.raises(CircuitRefused) as caught:
            await transport.dial(address, nobody)
        assert caught.value.status == Status.NO_RESERVATION
        assert isinstance(js, JsPeer)
        with pytest.raises(JsError, match="NO_RESERVATION"):
            await js.do("connect", target=address)


async def test_a_host_that_is_no_relay_says_so(node: Path) -> None:
    async with js_peer(node, listen=[LISTEN]) as js, a_peer("ours", node) as host:
        assert isinstance(host, Host)
        with pytest.raises(NegotiationError):
            await host.reserve(js.addresses[0])


async def test_our_reservation_table_is_what_js_sees(node: Path) -> None:
    async with (
        our_relay(RelayConfig(max_reservations=1)) as relay,
        a_peer("js", node) as first,
        a_peer("js", node) as second,
    ):
        assert isinstance(second, JsPeer)
        await reserve(first, relay)
        with pytest.raises(JsError, match="RESERVATION_REFUSED"):
            await reserve(second, relay)
        assert isinstance(first, JsPeer)
        service = relay.service
        assert service is not None
        assert service.snapshot().reservations == (first.peer_id,)
        await first.do("disconnect", target=relay.peer_id)
        await payload.eventually(lambda: not service.snapshot().reservations)
