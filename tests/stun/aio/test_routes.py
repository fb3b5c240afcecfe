from __future__ import annotations

from types import SimpleNamespace

import pytest

from stun.address import TransportAddress
from stun.aio import UdpNetwork
from stun.aio.routes import route_to


async def test_the_route_decides_the_address() -> None:
    assert await route_to(TransportAddress("127.0.0.1", 9), UdpNetwork()) == "127.0.0.1"


async def test_a_network_whose_sockets_cannot_connect_tells_no_route_and_keeps_no_socket() -> None:
    closed: list[TransportAddress] = []

    class Unconnectable(UdpNetwork):
        async def bind(self, local: TransportAddress, receiver: object) -> SimpleNamespace:  # type: ignore[override]
            return SimpleNamespace(local=local, send=None, close=lambda: closed.append(local))

    with pytest.raises(OSError, match="no route to 127"):
        await route_to(TransportAddress("127.0.0.1", 9), Unconnectable())
    assert closed == [("0.0.0.0", 0)]
