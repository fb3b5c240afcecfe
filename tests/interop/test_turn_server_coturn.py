"""coturn's own clients against our server: turnutils_uclient over every transport, turnutils_stunclient."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import turn
from stun.address import TransportProtocol
from tests.interop.coturn import free_port_pairs, until_it_listens, until_udp_is_taken
from tests.stun.certificates import Authority
from tests.tools import ROOT
from tests.turn.aio.service.running import PASSWORD, SECRET, USER, running
from turn.aio.service import TurnService
from turn.credentials import rest_credentials
from turn.errors import TurnCredentialsError, TurnForbiddenError

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("turnutils_uclient") is None, reason="needs coturn: install the package coturn"),
]

UDP, TCP, TLS, DTLS = TransportProtocol
FLAGS = {UDP: (), TCP: ("-t",), TLS: ("-t", "-S"), DTLS: ("-S",)}
MESSAGES = 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Authority.make(tmp_path_factory.mktemp("authority")).issue("127.0.0.1")


@asynccontextmanager
async def peer(host: str = "127.0.0.1") -> AsyncIterator[int]:
    """coturn's echoing peer, on two ports in a row; yields the first."""
    (port,) = free_port_pairs(1)
    process = await asyncio.create_subprocess_exec(
        *("turnutils_peer", "-p", str(port), "-L", host),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_udp_is_taken(port + 1)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def uclient(
    service: TurnService, protocol: TransportProtocol, *options: str, host: str = "127.0.0.1", secret: bool = False
) -> str:
    """Run turnutils_uclient and return what it says."""
    port = next(address.port for address in service.addresses(protocol) if address.host == host)
    login = ("-u", "carol", "-W", SECRET) if secret else ("-u", USER, "-w", PASSWORD)
    process = await asyncio.create_subprocess_exec(
        *("turnutils_uclient", "-p", str(port), *FLAGS[protocol], *login),
        *("-n", str(MESSAGES), "-m", "1", "-l", "170", *options, host),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return out.decode(errors="replace")


def assert_all_came_back(text: str, sent: int = MESSAGES) -> None:
    found = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", text)
    assert found, text
    assert found[-1] == (str(sent), str(sent)), text
    assert "Total lost packets 0 (0.000000%)" in text


@pytest.mark.parametrize("protocol", [UDP, TCP, TLS, DTLS])
@pytest.mark.parametrize("how", ["channels", "indications"])
async def test_relaying(protocol: TransportProtocol, how: str, certificate: str) -> None:
    async with running(UDP, TCP, TLS, DTLS, certificate=certificate, hosts=("127.0.0.1",)) as service, peer() as port:
        way = ("-s",) if how == "indications" else ()
        text = await uclient(service, protocol, "-c", "-e", "127.0.0.1", "-r", str(port), *way)
        assert_all_came_back(text)
        assert service.snapshot().packets_to_peers >= MESSAGES


async def test_ipv6() -> None:
    async with running(UDP) as service, peer("::1") as port:
        text = await uclient(service, UDP, "-c", "-x", "-e", "::1", "-r", str(port), host="::1")
        assert_all_came_back(text)


async def test_its_default_mode_with_rtcp_ports_and_reserved_ones() -> None:
    async with running(UDP, hosts=("127.0.0.1",)) as service, peer() as port:
        text = await uclient(service, UDP, "-e", "127.0.0.1", "-r", str(port))
        assert_all_came_back(text, 2 * MESSAGES)


async def test_dont_fragment_and_a_client_that_relays_to_itself() -> None:
    async with running(UDP, hosts=("127.0.0.1",)) as service:
        text = await uclient(service, UDP, "-g", "-y")
        assert_all_came_back(text, 4 * MESSAGES)


@pytest.mark.parametrize("protocol", [TCP, TLS])
async def test_tcp_relaying(protocol: TransportProtocol, certificate: str) -> None:
    async with running(TCP, TLS, certificate=certificate, hosts=("127.0.0.1",)) as service:
        text = await uclient(service, protocol, "-T", "-y")
        assert_all_came_back(text, 2 * MESSAGES)
        assert service.stats.peer_connections >= 2


async def test_mobility() -> None:
    async with running(UDP, hosts=("127.0.0.1",), mobility=True) as service, peer() as port:
        text = await uclient(service, UDP, "-M", "-c", "-e", "127.0.0.1", "-r", str(port))
        assert_all_came_back(text)
        assert service.stats.moved >= 1


async def test_a_shared_secret() -> None:
    async with running(UDP, hosts=("127.0.0.1",)) as service, peer() as port:
        text = await uclient(service, UDP, "-c", "-e", "127.0.0.1", "-r", str(port), secret=True)
        assert_all_came_back(text)


async def test_a_wrong_password() -> None:
    async with running(UDP, hosts=("127.0.0.1",)) as service:
        text = await uclient(service, UDP, "-c", "-y", "-w", "guess")
        assert "Cannot complete Allocation" in text
        assert service.stats.errors[401] > 1
        assert service.stats.allocations == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_stunclient(host: str, tmp_path: Path) -> None:
    async with running(UDP, hosts=(host,)) as service:
        process = await asyncio.create_subprocess_exec(
            *("turnutils_stunclient", "-p", str(service.addresses(UDP)[0].port), host),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        assert f"UDP reflexive addr: {host}:" in out.decode()


async def test_coturn_takes_the_same_time_limited_credentials(tmp_path: Path) -> None:
    """The configuration that docs/turn.md gives for larger deployments, run as it stands but for ports and logs."""
    conf = ROOT / "examples" / "coturn" / "turnserver.conf"
    port, tls_port = free_port_pairs(2)
    process = await asyncio.create_subprocess_exec(
        *("turnserver", "-c", str(conf), f"--listening-port={port}", f"--tls-listening-port={tls_port}"),
        *("--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--log-file=stdout", "--simple-log", "--no-tls"),
        *("--no-dtls", f"--pidfile={tmp_path}/pid", f"--userdb={tmp_path}/db"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_it_listens(port, process)
        good = rest_credentials(SECRET, "carol", 60, time.time())
        config = turn.TurnServerConfig(url=f"turn:127.0.0.1:{port}", username=good.username, password=good.password)
        async with turn.allocate(config) as allocation:
            assert allocation.relayed
            with pytest.raises(TurnForbiddenError):
                await allocation.permit("10.0.0.1")
        late = rest_credentials(SECRET, "carol", 60, time.time() - 61)
        with pytest.raises(TurnCredentialsError):
            await turn.allocate(replace(config, username=late.username, password=late.password))
    finally:
        process.terminate()
        await process.wait()
