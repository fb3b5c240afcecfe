"""The driver on a loop with virtual time and a simulated network; TCP on real sockets."""

from __future__ import annotations

import asyncio
import random

import pytest

from stun.address import FiveTuple, TransportAddress
from stun.aio import Driver, StreamDriver, UdpNetwork
from stun.binding import BindingClient, BindingEvent, BindingFailed, FailureReason, Mapped
from stun.binding_server import BindingServer
from stun.config import BindingServerConfig, StreamConfig
from stun.machine import Deadline, Outbox, Release, Transmit
from tests.ports import silent_port
from tests.simulation import LinkProfile, World
from tests.simulation.loop import virtual_time
from tests.simulation.realm import Fate

SERVER = TransportAddress("203.0.113.2", 3478)


@virtual_time
async def test_a_question_is_answered_in_virtual_time() -> None:
    world = World()
    loop = asyncio.get_running_loop()
    world.use_loop(loop)
    here = world.host("client", world.internet, "203.0.113.1", link=LinkProfile(latency=0.1)).network()
    there = world.host("server", world.internet, "203.0.113.2").network()
    answered: asyncio.Future[BindingEvent] = loop.create_future()
    client = BindingClient(random.Random(1))
    server = Driver(BindingServer(), there, lambda event: None)
    driver = Driver(client, here, answered.set_result)
    await server.bind(SERVER)
    local = await driver.bind(TransportAddress("203.0.113.1", 0))
    assert local.port != 0
    client.request(FiveTuple(local, SERVER), loop.time())
    driver.pump()
    event = await answered
    assert isinstance(event, Mapped)
    assert event.address == local
    assert loop.time() == pytest.approx(0.2)
    driver.close()
    server.close()
    driver.close()


