"""The server on real sockets, with our own client."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

import turn
from stun.address import TransportAddress, TransportProtocol
from stun.aio import UdpNetwork, ask
from tests.ports import no_udp_port
from tests.stun.certificates import Authority
from tests.turn.aio.service.running import SECRET, config_for, running, tcp_echo, udp_echo
from turn.aio.service import TurnService, server
from turn.aio.service.metrics import serve_metrics
from turn.config import Credentials, RelayTransport
from turn.credentials import rest_credentials
from turn.errors import TurnCredentialsError, TurnForbiddenError, TurnQuotaError
from turn.service.config import RelayLimits, StreamLimits
from turn.service.policy import PeerPolicyConfig

UDP, TCP, TLS, DTLS = TransportProtocol
HERE = TransportAddress("127.0.0.1", 0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


async def until(condition: object, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def exchange(service: TurnService, protocol: TransportProtocol, host: str, **settings: object) -> None:
    family = 6 if ":" in host else 4
    async with udp_echo(host) as peer:
        async with turn.allocate(config_for(service, protocol, host, families=(family,), **settings)) as allocation:
            await allocation.permit(peer.host)
            for size in (1, 1200, 3):
                allocation.send(os.urandom(size), peer)
                data, source = await asyncio.wait_for(allocation.receive(), 5)
                assert (len(data), source) == (size, peer)
            await allocation.bind_channel(peer)
            for size in (0, 5, 1200):
                allocation.send(bytes(size), peer)
                assert await asyncio.wait_for(allocation.receive(), 5) == (bytes(size), peer)
        await until(lambda: service.snapshot().sockets == 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("protocol", [UDP, TCP])
async def test_relaying(protocol: TransportProtocol, host: str) -> None:
    async with running() as service:
        await exchange(service, protocol, host)
        snapshot = service.snapshot()
        assert snapshot.packets_to_peers == snapshot.packets_to_client == 6
        assert service.driver.counters.dropped == 0


@pytest.mark.parametrize("protocol", [TLS, DTLS])
async def test_relaying_under_encryption(protocol: TransportProtocol, authority: Authority) -> None:
    certificate = authority.issue("turn.example.org", "127.0.0.1")
    async with running(UDP, TCP, TLS, DTLS, certificate=certificate, hosts=("127.0.0.1",)) as service:
        await exchange(service, protocol, "127.0.0.1", ssl_context=authority.context)
        await until(lambda: service.snapshot().connections == 0)


async def test_it_is_a_stun_server_too() -> None:
    async with running() as service:
        for protocol in (UDP, TCP):
            mapped = await ask(service.addresses(protocol)[0], protocol=protocol, local=HERE)
            assert mapped.address == mapped.path.local


async def test_bursts_leave_in_few_system_calls() -> None:
    async with running(UDP, hosts=("127.0.0.1",)) as service, udp_echo() as peer:
        async with turn.allocate(config_for(service)) as allocation:
            await allocation.permit(peer.host)
            await allocation.bind_channel(peer)
            got = 0
            for _ in range(20):
                for size in (500, 500, 500, 100, 700, 700, 0, 700, 700):
                    allocation.send(bytes(size), peer)
                for size in (500, 500, 500, 100, 700, 700, 0, 700, 700):
                    data, _ = await asyncio.wait_for(allocation.receive(), 5)
                    assert len(data) == size  # whole, and in their order
                    got += 1
            assert got == 180
        counters = service.driver.counters
        assert counters.dropped == counters.unsegmented == 0
        assert counters.batches > 0


async def test_dual_allocations() -> None:
    async with running() as service, udp_echo() as peer, udp_echo("::1") as peer6:
        config = config_for(service, families=(4, 6))
        async with turn.allocate(config) as allocation:
            assert sorted(relayed.family for relayed in allocation.relayed) == [4, 6]
            for one in (peer, peer6):
                await allocation.permit(one.host)
                allocation.send(b"hello", one)
                assert await asyncio.wait_for(allocation.receive(), 5) == (b"hello", one)


async def test_two_clients_meet_at_their_relayed_addresses() -> None:
    async with running(peers=PeerPolicyConfig()) as service:
        config = config_for(service)
        async with turn.allocate(config) as one, turn.allocate(config) as other:
            await one.permit("127.0.0.1")
            await other.permit("127.0.0.1")
            one.send(b"ping", other.relayed[0])
            assert await asyncio.wait_for(other.receive(), 5) == (b"ping", one.relayed[0])


@pytest.mark.parametrize("protocol", [TCP, TLS])
async def test_tcp_peers(protocol: TransportProtocol, authority: Authority) -> None:
    certificate = authority.issue("127.0.0.1")
    async with running(TCP, TLS, certificate=certificate, hosts=("127.0.0.1",)) as service, tcp_echo() as peer:
        config = config_for(service, protocol, transport=RelayTransport.TCP, ssl_context=authority.context)
        async with turn.allocate(config) as allocation:
            stream = await allocation.connect(peer)
            data = os.urandom(1 << 20)
            writing = asyncio.create_task(stream.write(data))
            assert await asyncio.wait_for(stream.read_exactly(len(data)), 20) == data
            await writing
            await allocation.permit(peer.host)
            reader, writer = await asyncio.open_connection(*allocation.relayed[0])
            accepted = await asyncio.wait_for(allocation.accept(), 5)
            await accepted.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.write(b"bye")
            writer.close()
            assert await asyncio.wait_for(accepted.read_exactly(3), 5) == b"bye"
            assert await asyncio.wait_for(accepted.read(), 5) == b""
        await until(lambda: service.snapshot().sockets == 0 and service.snapshot().peer_connections == 0)
        assert service.snapshot().bytes_to_peers >= 1 << 20


async def test_addresses_of_the_host_that_are_not_served_are_its_own_too() -> None:
    outside = [one.host for one in UdpNetwork().interfaces() if ":" not in one.host and one.host != "127.0.0.1"]
    async with running(UDP, hosts=("127.0.0.1",)) as service:
        if not outside:
            pytest.skip("this host has only loopback")
        async with turn.allocate(config_for(service)) as allocation:
            for host in outside:
                with pytest.raises(TurnForbiddenError):
                    await allocation.permit(host)


async def test_a_peer_without_permission_is_closed_at_once() -> None:
    async with running(TCP) as service:
        async with turn.allocate(config_for(service, TCP, transport=RelayTransport.TCP)) as allocation:
            reader, writer = await asyncio.open_connection(*allocation.relayed[0])
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert service.stats.refused_peers == 1


async def test_time_limited_credentials() -> None:
    async with running(UDP) as service:
        good = rest_credentials(SECRET, "carol", 60, time.time())
        bad = rest_credentials(SECRET, "carol", 60, time.time() - 61)

        async def provide() -> Credentials:
            return Credentials(*good)

        async with turn.allocate(config_for(service, username=None, password=None, credentials=provide)) as allocation:
            assert allocation.relayed
        with pytest.raises(TurnCredentialsError):
            await turn.allocate(config_for(service, username=bad.username, password=bad.password))


async def test_refusals_reach_the_client() -> None:
    limits = RelayLimits(allocations_per_user=1)
    async with running(UDP, limits=limits, peers=PeerPolicyConfig()) as service:
        config = config_for(service)
        async with turn.allocate(config) as allocation:
            with pytest.raises(TurnForbiddenError):
                await allocation.permit("192.168.1.1")
            with pytest.raises(TurnQuotaError):
                await turn.allocate(config_for(service))


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="needs the error queue of Linux sockets")
async def test_icmp_errors_are_told() -> None:
    async with running(UDP) as service, udp_echo() as peer, turn.allocate(config_for(service)) as allocation:
        await allocation.permit("127.0.0.1")
        with no_udp_port() as closed:
            allocation.send(b"anybody?", closed)
            await until(lambda: service.stats.icmp == 1)
        allocation.send(b"hello", peer)  # the error does not spoil what comes next
        assert await asyncio.wait_for(allocation.receive(), 5) == (b"hello", peer)


async def test_who_connects_and_says_nothing_is_closed() -> None:
    async with running(TCP, streams=StreamLimits(silent=0.1)) as service:
        reader, writer = await asyncio.open_connection(*service.addresses(TCP)[0])
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await until(lambda: service.snapshot().connections == 0)


async def test_draining() -> None:
    async with running(UDP) as service:
        allocation = await turn.allocate(config_for(service))
        assert not await service.drain(0.05)
        with pytest.raises(turn.TurnError):
            await turn.allocate(config_for(service))
        draining = asyncio.create_task(service.drain(5))
        await allocation.close()
        assert await draining


async def test_prometheus_is_answered() -> None:
    async with running(UDP) as service:
        metrics = await serve_metrics(service, HERE)

        async def get(request: bytes) -> str:
            reader, writer = await asyncio.open_connection(*metrics.address)
            writer.write(request + b"\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer.decode()

        async with turn.allocate(config_for(service)):
            text = await get(b"GET /metrics HTTP/1.1")
        assert "turn_allocations 1.0" in text
        assert 'turn_requests_total{method="allocate"} 2.0' in text
        assert 'turn_errors_total{code="401"} 1.0' in text
        assert "404" in await get(b"GET /other HTTP/1.1")
        assert "405" in await get(b"POST /metrics HTTP/1.1")
        metrics.close()


async def test_a_server_that_nobody_could_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="certificate"):
        async with running(TLS):
            pass


async def test_its_certificates_are_read_beside_the_loop(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    read_in: list[int] = []

    def note(name: str) -> None:
        read = getattr(server, name)
        monkeypatch.setattr(server, name, lambda *args: (read_in.append(threading.get_ident()), read(*args))[1])

    note("server_context")
    note("_dtls_context")
    async with running(TLS, DTLS, certificate=authority.issue("turn.example.org"), hosts=("127.0.0.1",)):
        assert len(read_in) == 2
        assert threading.get_ident() not in read_in


async def test_descriptors_come_back() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(2):
        async with running(UDP, TCP) as service:
            allocations = [await turn.allocate(config_for(service)) for _ in range(10)]
            assert service.snapshot().sockets == 10
            for allocation in allocations:
                await allocation.close()
    await asyncio.sleep(0.05)
    assert descriptors() == before
