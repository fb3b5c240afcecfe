"""Links of sessions to TURN servers, at the worst moments: redirected, ended while they are opened, full of data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ice.aio import Session
from ice.config import IceConfig, IceTransportPolicy
from ice.roles import Role
from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Method
from tests.stun.certificates import Authority
from tests.turn.aio.tcp_server import tcp_fake
from tests.turn.fake_server import Refusal
from turn.config import TurnServerConfig

pytestmark = pytest.mark.timeout(20)


def relayed(server: TurnServerConfig) -> IceConfig:
    return IceConfig(turn_servers=[server], transport_policy=IceTransportPolicy.RELAY, include_loopback=True)


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
