"""Two sessions in two network namespaces, many pairs at a time: ``python -m tests.interop.nat_cells``.

Standard input has one JSON array of cells, each ``{"id", "idle", "sides": [side, side]}``, where a side has the
keywords of :class:`Side` and ``idle`` says that there will be no path. A line of output is what came of one cell:
``{"id", "sides": [report, report]}``. Every side is a process of its own, forked from this one, which has imported
everything; the two tell each other their candidates over a pair of sockets that passes by all namespaces.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import json
import logging
import multiprocessing
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ice.aio import Path, StreamExchange, connect
from ice.candidate import Candidate
from ice.config import IceConfig
from ice.errors import IceError
from ice.exchange import Item
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress
from stun.aio import UdpNetwork
from stun.network import DatagramReceiver, DatagramSocket
from turn.config import TurnServerConfig

__all__ = ["NoUdp", "Side", "run_all"]

CLONE_NEWNET = 0x40000000
MESSAGES = 20
BUSY, IDLE = 10, 32
"""Cells at a time: of those with a path, and of those that only wait for the end of their patience."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two sessions of a cell."""

    namespace: str
    role: str
    transports: list[str]
    """What to have host and reflexive candidates for: ``udp``, ``tcp`` or both."""
    stun: str | None = None
    turn: str | None = None
    """The URL of a TURN server."""
    trust: str | None = None
    """A PEM file with the authority that signed its certificate."""
    user: str = "maria"
    password: str = "secret"
    patience: float = 15.0
    """Seconds after which there is no path."""

    def config(self) -> IceConfig:
        servers = []
        if self.turn is not None:
            trust = ssl.create_default_context(cafile=self.trust) if self.trust else None
            servers = [
                TurnServerConfig(url=self.turn, username=self.user, password=self.password, ssl_context=trust),
            ]
        return IceConfig(
            stun_servers=[self.stun] if self.stun else [],
            turn_servers=servers,
            include_ipv6=False,
            tcp=TcpConfig() if "tcp" in self.transports else TcpConfig(candidates=frozenset()),
            pac_timeout=self.patience,
            checking_timeout=self.patience,
        )


class NoUdp(UdpNetwork):
    """The system's network where UDP cannot be had."""

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        raise OSError("no UDP here")


class Noted:
    """An exchange that notes the candidates, for those who have to find out why there was no path."""

    def __init__(self, exchange: StreamExchange) -> None:
        self._exchange = exchange
        self.told: list[str] = []
        self.heard: list[str] = []

    async def send(self, item: Item) -> None:
        self.told += _text(item)
        await self._exchange.send(item)

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for item in self._exchange:
            self.heard += _text(item)
            yield item


def _text(item: Item) -> list[str]:
    return [item.to_sdp()] if isinstance(item, Candidate) else []


async def meet(side: Side, signalling: socket.socket) -> dict[str, Any]:
    """Connect, pass some messages to and fro, and tell what the path was."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(sock=signalling)
    exchange = Noted(StreamExchange(reader, writer))
    role = Role(side.role)
    network = UdpNetwork() if "udp" in side.transports else NoUdp()
    try:
        async with connect(exchange, role=role, config=side.config(), network=network) as path:
            took = time.monotonic() - begun
            async with asyncio.timeout(20):
                await (_ask(path) if role is Role.CONTROLLING else _echo(path))
            selected = path.selected_pair
            assert selected is not None
            return {
                "local": [selected.local.type.value, selected.local.address.host],
                "remote": [selected.remote.type.value, selected.remote.address.host],
                "transport": selected.local.transport,
                "seconds": round(took, 3),
            }
    except (IceError, TimeoutError) as error:
        return {"error": f"{type(error).__name__}: {error}", "told": exchange.told, "heard": exchange.heard}
    finally:
        writer.close()


async def _ask(path: Path) -> None:
    for number in range(MESSAGES):
        await path.send(b"%d" % number)
        assert await path.receive() == b"%d" % number
    await path.send(b"bye")


async def _echo(path: Path) -> None:
    while (data := await path.receive()) != b"bye":
        await path.send(data)


def run_side(side: dict[str, Any], signalling: socket.socket) -> dict[str, Any]:
    """Move this process to the side's namespace and play it."""
    made = Side(**side)
    handle = os.open(f"/run/netns/{made.namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(handle)
    return asyncio.run(meet(made, signalling))


def run_cell(cell: dict[str, Any]) -> dict[str, Any]:
    """Play both sides of a cell, each in a process of its own."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    first, second = cell["sides"]
    child = os.fork()
    if not child:
        ours.close()
        os.write(writing, json.dumps(run_side(second, theirs)).encode())
        os._exit(0)
    theirs.close()
    os.close(writing)
    report = run_side(first, ours)
    with os.fdopen(reading, "rb") as pipe:
        other = pipe.read()
    os.waitpid(child, 0)
    return {"id": cell["id"], "sides": [report, json.loads(other or b'{"error": "the process died"}')]}


def run_all(cells: list[dict[str, Any]]) -> None:
    """Play the cells and print a line for each as it ends."""
    gc.freeze()  # What has been imported is looked at by no child's collector, and so stays shared.
    fork = multiprocessing.get_context("fork")
    with fork.Pool(IDLE, maxtasksperchild=1) as idle, fork.Pool(BUSY, maxtasksperchild=1) as busy:
        waiting = idle.imap_unordered(run_cell, [cell for cell in cells if cell["idle"]])
        playing = busy.imap_unordered(run_cell, [cell for cell in cells if not cell["idle"]])
        for outcome in itertools.chain(playing, waiting):
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    run_all(json.load(sys.stdin))
