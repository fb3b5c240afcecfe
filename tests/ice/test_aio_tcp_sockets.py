"""Listening and dialling on one port of this machine."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from ice.aio import tcp_sockets
from ice.aio.tcp_sockets import SystemTcp
from ice.tcp import ConnectError
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress
from tests.ports import silent_port

ANY = TransportAddress("127.0.0.1", 0)


class Outcome:
    """Takes what came of a dial."""

    def __init__(self) -> None:
        self.future: asyncio.Future[socket.socket | ConnectError] = asyncio.get_running_loop().create_future()

    async def get(self) -> socket.socket | ConnectError:
        return await asyncio.wait_for(self.future, 5.0)


async def test_a_port_that_listens_can_dial_as_well_and_keeps_its_ttl() -> None:
    tcp, accepted = SystemTcp(), asyncio.Queue[tuple[socket.socket, TransportAddress]]()
    ours = tcp.listen(ANY, lambda *_: None, 5)
    theirs = tcp.listen(ANY, lambda connection, remote: accepted.put_nowait((connection, remote)), 5)
    outcome = Outcome()
    tcp.dial(ours.local, theirs.local, outcome.future.set_result, ttl=7)
    connection = await outcome.get()
    other, remote = await asyncio.wait_for(accepted.get(), 5.0)
    assert isinstance(connection, socket.socket)
    with connection, other:
        assert remote == ours.local
        assert connection.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) > 7, "the first SYN alone had it"
        again = Outcome()
        tcp.dial(ours.local, theirs.local, again.future.set_result)
        assert await again.get() is ConnectError.IN_USE
    ours.close()
    theirs.close()
    theirs.close()


async def test_why_a_connection_was_not_opened() -> None:
    tcp = SystemTcp()
    with silent_port() as closed:
        outcome = Outcome()
        tcp.dial(ANY, closed, outcome.future.set_result)
        assert await outcome.get() is ConnectError.REFUSED
        with pytest.raises(OSError, match="assign"):
            tcp.dial(TransportAddress("192.0.2.77", 0), closed, lambda _: None)
    with pytest.raises(OSError, match="assign"):
        tcp.listen(TransportAddress("192.0.2.77", 0), lambda *_: None, 1)


async def test_a_cancelled_dial_tells_nothing() -> None:
    tcp, told = SystemTcp(), []
    listener = tcp.listen(ANY, lambda connection, remote: connection.close(), 5)
    dial = tcp.dial(ANY, listener.local, told.append)
    dial.cancel()
    dial.cancel()
    await asyncio.sleep(0.05)
    assert told == []
    listener.close()


class Exhausted:
    """A listening socket for whose connections there is no descriptor, the first two times."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.tries = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.tries += 1
        if self.tries <= 2:
            raise OSError(errno.EMFILE, "too many open files")
        return self._real.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


async def test_without_descriptors_a_listener_waits_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = asyncio.Queue[socket.socket]()
    real = socket.socket()
    real.setblocking(False)
    exhausted = Exhausted(real)
    monkeypatch.setattr(tcp_sockets, "_socket", lambda local: exhausted)
    tcp = SystemTcp(TcpConfig(accept_pause=0.05))
    listener = tcp.listen(ANY, lambda connection, _: accepted.put_nowait(connection), 5)
    with socket.create_connection(listener.local):
        (await asyncio.wait_for(accepted.get(), 5.0)).close()
    assert exhausted.tries in (3, 4), "once a pause, and once more to see that no other waits"
    listener.close()