@virtual_time
async def test_the_timer_follows_the_machine() -> None:
    world = World()
    loop = asyncio.get_running_loop()
    world.use_loop(loop)
    host = world.host("client", world.internet, "203.0.113.1")
    failed: asyncio.Future[BindingEvent] = loop.create_future()
    client = BindingClient(random.Random(1))
    driver = Driver(client, host.network(), failed.set_result)
    sent: list[float] = []
    world.observers.append(lambda now, packet, fate: sent.append(now) if fate is Fate.SENT else None)
    local = await driver.bind(TransportAddress("203.0.113.1", 0))
    client.request(FiveTuple(local, SERVER), loop.time())
    driver.pump()
    event = await failed
    assert isinstance(event, BindingFailed)
    assert event.reason is FailureReason.TIMEOUT
    assert loop.time() == pytest.approx(39.5)
    assert sent == pytest.approx([0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
    driver.close()


class Recorder(Outbox[object, str]):
    """A machine that says what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.deadline: Deadline | None = None
        self.woken: list[float] = []

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        self.events.append(f"datagram {data!r}")

    def path_opened(self, path: FiveTuple, now: float) -> None:
        self.events.append("opened")

    def receive_data(self, data: bytes, path: FiveTuple, now: float) -> None:
        self.events.append(f"data {data!r}")

    def path_closed(self, path: FiveTuple, now: float) -> None:
        self.events.append("closed")

    def handle_timeout(self, now: float) -> None:
        self.woken.append(now)
        self.deadline = None

    def next_timeout(self) -> Deadline | None:
        return self.deadline


@virtual_time
async def test_data_goes_past_the_machine() -> None:
    world = World()
    world.use_loop(asyncio.get_running_loop())
    network = world.host("a", world.internet, "203.0.113.1").network()
    machine = Recorder()
    events: list[str] = []
    data: list[tuple[bytes, tuple[str, int], TransportAddress]] = []
    driver = Driver(machine, network, events.append, on_data=lambda *what: data.append(what))
    local = await driver.bind(TransportAddress("203.0.113.1", 0))
    peer = await network.bind(TransportAddress("203.0.113.1", 0), lambda data, remote: None)
    stun = bytes.fromhex("000100002112a442") + bytes(12)
    for payload in (b"", b"hello", stun, b"\x80" + stun[1:]):
        peer.send(payload, local)
    await asyncio.sleep(0.1)
    assert events == [f"datagram {stun!r}"]
    assert data == [(payload, peer.local, local) for payload in (b"", b"hello", b"\x80" + stun[1:])]
    driver.unbind(local)
    driver.unbind(local)
    assert not driver.sockets
    peer.close()
    driver.close()


@virtual_time
async def test_one_timer_that_is_moved_and_removed() -> None:
    loop = asyncio.get_running_loop()
    machine = Recorder()
    driver = Driver(machine, World().host("a", World().internet, "203.0.113.1").network(), lambda event: None)
    machine.deadline = Deadline(5.0, "late")
    driver.pump()
    machine.deadline = Deadline(1.0, "earlier")
    driver.pump()
    driver.pump()
    await asyncio.sleep(10)
    assert machine.woken == [1.0]
    machine.deadline = Deadline(12.0, "never")
    driver.pump()
    machine.deadline = None
    driver.pump()
    await asyncio.sleep(10)
    assert machine.woken == [1.0]
    machine.deadline = Deadline(loop.time() + 1, "closed before")
    driver.pump()
    driver.close()
    await asyncio.sleep(10)
    assert machine.woken == [1.0]


@virtual_time
async def test_a_deadline_that_moves_on_wakes_nobody_early() -> None:
    loop = asyncio.get_running_loop()
    machine = Recorder()
    driver = Driver(machine, World().host("a", World().internet, "203.0.113.1").network(), lambda event: None)
    for number in range(10):
        machine.deadline = Deadline(number + 2.0, "idle")
        driver.pump()
        await asyncio.sleep(1)
    assert machine.woken == []
    await asyncio.sleep(10)
    assert machine.woken == [11.0]
    assert loop.time() == pytest.approx(20)
    driver.close()


@virtual_time
async def test_effects_before_events_and_events_may_pump() -> None:
    world = World()
    world.use_loop(asyncio.get_running_loop())
    machine = Recorder()
    order: list[object] = []

    def on_event(event: str) -> None:
        order.append(event)
        if event == "first":
            machine.effects.append("effect of first")
            driver.pump()
            order.append("end of first")

    network = world.host("a", world.internet, "203.0.113.1").network()
    driver = Driver(machine, network, on_event, on_effect=order.append)
    machine.events.extend(["first", "second"])
    machine.effects.append("effect")
    machine.effects.append(Transmit(b"x", FiveTuple(SERVER, SERVER)))
    driver.pump()
    assert order == ["effect", "first", "end of first", "effect of first", "second"]
    assert driver.unsendable == 1
    driver.close()
    with pytest.raises(OSError, match="closed"):
        await driver.bind(TransportAddress("203.0.113.1", 0))


async def settle(events: list[str], count: int) -> None:
    """Let the loop turn until there are so many events."""
    for _ in range(200_000):
        if len(events) >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"only {events}")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_connections_are_paths(host: str) -> None:
    heard: list[str] = []
    said: list[str] = []
    listening, dialling = Recorder(), Recorder()
    server = StreamDriver(listening, UdpNetwork(), heard.append)
    client = StreamDriver(dialling, UdpNetwork(), said.append)
    path = await client.connect(await server.listen(TransportAddress(host, 0)))
    dialling.effects.append(Transmit(b"hello", path))
    client.pump()
    await settle(heard, 2)
    assert heard == ["opened", "data b'hello'"]
    (back,) = server.connections
    assert back == FiveTuple(path.remote, path.local, path.protocol)
    listening.effects.extend([Transmit(b"bye", back), Release(back)])
    server.pump()
    await settle(said, 3)
    assert said == ["opened", "data b'bye'", "data b''"]
    dialling.effects.append(Release(path))
    client.pump()
    await settle(said, 4)
    await settle(heard, 3)
    assert (said[-1], heard[-1]) == ("closed", "closed")
    assert not server.connections
    assert not client.connections
    dialling.effects.append(Transmit(b"late", path))
    client.pump()
    assert client.unsendable == 1
    client.close()
    server.close()


async def test_a_reader_that_does_not_read_is_cut_off() -> None:
    heard: list[str] = []
    machine = Recorder()
    config = StreamConfig(max_write_buffer=100_000)
    server = StreamDriver(machine, UdpNetwork(), heard.append, config=config)
    address = await server.listen(TransportAddress("127.0.0.1", 0))
    reader, writer = await asyncio.open_connection(*address)
    await settle(heard, 1)
    (path,) = server.connections
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(1000):
        machine.effects.append(Transmit(bytes(65536), path))
        server.pump()
        if not server.connections:
            break
        await asyncio.sleep(0)
    assert heard == ["opened", "closed"]
    writer.close()
    server.close()


async def test_a_connection_that_nobody_takes() -> None:
    machine = Recorder()
    driver = StreamDriver(machine, UdpNetwork(), lambda event: None)
    with silent_port() as address, pytest.raises(OSError):
        await driver.connect(address)
    driver.close()


async def test_too_many_connections_are_closed_at_once() -> None:
    machine = BindingServer(BindingServerConfig(max_connections=1))
    server: StreamDriver[None] = StreamDriver(machine, UdpNetwork(), lambda event: None)
    address = await server.listen(TransportAddress("127.0.0.1", 0))
    first, first_writer = await asyncio.open_connection(*address)
    second, second_writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(5):
        assert await second.read() == b""
    assert machine.open_connections == 1
    assert not first.at_eof()
    first_writer.close()
    second_writer.close()
    server.close()
    await asyncio.sleep(0)
