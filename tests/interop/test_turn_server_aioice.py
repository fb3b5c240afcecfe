"""aioice's TURN client against our server."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from stun.address import TransportProtocol
from tests.stun.certificates import Authority
from tests.turn.aio.service.running import PASSWORD, USER, running, udp_echo

aioice_turn = pytest.importorskip("aioice.turn", reason="needs the package aioice")

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

UDP, TCP, TLS, _ = TransportProtocol


class Receiver(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait((data, addr))


@pytest.mark.parametrize("protocol", [UDP, TCP, TLS])
async def test_relaying(protocol: TransportProtocol, tmp_path_factory: pytest.TempPathFactory) -> None:
    authority = Authority.make(tmp_path_factory.mktemp("authority"))
    context: ssl.SSLContext | bool = authority.context if protocol is TLS else False
    certificate = authority.issue("127.0.0.1")
    async with running(UDP, TCP, TLS, certificate=certificate, hosts=("127.0.0.1",)) as service, udp_echo() as peer:
        transport, receiver = await aioice_turn.create_turn_endpoint(
            Receiver,
            server_addr=tuple(service.addresses(protocol)[0]),
            username=USER,
            password=PASSWORD,
            ssl=context,
            transport="udp" if protocol is UDP else "tcp",
        )
        assert service.snapshot().allocations == 1
        for size in (1, 1200, 33):
            transport.sendto(bytes(size), tuple(peer))
            data, source = await asyncio.wait_for(receiver.received.get(), 5)
            assert (len(data), source) == (size, tuple(peer))
        assert service.snapshot().channels == 1
        transport.close()
        async with asyncio.timeout(5):
            while service.snapshot().allocations:
                await asyncio.sleep(0.01)
