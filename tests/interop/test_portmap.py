"""Ports that a real router maps: miniupnpd with nftables, by PCP, NAT-PMP and UPnP; needs root."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from ice.candidate import Candidate, CandidateType, TcpType
from tests.interop.namespaces import CLIENT, Street, street
from tests.interop.test_nat_kernel import IGD, IGD_TABLE, MASQUERADE

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

# miniupnpd tells nobody an address that is for documentation.
OUTER, OUTSIDE = "45.77.1.1", "45.77.1.2"

PROBE = """
import socket, sys
from stun.message import Message, MessageClass, Method, parse
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout(1)
if sys.argv[3] == "tcp":
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
        print("connected")
    except OSError:
        print("silence")
    sys.exit()
request = Message(Method.BINDING, MessageClass.REQUEST, b"abcdefghijkl")
asking.sendto(request.serialize(), (sys.argv[1], int(sys.argv[2])))
try:
    print(parse(asking.recv(2000)).message_class.name)
except TimeoutError:
    print("silence")
"""


def program() -> str | None:
    return shutil.which("miniupnpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


async def knock(made: Street, candidate: Candidate) -> str:
    """Send to the mapped address from outside, unasked; return what comes back."""
    address = candidate.address
    status, out, err = await made.run(
        made.server, sys.executable, "-c", PROBE, address.host, str(address.port), candidate.transport
    )
    assert (status, err) == (0, "")
    return out.strip()


@pytest.mark.skipif(program() is None, reason="needs miniupnpd: install the package miniupnpd-nftables")
@pytest.mark.parametrize("protocol", ["PCP", "NAT_PMP", "UPNP_IGD"])
async def test_a_stranger_reaches_us_while_the_session_lives(
    network_namespaces: Path, nftables: Path, tmp_path: Path, protocol: str
) -> None:
    configuration = tmp_path / "miniupnpd.conf"
    configuration.write_text(IGD.format(folder=tmp_path) + f"ext_ip={OUTER}\n")
    async with street(network_namespaces, nftables, MASQUERADE + IGD_TABLE) as made:
        made.do(made.router, "ip", "address", "add", f"{OUTER}/24", "dev", "out")
        made.do(made.server, "ip", "address", "add", f"{OUTSIDE}/24", "dev", "wan")
        made.do(made.client, "ip", "route", "add", "224.0.0.0/4", "dev", "wan")
        options = ("-f", str(configuration), "-d", "-P", f"{tmp_path}/pid")
        async with made.running(made.router, "sh", "-c", f"exec {program()} {' '.join(options)} 2>&1"):
            peer = await asyncio.create_subprocess_exec(
                *made.command(made.client, sys.executable, "-W", "error", "-m", "tests.interop.mapped_peer", protocol),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(30):
                    assert peer.stdout is not None
                    told = [Candidate.from_sdp(text) for text in json.loads(await peer.stdout.readline())]
                mapped = {each.transport: each for each in told if each.type is CandidateType.SERVER_REFLEXIVE}
                assert set(mapped) == {"udp", "tcp"}
                assert mapped["tcp"].tcp_type is TcpType.PASSIVE
                for candidate in mapped.values():
                    assert candidate.address.host == OUTER
                    assert candidate.related_address is not None
                    assert candidate.related_address.host == CLIENT
                assert await knock(made, mapped["udp"]) == "ERROR", "our answer to a check without credentials"
                assert await knock(made, mapped["tcp"]) == "connected"
                async with asyncio.timeout(10):
                    _, errors = await peer.communicate(b"")  # Ends its input.
                assert (peer.returncode, errors.decode()) == (0, "")
                assert [await knock(made, candidate) for candidate in mapped.values()] == ["silence", "silence"]
            finally:
                if peer.returncode is None:
                    peer.kill()
                    await peer.wait()
