"""The second socket that a peer can have on a port: who gets which datagram, and what it leaves behind."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from stun.address import TransportAddress
from stun.aio import UdpNetwork
from stun.aio.udp import UdpSocket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares a port by peer")

HOSTS = ["127.0.0.1", *(["::1"] if any(found.host == "::1" for found in UdpNetwork().interfaces()) else [])]


class Ear:
    """Counts what arrives, and from whom."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, tuple[str, int]]] = []
        self._more = asyncio.Event()

    def __call__(self, data: bytes, remote: tuple[str, int]) -> None:
        self.heard.append((data, remote))
        self._more.set()

    async def wait(self, count: int) -> None:
        """Return when so many have arrived."""
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                self._more.clear()
                await self._more.wait()


def bind(host: str, ear: Ear) -> UdpSocket:
    return UdpNetwork().bind_now(TransportAddress(host, 0), ear)


@pytest.mark.parametrize("host", HOSTS)
async def test_one_port_two_sockets_one_receiver(host: str) -> None:
    ear, peer_ear, other_ear = Ear(), Ear(), Ear()
    ours, peer, other = bind(host, ear), bind(host, peer_ear), bind(host, other_ear)
    twin = ours.connect(peer.local)
    assert twin is not None
    assert twin.local == ours.local
    for _ in range(20):
        assert peer.send(b"peer", ours.local)
        assert other.send(b"other", ours.local)
    await ear.wait(40)
    assert sorted(ear.heard) == sorted([(b"peer", tuple(peer.local))] * 20 + [(b"other", tuple(other.local))] * 20)
    assert twin.send(b"twin", peer.local)
    assert ours.send(b"ours", peer.local)
    assert ours.send(b"ours", other.local)
    await peer_ear.wait(2)
    await other_ear.wait(1)
    assert {remote for _, remote in peer_ear.heard + other_ear.heard} == {tuple(ours.local)}
    twin.close()
    twin.close()
    assert peer.send(b"after", ours.local)
    await ear.wait(41)
    for end in (ours, peer, other):
        end.close()


async def test_nobody_else_can_join_the_port() -> None:
    ours, peer = bind("127.0.0.1", Ear()), bind("127.0.0.1", Ear())
    twin = ours.connect(peer.local)
    assert twin is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            thief.bind(ours.local)
    for end in (twin, ours, peer):
        end.close()


async def test_a_peer_that_was_away_is_heard_when_it_is_back() -> None:
    ear = Ear()
    ours, peer = bind("127.0.0.1", Ear()), bind("127.0.0.1", ear)
    twin = ours.connect(peer.local)
    assert twin is not None
    peer.close()
    for _ in range(5):
        twin.send(b"nobody hears", peer.local)  # The kernel reports each refusal at the next call.
        await asyncio.sleep(0)
    back = UdpNetwork().bind_now(peer.local, ear)
    assert twin.send(b"first", back.local)
    await ear.wait(1)
    assert ear.heard == [(b"first", tuple(ours.local))]
    for end in (twin, ours, back):
        end.close()


async def test_a_closed_socket_and_another_family_have_no_twin() -> None:
    ours = bind("127.0.0.1", Ear())
    assert ours.connect(("::1", 9)) is None
    ours.close()
    assert ours.connect(("127.0.0.1", 9)) is None
