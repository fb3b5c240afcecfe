"""mDNS candidates on real multicast: two of our processes in network namespaces, and a browser that hides its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop.neighbours import HOSTS, Neighbours, neighbours

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


async def both(near: Neighbours, *peers: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Run one peer at each end and return what they say."""
    module = (sys.executable, "-W", "error", "-m", "tests.interop.neighbours")
    processes = [await near.start(index, *module, str(index), *options) for index, options in enumerate(peers)]
    try:
        async with asyncio.timeout(60):
            outputs = await asyncio.gather(*(process.communicate() for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors.decode()
        assert errors == b""
    return [json.loads(out) for out, _ in outputs]


@pytest.mark.parametrize("family", ["4", "6"])
async def test_two_that_hide_find_each_other(network_namespaces: Path, family: str) -> None:
    async with neighbours(network_namespaces) as near:
        first, second = await both(near, ("publish", family, "told"), ("publish", family, "told"))
    for result, index in ((first, 0), (second, 1)):
        ours, theirs = HOSTS[index][family == "6"], HOSTS[1 - index][family == "6"]
        assert result["heard"] == f"hello from {1 - index}"
        assert result["remote"] == theirs
        assert len(result["told"]) == 1
        assert ".local " in result["told"][0]
        assert ours not in result["told"][0]
        for host in (ours, theirs):
            assert f"{host}:" not in result["seen"]
            assert f"{host} " not in result["seen"]


async def test_the_name_alone_is_enough(network_namespaces: Path) -> None:
    """The resolving side tells no candidate, so nobody can reach it before it has resolved the other's name."""
    async with neighbours(network_namespaces) as near:
        first, second = await both(near, ("resolve", "4", "silent"), ("publish", "4", "told"))
    assert first["told"] == []
    assert ".local " in second["told"][0]
    assert first["remote"] == HOSTS[1][0]
    assert (first["heard"], second["heard"]) == ("hello from 1", "hello from 0")
