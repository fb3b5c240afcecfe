"""Many sessions on one real TCP port."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from ice.aio.mux import Mux, MuxSeat
from ice.errors import MuxError
from ice.mux_config import MuxConfig
from stun.address import TransportAddress, TransportProtocol
from stun.framing import FrameDecoder, encode_frame
from tests.ice.mux_stage import check, question

pytestmark = pytest.mark.timeout(30)

HOST = "127.0.0.1"
BOTH = (TransportProtocol.UDP, TransportProtocol.TCP)


class Owner(asyncio.Protocol):
    """A session's side of its connections: it keeps what arrives and says its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.decoder = FrameDecoder()
        self.packets: list[bytes] = []
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.packets += self.decoder.receive(data)
        self.transport.write(encode_frame(self.name.encode()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Resident:
    """A session that takes connections."""

    def __init__(self, mux: Mux, name: str) -> None:
        self.name = name
        self.owners: list[Owner] = []
        self.remotes: list[TransportAddress] = []
        self.seat: MuxSeat = mux.join(name)
        self.listener = self.seat.listen(TransportAddress(HOST, 0), self._take, 1)
        self._tasks: list[asyncio.Task[object]] = []

    def _take(self, connection: socket.socket, remote: TransportAddress) -> None:
        owner = Owner(self.name)
        self.owners.append(owner)
        self.remotes.append(remote)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(loop.connect_accepted_socket(lambda: owner, connection)))


def nobody(connection: socket.socket, remote: TransportAddress) -> None:
    pytest.fail("nobody has called")


@asynccontextmanager
async def visitor(mux: Mux) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, mux.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


async def hear(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


async def is_thrown_out(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_connections_find_their_sessions() -> None:
    async with Mux.open(hosts=[HOST], transports=BOTH) as mux:
        residents = [Resident(mux, f"name{number}") for number in range(50)]

        async def call(resident: Resident, number: int) -> None:
            async with visitor(mux) as (reader, writer):
                frame = encode_frame(check(resident.name))
                if number:  # The first frame comes in two pieces.
                    writer.write(frame[:number])
                    await asyncio.sleep(0.005)
                writer.write(frame[number:])
                assert await hear(reader) == resident.name.encode()
                writer.write(encode_frame(b"%d" % number))
                assert await hear(reader) == resident.name.encode()

        await asyncio.gather(*(call(resident, number) for number in range(2) for resident in residents))
        for resident in residents:
            assert sorted(owner.packets[1] for owner in resident.owners) == [b"0", b"1"]
        await asyncio.gather(*(owner.lost.wait() for resident in residents for owner in resident.owners))
        assert mux.stats().strangers == 0
        assert not mux.stats().dropped
        for resident in residents:
            resident.seat.leave()


async def test_udp_and_tcp_have_one_number() -> None:
    for _ in range(20):
        async with Mux.open(hosts=[HOST], transports=BOTH) as mux, Mux.open(hosts=[HOST], transports=BOTH) as other:
            assert mux.port != other.port
            seat = mux.join("first")
            udp = await seat.bind(mux.addresses[0], lambda data, remote: None)
            assert seat.listen(udp.local, nobody, 1).local == udp.local == mux.addresses[0]
            seat.leave()


async def test_strangers_are_thrown_out() -> None:
    config = MuxConfig(stranger_timeout=0.3)
    async with Mux.open(hosts=[HOST], transports=BOTH, config=config) as mux:
        resident = Resident(mux, "first")
        for data in (b"GET / HTTP/1.1\r\n\r\n", encode_frame(question()), encode_frame(check("nobody"))):
            async with visitor(mux) as (reader, writer):
                writer.write(data)
                assert await is_thrown_out(reader)
        async with visitor(mux) as (reader, writer), visitor(mux) as (other, _):
            writer.write(encode_frame(check("first"))[:-1])
            assert await is_thrown_out(reader)
            assert await is_thrown_out(other)
        async with visitor(mux):
            pass
        assert resident.owners == []
        assert mux.stats().dropped == {
            "connection: did not begin with a check": 2,
            "connection: a user name fragment of no session": 1,
            "connection: no check in time": 2,
        }
        resident.seat.leave()


async def test_a_crowd_of_strangers_leaves_the_door_open_to_others() -> None:
    config = MuxConfig(max_strangers=100, max_strangers_per_source=5)
    async with Mux.open(hosts=[HOST], transports=BOTH, config=config) as mux:
        resident = Resident(mux, "first")
        crowd = [await asyncio.open_connection(HOST, mux.port) for _ in range(30)]
        assert all([await is_thrown_out(reader) for reader, _ in crowd[5:]])
        assert mux.stats().dropped == {"connection: too many strangers": 25}
        assert mux.stats().strangers == 5
        crowd[0][1].write(encode_frame(check("first")))
        assert await hear(crowd[0][0]) == b"first"
        assert mux.stats().strangers == 4
        async with visitor(mux) as (reader, writer):
            writer.write(encode_frame(check("first")))
            assert await hear(reader) == b"first"
        for _, writer in crowd:
            writer.close()
        resident.seat.leave()


async def test_a_session_that_has_left_or_closed_its_listener_takes_no_connection() -> None:
    async with Mux.open(hosts=[HOST], transports=BOTH) as mux:
        resident, other = Resident(mux, "first"), Resident(mux, "other")
        async with visitor(mux) as (reader, writer):
            writer.write(encode_frame(check("first")))
            assert await hear(reader) == b"first"
            resident.listener.close()
            resident.listener.close()
            async with visitor(mux) as (late, late_writer):
                late_writer.write(encode_frame(check("first")))
                assert await is_thrown_out(late)
            writer.write(encode_frame(b"still mine"))
            assert await hear(reader) == b"first"
            resident.seat.leave()
            writer.write(encode_frame(b"the connection is the session's to close"))
            assert await hear(reader) == b"first"
        async with visitor(mux) as (late, late_writer):
            late_writer.write(encode_frame(check("first")))
            assert await is_thrown_out(late)
        assert mux.stats().dropped == {
            "connection: the session takes none there": 1,
            "connection: a user name fragment of no session": 1,
        }
        with pytest.raises(OSError, match="no shared TCP port"):
            resident.seat.listen(mux.addresses[0], nobody, 1)
        with pytest.raises(OSError, match="no shared TCP port"):
            other.seat.listen(TransportAddress("127.0.0.2", 0), nobody, 1)
        with pytest.raises(OSError, match="cannot listen"):
            other.seat.listen(mux.addresses[0], nobody, 1)
        other.seat.leave()


async def test_what_is_not_shared_is_not_there() -> None:
    async with Mux.open(hosts=[HOST], transports=[TransportProtocol.UDP]) as mux:
        assert mux.join("other").tcp is None
        with pytest.raises(OSError, match="no shared TCP port"):
            mux.join("first").listen(mux.addresses[0], nobody, 1)
        with pytest.raises(OSError, match="Connect call failed"):
            # From another address: from this one the socket may be given that very port, and reach itself.
            await asyncio.open_connection(HOST, mux.port, local_addr=("127.0.0.2", 0))
    async with Mux.open(hosts=[HOST], transports=[TransportProtocol.TCP]) as mux:
        seat = mux.join("first")
        with pytest.raises(OSError, match="no shared port"):
            await seat.bind(mux.addresses[0], lambda data, remote: None)
    for transports in ([], [TransportProtocol.TLS]):
        with pytest.raises(ValueError, match="UDP, TCP or both"):
            async with Mux.open(hosts=[HOST], transports=transports):
                pytest.fail("that cannot be shared")


async def test_closing_throws_out_the_strangers_and_nobody_else() -> None:
    async with Mux.open(hosts=[HOST], transports=BOTH) as mux:
        resident = Resident(mux, "first")
        owned, stranger = [await asyncio.open_connection(HOST, mux.port) for _ in range(2)]
        owned[1].write(encode_frame(check("first")))
        assert await hear(owned[0]) == b"first"
    assert await is_thrown_out(stranger[0])
    owned[1].write(encode_frame(b"more"))
    assert await hear(owned[0]) == b"first"
    with pytest.raises(MuxError):
        mux.join("second")
    for _, writer in (owned, stranger):
        writer.close()
    await resident.owners[0].lost.wait()
    resident.seat.leave()


async def test_a_part_of_a_frame_does_not_keep_the_loop_busy() -> None:
    async with Mux.open(hosts=[HOST], transports=BOTH) as mux:
        resident = Resident(mux, "first")
        frame = encode_frame(check("first"))
        callers = [await asyncio.open_connection(HOST, mux.port) for _ in range(50)]
        for _, writer in callers:
            writer.write(frame[:3])
        began = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - began < 0.25, "each is looked at now and then, not all the time"
        assert mux.stats().strangers == 50
        for _, writer in callers:
            writer.write(frame[3:])
        for reader, writer in callers:
            assert await hear(reader) == b"first"
            writer.close()
        await asyncio.gather(*(owner.lost.wait() for owner in resident.owners))
        resident.seat.leave()


async def test_without_descriptors_the_door_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Mux.open(hosts=[HOST], transports=BOTH, config=MuxConfig(accept_pause=0.05)) as mux:
        resident = Resident(mux, "first")
        tries = 0
        accept = socket.socket.accept

        def exhausted(self: socket.socket) -> object:
            nonlocal tries
            tries += 1
            if tries <= 3:
                raise OSError(errno.EMFILE, "too many open files")
            return accept(self)

        monkeypatch.setattr(socket.socket, "accept", exhausted)
        async with visitor(mux) as (reader, writer):
            writer.write(encode_frame(check("first")))
            assert await hear(reader) == b"first"
        assert tries <= 6
        await resident.owners[0].lost.wait()
        resident.seat.leave()
