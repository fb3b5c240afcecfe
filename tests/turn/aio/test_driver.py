"""The driver on links that do what real ones do at the worst moment: end while they are opened, fill up, flood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import turn
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.link import LinkOptions
from stun.message import Method
from tests.simulation import virtual_time
from tests.turn.fake_server import PEER, SERVER, STREAM, FakeServer
from turn import errors
from turn.config import ChannelPolicy, TurnClientConfig, TurnServerConfig

URL = f"turn:{SERVER.host}?transport=tcp"
QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)


class Pipe:
    """A stream to the small server, which may be full, and which may end before anybody knows of it."""

    is_stream = True

    def __init__(self, server: FakeServer, receiver: Callable[[bytes], None]) -> None:
        self.path = FiveTuple(STREAM.local, STREAM.remote, TransportProtocol.TCP)
        self.full = False
        self.offered: list[bytes] = []
        self.closed = 0
        self._server = server
        self._receiver = receiver

    def send(self, data: bytes) -> bool:
        self.offered.append(data)
        if self.full:
            return False
        for reply in self._server.receive(data, self.path.local, 0.0):
            asyncio.get_running_loop().call_later(0.01, self._receiver, reply)
        return True

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> list[Pipe]:
    """Every stream that was opened; all lead to one server."""
    opened: list[Pipe] = []
    server = FakeServer()

    async def open_link(
        remote: TransportAddress,
        protocol: TransportProtocol,
        *,
        receiver: Callable[[bytes], None],
        closed: Callable[[Exception | None], None],
        options: LinkOptions,
    ) -> Pipe:
        opened.append(Pipe(server, receiver))
        if remote.port == 1:
            closed(None)
        if remote.port == 2:
            closed(ConnectionResetError("reset"))
        return opened[-1]

    monkeypatch.setattr("turn.aio.driver.open_link", open_link)
    return opened


def config(url: str = URL, client: TurnClientConfig = QUIET) -> TurnServerConfig:
    return TurnServerConfig(url=url, username="maria", password="secret", client=client)


@pytest.mark.parametrize(
    ("port", "text"), [(1, "the server closed the connection"), (2, "the connection broke: reset")]
)
@virtual_time
async def test_a_connection_that_ends_as_it_opens_is_told_at_once(pipes: list[Pipe], port: int, text: str) -> None:
    began = asyncio.get_running_loop().time()
    with pytest.raises(errors.TurnUnreachableError, match=text) as caught:
        await turn.allocate(config(f"turn:{SERVER.host}:{port}?transport=tcp"))
    assert asyncio.get_running_loop().time() - began < 1.0
    assert SERVER.host in caught.value.server
    assert [(pipe.closed, pipe.offered) for pipe in pipes] == [(1, [])]


@virtual_time
async def test_a_connection_full_of_data_loses_data_and_no_request(pipes: list[Pipe]) -> None:
    async with turn.allocate(config()) as allocation:
        (pipe,) = pipes
        await allocation.permit(PEER.host)
        pipe.full = True
        permitting = asyncio.ensure_future(allocation.permit("203.0.113.77"))
        await asyncio.sleep(0.02)
        offered = len(pipe.offered)
        for _ in range(5):
            allocation.send(b"x", PEER)
        assert len(pipe.offered) == offered, "data does not take the place that the request waits for"
        await asyncio.sleep(1.0)
        assert len(pipe.offered) - offered == pytest.approx(20, abs=1)
        pipe.full = False
        await asyncio.wait_for(permitting, 0.1)
        allocation.send(b"x", PEER)
        assert pipe.offered[-1].endswith(b"x\0\0\0")


@virtual_time
async def test_a_closed_allocation_offers_nothing_any_more(pipes: list[Pipe]) -> None:
    allocation = await turn.allocate(config())
    pipes[0].full = True
    await allocation.close()
    offered = len(pipes[0].offered)
    await asyncio.sleep(10.0)
    assert len(pipes[0].offered) == offered


@virtual_time
async def test_many_datagrams_in_one_read_all_reach_who_takes_them_at_once(pipes: list[Pipe]) -> None:
    limited = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND, max_received=4)
    async with turn.allocate(config(client=limited)) as allocation:
        await allocation.bind_channel(PEER)
        taken: list[bytes] = []
        allocation.set_receiver(lambda data, peer: taken.append(data))
        sent = [b"%012d" % number for number in range(1000)]
        pipes[0]._receiver(b"".join(b"\x40\0\0\x0c" + data for data in sent))
        assert taken == sent


@virtual_time
async def test_a_listener_that_raises_breaks_no_stream(pipes: list[Pipe]) -> None:
    async with turn.allocate(config()) as allocation:
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context["exception"]))
        await allocation.bind_channel(PEER)

        def complain(*_: object) -> None:
            raise ZeroDivisionError

        allocation.on("data", complain)
        allocation.on("permissionfailed", complain)
        pipes[0]._receiver(b"\x40\0\0\1x\0\0\0")  # asyncio closes a connection whose protocol raises
        pipes[0]._server.refuse(Method.CREATE_PERMISSION, 403)
        with pytest.raises(errors.TurnForbiddenError):
            await allocation.permit("203.0.113.77")
        await asyncio.sleep(0.1)
        assert [type(problem) for problem in problems] == [ZeroDivisionError] * 2
        assert allocation.error is None
