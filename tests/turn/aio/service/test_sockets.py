"""What the server's UDP sockets put on the wire."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from stun.address import TransportAddress
from turn.aio.service.poller import Poller
from turn.aio.service.sockets import LINUX, BatchSocket, SocketCounters, bind_udp

_ETH_P_IP = 0x0800


class Quiet(BatchSocket):
    """A socket that only sends."""

    def _readable(self, has_error: bool) -> None:
        raise AssertionError("nobody answers")


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    """Sees what the loopback interface carries, IP headers included."""
    if not LINUX:
        pytest.skip("needs packet sockets")
    try:
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
    except PermissionError:
        pytest.skip("needs the right to see packets")
    with packets:
        packets.bind(("lo", _ETH_P_IP))
        packets.settimeout(5)
        yield packets


def dont_fragment(wire: socket.socket, port: int) -> bool:
    """Return the DF bit of the next datagram to a port."""
    while True:
        packet = wire.recv(2048)
        header = 4 * (packet[0] & 15)
        if packet[9] == socket.IPPROTO_UDP and int.from_bytes(packet[header + 2 : header + 4], "big") == port:
            return bool(packet[6] & 0x40)


async def test_df_is_set_for_the_datagrams_that_ask_for_it_and_no_others(wire: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        remote = TransportAddress(*peer.getsockname())
        poller = Poller(asyncio.get_running_loop())
        sender = Quiet(bind_udp(TransportAddress("127.0.0.1", 0)), poller, SocketCounters())
        found = []
        for asked in (False, True, False):
            assert (sender.send_unfragmented if asked else sender.send)(b"x", remote)
            found.append(dont_fragment(wire, remote.port))
        touched: list[BatchSocket] = []
        for _ in range(2):
            sender.queue(b"yy", remote, touched)
        sender.flush()
        found.append(dont_fragment(wire, remote.port))
        sender.close()
        poller.close()
    assert found == [False, True, False, False]
