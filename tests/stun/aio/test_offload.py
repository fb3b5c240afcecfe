"""Many datagrams in one system call: what leaves when, and that nothing but speed is different."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import TransportAddress
from stun.aio import UdpNetwork
from stun.aio.offload import SegmentedSender
from stun.config import OffloadConfig, UdpConfig
from tests.stun.aio.test_connected_socket import HOSTS, Ear, bind

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has UDP segmentation offload")


class FakeSocket:
    """Takes calls as the kernel would, and can refuse them."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.refuses: int | None = None

    def sendmsg(
        self, run: list[bytes], ancillary: list[tuple[int, int, bytes]], flags: int, peer: tuple[str, int] | None
    ) -> None:
        assert (flags, peer) == (0, None)
        if self.refuses is not None:
            raise OSError(self.refuses, "refused")
        [(_, _, size)] = ancillary
        assert int.from_bytes(size, sys.byteorder) == len(run[0])
        self.calls.append(list(run))


class FakeLoop:
    """Keeps what is to run at the end of the turn."""

    def __init__(self) -> None:
        self.soon: list = []

    def call_soon(self, callback: object) -> FakeLoop:
        self.soon.append(callback)
        return self

    def cancel(self) -> None:
        self.soon.clear()

    def end_turn(self) -> None:
        due, self.soon = self.soon, []
        for callback in due:
            callback()


class Stage:
    def __init__(self, config: OffloadConfig | None = None) -> None:
        self.socket, self.loop = FakeSocket(), FakeLoop()
        self.alone: list[bytes] = []
        self.lost = 0
        self.takes = True
        self.sender = SegmentedSender(
            self.socket,  # type: ignore[arg-type]
            self.send_one,
            self.note_lost,
            config or OffloadConfig(),
            self.loop,  # type: ignore[arg-type]
        )

    def send_one(self, data: bytes) -> bool:
        if self.takes:
            self.alone.append(data)
        return self.takes

    def note_lost(self, count: int) -> None:
        self.lost += count


def test_the_first_of_a_turn_goes_at_once_and_the_others_together_at_its_end() -> None:
    stage = Stage()
    for n in range(4):
        assert stage.sender.send(bytes([n]) * 10)
    assert stage.alone == [b"\0" * 10]
    assert not stage.socket.calls
    stage.loop.end_turn()
    assert stage.socket.calls == [[bytes([n]) * 10 for n in (1, 2, 3)]]
    stage.sender.send(b"next turn")
    assert stage.alone[-1] == b"next turn"
    stage.loop.end_turn()
    assert len(stage.socket.calls) == 1


def test_no_more_wait_than_the_kernel_takes() -> None:
    stage = Stage(OffloadConfig(max_segments=3))
    for n in range(8):
        stage.sender.send(bytes([n]))
    assert [len(call) for call in stage.socket.calls] == [3, 3]
    stage.loop.end_turn()
    assert stage.alone == [b"\0", b"\7"]


def test_no_buffer_is_larger_than_a_datagram_may_be() -> None:
    stage = Stage()
    for _ in range(20):
        stage.sender.send(b"x" * 9000)
    stage.loop.end_turn()
    assert [len(call) for call in stage.socket.calls] == [7, 7, 5]


@given(sizes=st.lists(st.integers(1, 40), max_size=80))
def test_every_datagram_leaves_once_in_order_and_every_run_can_be_cut(sizes: list[int]) -> None:
    stage = Stage()
    order: list[bytes] = []
    stage.sender._send_one = lambda data: order.append(data) is None  # type: ignore[assignment,misc]
    stage.socket.sendmsg = lambda run, *_: order.extend(check_run(run))  # type: ignore[method-assign]
    datagrams = [bytes([n]) * size for n, size in enumerate(sizes)]
    for data in datagrams:
        assert stage.sender.send(data)
    stage.loop.end_turn()
    assert order == datagrams
    assert not stage.lost


def check_run(run: list[bytes]) -> list[bytes]:
    size = len(run[0])
    assert all(len(data) == size for data in run[:-1])
    assert 0 < len(run[-1]) <= size
    return list(run)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EMSGSIZE, errno.EIO])
def test_where_the_kernel_cannot_cut_datagrams_go_one_by_one_from_then_on(code: int) -> None:
    stage = Stage()
    stage.socket.refuses = code
    for _ in range(3):
        stage.sender.send(b"x" * 1400)
    stage.loop.end_turn()
    assert len(stage.alone) == 3
    stage.socket.refuses = None
    for size in (1400, 1400, 1400, 900, 900, 900):
        stage.sender.send(b"y" * size)
    stage.loop.end_turn()
    assert len(stage.alone) == 7  # The first of the turn, and the run of two large ones and their smaller end.
    assert [len(data) for data in stage.socket.calls[0]] == [900, 900]
    assert not stage.lost


