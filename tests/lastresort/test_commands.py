"""The commands as processes, on loopback: relay, peer and connect over every kind of address."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.lastresort.command import PATIENCE, Command, run, running

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


@asynccontextmanager
async def relay(*arguments: str) -> AsyncIterator[tuple[Command, str]]:
    async with running("relay", "--json", "--listen", LOOPBACK, *arguments) as command:
        await command.event("ready")
        yield command, command.events[0]["address"]


@asynccontextmanager
async def peer(relay_address: str, *arguments: str) -> AsyncIterator[tuple[Command, dict[str, str]]]:
    """Run a peer; give its addresses by kind."""
    async with running("peer", "--json", "--relay", relay_address, *arguments) as command:
        await command.event("ready")
        addresses = [event["address"] for event in command.events if event["event"] == "listening"]
        kinds = {"webrtc": "/webrtc/", "relayed": "/p2p-circuit/p2p/", "tcp": ""}
        found: dict[str, str] = {}
        for address in addresses:
            kind = next(kind for kind, part in kinds.items() if part in address)
            found[kind] = address
        yield command, found


async def test_connect_reaches_a_peer_by_every_kind_of_address() -> None:
    data = bytes(range(256)) * 1000
    async with relay() as (_, address), peer(address) as (command, addresses):
        assert set(addresses) == {"tcp", "relayed", "webrtc"}
        for kind, target in addresses.items():
            status, output, errors = await run("connect", "--json", target, data=data)

            assert status == 0, errors
            assert output == data, kind
            events = [json.loads(line) for line in errors.splitlines()]
            assert [event["event"] for event in events] == ["connected", "closed"]
            assert events[0]["protocol"] == "/lastresort/echo/1.0.0"
            assert (events[0]["local"] is not None) is (kind == "webrtc")
            assert events[1] == {"event": "closed", "sent": len(data), "received": len(data)}
        status, errors = await command.stop(signal.SIGINT)
        assert (status, errors) == (0, "")


async def test_a_relay_tells_who_is_on_its_roster() -> None:
    async with relay() as (command, address):
        async with peer(address, "--name", "ada") as (listed, _):
            joined = await command.event("joined")
            assert (joined["name"], joined["kind"]) == ("ada", "native")
            await listed.stop(signal.SIGTERM)

        assert (await command.event("left"))["peer"] == joined["peer"]


async def test_pings_are_events() -> None:
    async with relay() as (_, address), peer(address) as (_, addresses):
        status, output, _ = await run("connect", "--json", "--ping", "3", addresses["webrtc"])

        events = [json.loads(line) for line in output.splitlines()]
        assert status == 0
        assert [event["event"] for event in events] == ["pong"] * 3
        assert all(0 < event["milliseconds"] < 5000 for event in events)


@pytest.mark.parametrize("kind", ["/webrtc/", "/p2p-circuit/p2p/", "/ip4/127.0.0.1/tcp/"])
async def test_two_pipes_are_joined_and_nothing_is_lost(kind: str) -> None:
    ours, theirs = bytes(range(256)) * 2000, b"from the listener\n"
    async with relay() as (_, address), running("peer", "--relay", address, "--pipe", "--name", "pipe") as listener:
        process = listener.process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        while not lines or "is up" not in lines[-1]:
            lines.append((await process.stderr.readline()).decode())
        target = next(line.split()[-1] for line in reversed(lines[:-1]) if kind in line)
        process.stdin.write(theirs)
        process.stdin.close()

        (status, output, errors), arrived = await asyncio.gather(
            run("connect", target, data=ours), process.stdout.read()
        )

        assert status == 0, errors
        assert output == theirs
        assert arrived == ours
        assert await process.wait() == 0


async def test_a_pipe_ends_when_the_peer_is_gone_whatever_the_input_does() -> None:
    async with (
        relay() as (_, address),
        peer(address) as (other, addresses),
        running("connect", addresses["tcp"]) as command,
    ):
        assert command.process.stderr is not None
        assert b"connected" in await command.process.stderr.readline()
        await other.stop(signal.SIGTERM)

        async with asyncio.timeout(PATIENCE):
            await command.process.wait()


async def test_an_identity_is_kept(tmp_path: Path) -> None:
    key = tmp_path / "relay.key"
    addresses = []
    for _ in range(2):
        async with relay("--identity", str(key)) as (command, address):
            addresses.append(address.rsplit("/", 1)[-1])
            await command.stop(signal.SIGTERM)

    assert addresses[0] == addresses[1]
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_servers_stop_cleanly(number: int) -> None:
    async with relay() as (command, _):
        status, errors = await command.stop(number)

    assert (status, errors) == (0, "")


async def test_an_interrupted_connect_says_nothing() -> None:
    async with (
        relay() as (_, address),
        peer(address) as (_, addresses),
        running("connect", addresses["tcp"]) as command,
    ):
        assert command.process.stderr is not None
        assert b"connected" in await command.process.stderr.readline()

        assert await command.stop(signal.SIGINT) == (130, "")


async def test_a_peer_that_is_not_there_is_told_with_a_remedy() -> None:
    async with relay() as (_, address):
        stranger = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
        status, output, errors = await run("connect", f"{address}/p2p-circuit/p2p/{stranger}")

    assert (status, output) == (1, b"")
    assert "NO_RESERVATION" in errors
    assert "lastresort peer --relay" in errors
    assert "Traceback" not in errors


async def test_a_port_in_use_is_told_with_a_remedy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, output, _ = await run("relay", "--json", "--listen", f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}")

    error = json.loads(output)
    assert status == 1
    assert error["event"] == "error"
    assert "--listen" in error["hint"]


async def test_the_demo_starts_and_stops() -> None:
    for module in ("lastresort", "browser_demo"):
        arguments = ("demo", "--json", "--port", "0") if module == "lastresort" else ("--json", "--port", "0")
        async with running(*arguments, module=module) as command:
            ready = await command.event("ready")
            assert ready["url"].startswith("http://127.0.0.1:")
            assert "/p2p/" in ready["relay"]
            assert all(url.startswith("stun:") for url in ready["stun"])

            assert await command.stop(signal.SIGINT) == (0, "")
