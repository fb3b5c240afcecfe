"""NAT behaviour discovery with others: coturn and Vovida stund as servers, coturn's clients against our server.

`stund` is in Debian's stun-server, `turnserver` in coturn; scripts/test installs both and keeps them from running on
their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stun.address import TransportAddress, TransportProtocol
from stun.aio import BehaviourServing, LinkOptions, StunServer, ask, examine_nat, examine_tcp_mapping, serve
from stun.behaviour import Filtering, Mapping, NatTest
from stun.errors import StunCertificateError
from tests.interop.coturn import free_port_pairs, needs_coturn, until_it_listens, until_udp_is_taken
from tests.stun.certificates import Authority

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

TWO = ["--listening-ip=127.0.0.1", "--listening-ip=127.0.0.2"]
STUND = shutil.which("stund", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_stund = pytest.mark.skipif(STUND is None, reason="needs stund: install the package stun-server")


@asynccontextmanager
async def running(program: str, *arguments: str, ready: int, protocol: int = socket.SOCK_STREAM) -> AsyncIterator[None]:
    """Run a server until the end of the block; it is ready when somebody has its port."""
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=-2
    )
    try:
        await (until_it_listens(ready, process) if protocol == socket.SOCK_STREAM else until_udp_is_taken(ready))
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def coturn_options(folder: Path, port: int, *options: str) -> list[str]:
    common = ["-n", "--no-cli", "--no-auth", "--log-file=stdout", f"--pidfile={folder}/pid", f"--userdb={folder}/db"]
    return [*common, *TWO, f"--listening-port={port}", f"--alt-listening-port={port + 1}", *options]


@needs_coturn
async def test_coturn_as_the_server(tmp_path: Path) -> None:
    (port,) = free_port_pairs(1)
    options = coturn_options(tmp_path, port, "--no-tls", "--no-dtls")
    async with running("turnserver", *options, ready=port):
        server = TransportAddress("127.0.0.1", port)
        report = await examine_nat(server)
        assert (report.translated, report.mapping) == (False, Mapping.ENDPOINT_INDEPENDENT)
        assert report.filtering is Filtering.ENDPOINT_INDEPENDENT
        assert report.other_address == TransportAddress("127.0.0.2", port + 1)
        assert report.fragments is True
        mapping, answers = await examine_tcp_mapping(server, report.other_address)
        assert mapping is Mapping.ENDPOINT_INDEPENDENT
        assert len({answer.path.local for answer in answers}) == 1


@needs_coturn
@pytest.mark.parametrize("protocol", [TransportProtocol.TLS, TransportProtocol.DTLS])
async def test_coturn_over_tls_and_dtls(protocol: TransportProtocol, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "authority")
    certificate = authority.issue("turn.test")
    port, secure = free_port_pairs(2)
    options = coturn_options(tmp_path, port, f"--tls-listening-port={secure}", f"--alt-tls-listening-port={secure + 1}")
    async with running("turnserver", *options, f"--cert={certificate}", f"--pkey={certificate}", ready=secure):
        server = TransportAddress("127.0.0.1", secure)
        trusting = LinkOptions(ssl_context=authority.context, server_name="turn.test")
        mapped = await ask(server, protocol=protocol, options=trusting)
        assert mapped.address == mapped.path.local
        assert mapped.software is not None
        assert mapped.software.startswith("Coturn")
        with pytest.raises(StunCertificateError, match="issuer"):
            await ask(server, protocol=protocol)
        wrong = LinkOptions(ssl_context=authority.context, server_name="other.test")
        with pytest.raises(StunCertificateError, match=r"not for other\.test"):
            await ask(server, protocol=protocol, options=wrong)


@needs_stund
async def test_vovida_stund_as_the_server() -> None:
    (port,) = free_port_pairs(1)
    options = ("-h", "127.0.0.1", "-a", "127.0.0.2", "-p", str(port), "-o", str(port + 1))
    async with running(str(STUND), *options, ready=port, protocol=socket.SOCK_DGRAM):
        server = TransportAddress("127.0.0.1", port)
        assert (await ask(server)).address.host == "127.0.0.1"
        report = await examine_nat(server)
        assert (report.mapping, report.filtering) == (Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT)
        assert report.other_address == TransportAddress("127.0.0.2", port + 1)
        assert dict(report.untold)[NatTest.FRAGMENTS] == "it does not pad answers"


async def said(server: StunServer, *command: str) -> str:
    """Run one of coturn's clients against our server and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(command[0], "-p", str(server.udp[0].port), *command[1:], "127.0.0.1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


@needs_coturn
async def test_coturns_clients_of_our_server() -> None:
    behaviour = BehaviourServing(other_hosts=["127.0.0.2"], port=0)
    async with await serve(["127.0.0.1"], 0, behaviour=behaviour) as server:
        for padding in ([], ["-P"]):
            text = await said(server, "turnutils_natdiscovery", "-m", "-f", *padding)
            assert "NAT with Endpoint Independent Mapping!" in text
            assert "NAT with Endpoint Independent Filtering!" in text
            assert "No ALG: Mapped == XOR-Mapped" in text
        text = await said(server, "turnutils_natdiscovery", "-t", "-T", "1")
        assert text.count("UDP reflexive addr: 127.0.0.1:") == 2
        text = await said(server, "turnutils_natdiscovery", "-H", "-L", "127.0.0.1")
        assert "Received a request (maybe a successful hairpinning)" in text
        text = await said(server, "turnutils_stunclient")
        assert text.count("RFC 5780 response") == 3
        assert server.stats.errors == server.stats.unparsable == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl: install the package openssl")
@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3", "-dtls1_2"])
async def test_openssls_client_of_our_listeners(flag: str, tmp_path: Path) -> None:
    from stun.aio import SecureServing

    authority = Authority.make(tmp_path)
    secure = SecureServing(certificate=authority.issue("stun.test"), port=0)
    async with await serve(["127.0.0.1"], 0, secure=secure) as server:
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", str(server.tls[0]), flag, "-CAfile", f"{tmp_path}/ca.pem"),
            *("-servername", "stun.test", "-verify_hostname", "stun.test", "-verify_return_error"),
            *("-alpn", "stun.nat-discovery"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate(b"Q\n")
        text = out.decode(errors="replace")
        assert "Verify return code: 0 (ok)" in text
        assert "ALPN protocol: stun.nat-discovery" in text
