"""Links of sessions to TURN servers, at the worst moments: redirected, ended while they are opened, full of data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ice.aio import Session
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.link import LinkOptions
from stun.message import Method
from tests.ice.builders import remote
from tests.ice.sessions import behind, relayed, session
from tests.simulation import World, virtual_time
from tests.stun.certificates import Authority
from tests.turn.aio.tcp_server import tcp_fake
from tests.turn.aio.test_driver import Pipe
from tests.turn.fake_server import RELAYED, SERVER, FakeServer, Refusal
from turn.config import TurnServerConfig

pytestmark = pytest.mark.timeout(20)


async def test_the_alternate_server_shows_the_name_of_the_redirect(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    async with (
        tcp_fake(certificate=authority.issue("one.test")) as first,
        tcp_fake(certificate=authority.issue("two.test")) as second,
    ):
        server = TurnServerConfig(
            url=first.url, username="maria", password="secret", server_name="one.test", ssl_context=authority.context
        )
        alternate = TransportAddress("127.0.0.1", second.port)
        redirect = [(att.ALTERNATE_SERVER, alternate), (att.ALTERNATE_DOMAIN, "two.test")]
        for extra, problem in ((redirect, ""), (redirect[:1], "not for one.test")):
            first.server.refuse(Method.ALLOCATE, Refusal(300, extra))  # type: ignore[arg-type]
            session = Session(Role.CONTROLLING, relayed(server))
            try:
                await session.gather()
                [relay] = session.stats().agent.relays
                assert relay.server.startswith(str(alternate))
                assert problem in relay.error_text
                assert relay.error_code == (701 if problem else None)
            finally:
                await session.close()


class Pipes:
    """Every stream that was opened; all lead to one server, those to port 1 and 2 end as they open."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self.opened: list[Pipe] = []

    async def open_link(
        self,
        remote: TransportAddress,
        protocol: TransportProtocol,
        *,
        receiver: Callable[[bytes], None],
        closed: Callable[[Exception | None], None],
        options: LinkOptions,
    ) -> Pipe:
        pipe = Pipe(self.server, receiver)
        pipe.path = pipe.path._replace(remote=remote)
        pipe.full = remote.port in (1, 2)  # Nothing is taken after the end.
        self.opened.append(pipe)
        if remote.port == 1:
            closed(None)
        if remote.port == 2:
            closed(ConnectionResetError("reset"))
        return pipe


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> Pipes:
    """What takes the place of connections."""
    made = Pipes()
    monkeypatch.setattr("ice.aio.server_links.open_link", made.open_link)
    return made


def by(port: int = SERVER.port) -> Session:
    """A session whose one server is asked over TCP."""
    url = f"turn:{SERVER.host}:{port}?transport=tcp"
    config = relayed(TurnServerConfig(url=url, username="maria", password="secret"))
    return session(behind(World(), 7, None), Role.CONTROLLING, config)


@pytest.mark.parametrize(
    ("port", "text"), [(1, "the server closed the connection"), (2, "the connection broke: reset")]
)
@virtual_time
async def test_a_connection_that_ends_as_it_opens_is_told_at_once(pipes: Pipes, port: int, text: str) -> None:
    alone, began = by(port), asyncio.get_running_loop().time()
    await alone.gather()
    assert asyncio.get_running_loop().time() - began < 0.1
    [relay] = alone.stats().agent.relays
    assert text in relay.error_text
    assert SERVER.host in relay.error_text
    assert [(pipe.closed, pipe.offered) for pipe in pipes.opened] == [(1, [])]
    await alone.close()


@virtual_time
async def test_a_connection_full_of_data_loses_data_and_no_request(pipes: Pipes) -> None:
    alone = by()
    await alone.gather()
    [pipe] = pipes.opened
    driver = alone._driver_now()
    peer = remote(9).address
    alone.set_remote_description(Session(Role.CONTROLLED).local_description)
    alone.add_remote_candidate(remote(9))
    await asyncio.sleep(0.1)
    send = driver.sender(FiveTuple(RELAYED, peer))
    assert send is not None
    assert send(b"data", peer)
    pipe.full = True
    alone.add_remote_candidate(remote(10))
    await asyncio.sleep(0.02)
    offered = len(pipe.offered)
    assert not send(b"data", peer)
    assert len(pipe.offered) == offered, "data does not take the place that the request waits for"
    await asyncio.sleep(1.0)
    asked = pipes.server.count(Method.CREATE_PERMISSION)
    pipe.full = False
    await asyncio.sleep(0.1)
    assert pipes.server.count(Method.CREATE_PERMISSION) == asked + 1
    assert send(b"data", peer)
    await alone.close()


@virtual_time
async def test_a_closed_session_offers_nothing_any_more(pipes: Pipes) -> None:
    alone = by()
    await alone.gather()
    [pipe] = pipes.opened
    pipe.full = True
    await alone.close()
    await asyncio.sleep(2.0)
    offered = len(pipe.offered)
    await asyncio.sleep(10.0)
    assert len(pipe.offered) == offered
    assert pipe.closed == 1


@virtual_time
async def test_giving_an_allocation_back_waits_for_room_too(pipes: Pipes) -> None:
    alone = by()
    await alone.gather()
    [pipe] = pipes.opened
    pipe.full = True
    closing = asyncio.ensure_future(alone.close())
    await asyncio.sleep(0.2)
    assert pipes.server.count(Method.REFRESH) == 0
    pipe.full = False
    await closing
    assert pipes.server.count(Method.REFRESH) == 1
