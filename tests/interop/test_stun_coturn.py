"""coturn's STUN server asked by us, and our server asked by coturn's clients.

scripts/test installs coturn only in CI: on a machine with systemd the package starts a public server. `apt-get install
--no-install-recommends coturn`, where that is welcome, makes these tests run.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stun.address import TransportAddress, TransportProtocol
from stun.aio import ask, serve
from stun.auth import LongTermClient
from stun.config import BindingClientConfig, TransactionConfig
from stun.errors import StunAuthenticationError, StunResponseError
from tests.interop.coturn import free_port_pairs, until_it_listens

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(60),
    pytest.mark.skipif(shutil.which("turnserver") is None, reason="needs coturn: install the package coturn"),
]

HOSTS = ["127.0.0.1", "::1"]
PROTOCOLS = [TransportProtocol.UDP, TransportProtocol.TCP]
PATIENT = BindingClientConfig(transaction=TransactionConfig(initial_rto=0.1, sends=6, stream_timeout=10.0))
AUTHENTICATED = ("--secure-stun", "--lt-cred-mech", "--user=maria:secret word", "--realm=example.org")


@asynccontextmanager
async def coturn(folder: Path, *options: str) -> AsyncIterator[int]:
    """Run coturn on loopback and yield its port."""
    (port,) = free_port_pairs(1)
    process = await asyncio.create_subprocess_exec(
        "turnserver",
        *("-n", "--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout", "--simple-log"),
        *(f"--listening-ip={host}" for host in HOSTS),
        *(f"--listening-port={port}", f"--pidfile={folder}/pid", f"--userdb={folder}/db"),
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_it_listens(port, process)
        yield port
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_it_tells_our_address(host: str, protocol: TransportProtocol, tmp_path: Path) -> None:
    async with coturn(tmp_path, "--no-auth") as port:
        local = TransportAddress(host, 0)
        mapped = await ask(TransportAddress(host, port), protocol=protocol, local=local, config=PATIENT)
    assert mapped.address == mapped.path.local
    assert mapped.software is not None
    assert mapped.software.startswith("Coturn")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_it_lets_us_in_with_long_term_credentials(protocol: TransportProtocol, tmp_path: Path) -> None:
    async with coturn(tmp_path, *AUTHENTICATED) as port:
        server = TransportAddress("127.0.0.1", port)
        maria = LongTermClient("maria", "secret word")
        for _ in range(2):
            mapped = await ask(server, protocol=protocol, config=PATIENT, authenticator=maria)
            assert mapped.address.host == "127.0.0.1"
        assert maria.realm == "example.org"
        with pytest.raises(StunAuthenticationError, match="401"):
            await ask(server, protocol=protocol, config=PATIENT, authenticator=LongTermClient("maria", "guess"))
        with pytest.raises(StunResponseError, match="401"):
            await ask(server, protocol=protocol, config=PATIENT)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("command", ["turnutils_stunclient", "turnutils_natdiscovery -m"])
async def test_its_clients_are_told_theirs(host: str, command: str) -> None:
    program, *flags = command.split()
    async with await serve([host], 0) as server:
        process = await asyncio.create_subprocess_exec(
            *(program, "-p", str(server.udp[0].port), *flags, host),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        assert f"UDP reflexive addr: {host}:" in out.decode()
        assert server.stats.responses >= 1
        assert server.stats.unparsable == 0