def test_what_the_kernel_has_no_room_for_is_counted() -> None:
    stage = Stage()
    stage.socket.refuses = errno.EAGAIN
    for _ in range(5):
        stage.sender.send(b"data")
    stage.loop.end_turn()
    assert stage.lost == 4
    stage.takes = False
    assert not stage.sender.send(b"data")


def test_closing_sends_what_waits() -> None:
    stage = Stage()
    for n in range(3):
        stage.sender.send(bytes([n]))
    stage.sender.close()
    assert stage.socket.calls == [[b"\1", b"\2"]]
    stage.loop.end_turn()
    assert len(stage.socket.calls) == 1


@pytest.mark.parametrize("host", HOSTS)
async def test_a_crowd_arrives_whole_and_in_order_through_real_sockets(host: str) -> None:
    ear = Ear()
    ours, peer = bind(host, Ear()), bind(host, ear)
    twin = ours.connect(peer.local)
    assert twin is not None
    sent: list[bytes] = []
    for turn in range(20):
        for n in range(40):
            sent.append(bytes([turn, n]) * (600 if n % 7 else 90))
            assert twin.send(sent[-1], peer.local)
        await ear.wait(len(sent))
    assert [data for data, _ in ear.heard] == sent
    assert {remote for _, remote in ear.heard} == {tuple(ours.local)}
    assert peer._coalesced.is_on
    for end in (twin, ours, peer):
        end.close()


@pytest.mark.parametrize("host", HOSTS)
async def test_lanes_to_several_peers_share_one_socket(host: str) -> None:
    ears = [Ear(), Ear()]
    ours, peers = bind(host, Ear()), [bind(host, ear) for ear in ears]
    lanes = [ours.lane(peer.local) for peer in peers]
    sent: list[list[bytes]] = [[], []]
    for turn in range(10):
        for n in range(30):
            for index, (lane, peer) in enumerate(zip(lanes, peers, strict=True)):
                assert lane is not None
                assert lane.local == ours.local
                sent[index].append(bytes([index, turn, n]) * (300 if n % 7 else 90))
                assert lane.send(sent[index][-1], peer.local)
        for index, ear in enumerate(ears):
            await ear.wait(len(sent[index]))
    for index, ear in enumerate(ears):
        assert ear.heard == [(data, tuple(ours.local)) for data in sent[index]]
    for lane in lanes:
        assert lane is not None
        lane.close()
    for end in (ours, *peers):
        end.close()
    assert ours.lane(peers[0].local) is None


def test_lanes_are_for_systems_that_can() -> None:
    async def ask() -> object:
        config = UdpConfig(offload=OffloadConfig(enabled=False))
        ours = UdpNetwork(config).bind_now(TransportAddress("127.0.0.1", 0), Ear())
        try:
            return ours.lane(("127.0.0.1", 9))
        finally:
            ours.close()

    assert asyncio.run(ask()) is None


async def test_joint_reading_ends_when_datagrams_come_alone() -> None:
    ear = Ear()
    config = UdpConfig(offload=OffloadConfig(crowd_ends_after=5))
    ours = bind("127.0.0.1", Ear())
    peer = UdpNetwork(config).bind_now(TransportAddress("127.0.0.1", 0), ear)
    peer._coalesced.note_crowd()
    assert peer._coalesced.is_on
    for n in range(5):
        ours.send(b"alone", peer.local)
        await ear.wait(n + 1)
    assert not peer._coalesced.is_on
    ours.send(b"plain", peer.local)
    await ear.wait(6)
    assert ear.heard[-1][0] == b"plain"
    ours.close()
    peer.close()


async def test_a_receiver_that_closes_its_socket_hears_no_more() -> None:
    heard: list[bytes] = []
    done = asyncio.Event()

    def receive(data: bytes, remote: tuple[str, int]) -> None:
        heard.append(data)
        peer.close()
        done.set()

    peer = UdpNetwork().bind_now(TransportAddress("127.0.0.1", 0), receive)
    peer._coalesced.note_crowd()
    ours = bind("127.0.0.1", Ear())
    twin = ours.connect(peer.local)
    assert twin is not None
    for n in range(5):
        twin.send(bytes([n]), peer.local)
    async with asyncio.timeout(5):
        await done.wait()
    await asyncio.sleep(0)
    assert heard == [b"\0"]
    for end in (twin, ours):
        end.close()


async def test_it_can_be_turned_off() -> None:
    ear = Ear()
    config = UdpConfig(offload=OffloadConfig(enabled=False))
    ours = UdpNetwork(config).bind_now(TransportAddress("127.0.0.1", 0), Ear())
    peer = UdpNetwork(config).bind_now(TransportAddress("127.0.0.1", 0), ear)
    peer._coalesced.note_crowd()
    assert not peer._coalesced.is_on
    twin = ours.connect(peer.local)
    assert twin is not None
    for n in range(30):
        twin.send(bytes([n]), peer.local)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"other", peer.local)  # All thirty were in the kernel before it.
    await ear.wait(31)
    assert [data for data, _ in ear.heard] == [bytes([n]) for n in range(30)] + [b"other"]
    for end in (twin, ours, peer):
        end.close()
