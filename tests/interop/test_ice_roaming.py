"""A session follows the addresses of a real machine: the kernel's interfaces, told by netlink."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.interop.namespaces import street

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

SCRIPT = """
import asyncio, subprocess, time
import ice
from ice.life_config import RoamingConfig

def ip(*words):
    subprocess.run(["ip", *words], check=True)

async def main():
    ip("link", "add", "da", "type", "veth", "peer", "name", "db")
    for device, address in (("da", "10.99.0.1"), ("db", "10.99.1.1")):
        ip("link", "set", device, "up")
        ip("address", "add", address + "/24", "dev", device)
    ip("link", "set", "lo", "up")
    roaming = RoamingConfig(poll_interval=3600.0)
    ends = ice.exchange_pair()
    configs = [ice.IceConfig(interfaces=[device], roaming=roaming, include_ipv6=False) for device in ("da", "db")]
    first = ice.connect(ends[0], role=ice.Role.CONTROLLING, config=configs[0])
    second = ice.connect(ends[1], role=ice.Role.CONTROLLED, config=configs[1])
    a, b = await asyncio.gather(first.__aenter__(), second.__aenter__())
    print(a.selected_pair.path.local.host, flush=True)
    moved = asyncio.Event()
    a.session.on("selectedpair", lambda pair: moved.set())
    ip("address", "add", "10.98.0.2/24", "dev", "da")
    ip("address", "del", "10.99.0.1/24", "dev", "da")
    began = time.monotonic()
    async with asyncio.timeout(15):
        await moved.wait()
        print(a.selected_pair.path.local.host, round(time.monotonic() - began, 2), flush=True)
        await a.send(b"still here")
        assert await b.receive() == b"still here"
    await asyncio.gather(first.__aexit__(None, None, None), second.__aexit__(None, None, None))

asyncio.run(main())
"""


async def test_an_address_that_changes_is_noticed_and_the_session_moves(
    network_namespaces: Path, nftables: Path
) -> None:
    async with street(network_namespaces, nftables, "") as town:
        status, out, err = await town.run(town.client, sys.executable, "-c", SCRIPT)
    assert status == 0, err
    before, after = out.splitlines()
    assert before == "10.99.0.1"
    address, seconds = after.split()
    assert address == "10.98.0.2"
    assert float(seconds) < 10.0
