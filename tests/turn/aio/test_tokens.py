"""Access tokens over sockets: our client and our server, tokens that run out, peers over TCP, providers that fail."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

import turn
from stun.address import TransportAddress, TransportProtocol
from tests.turn.aio.service.running import config_for, running, udp_echo
from turn import errors
from turn.access_token import TokenContents, TokenKey, seal_token
from turn.aio.credentials import fetch_again, fetch_credentials
from turn.config import AccessToken, RelayTransport, TurnClientConfig, TurnServerConfig
from turn.service.config import TokenConfig

KEY = TokenKey(kid="north", key=bytes(range(32)))
TOKENS = TokenConfig(server_name="relay.example.org", keys=(KEY,))
EAGER = TurnClientConfig(credentials_margin=0.5, credentials_timeout=0.2)


def sealed(issued: float, lifetime: int = 60, server_name: str = TOKENS.server_name) -> AccessToken:
    """Return a token of that age."""
    contents = TokenContents(os.urandom(20), issued, lifetime)
    token = seal_token(KEY, server_name, contents, os.urandom(12))
    return AccessToken(KEY.kid, token, contents.mac_key, float(lifetime))


class Issuer:
    """An authorization server."""

    def __init__(self, lifetime: int) -> None:
        self.given = 0
        self._lifetime = lifetime
        self._news = asyncio.Condition()

    async def has_given(self, tokens: int) -> None:
        """Return when so many have been handed out."""
        async with self._news:
            await self._news.wait_for(lambda: self.given >= tokens)

    async def __call__(self, server_name: str) -> AccessToken:
        self.given += 1
        async with self._news:
            self._news.notify_all()
        return sealed(time.time(), self._lifetime, server_name)


async def echoed(allocation: turn.TurnAllocation, peer: TransportAddress, data: bytes) -> None:
    allocation.send(data, peer)
    async with asyncio.timeout(5):
        assert await allocation.receive() == (data, peer)


@pytest.mark.parametrize("protocol", [TransportProtocol.UDP, TransportProtocol.TCP])
async def test_tokens_that_end_under_a_live_allocation(protocol: TransportProtocol) -> None:
    issuer = Issuer(lifetime=2)
    async with running(tokens=TOKENS) as service, udp_echo() as peer:
        config = config_for(service, protocol, username=None, password=None, access_tokens=issuer, client=EAGER)
        async with turn.allocate(config) as allocation:
            await echoed(allocation, peer, b"before")
            await asyncio.sleep(4.5)
            assert allocation.error is None
            await allocation.permit("127.0.0.77")
            await echoed(allocation, peer, b"after")
            assert issuer.given >= 3


async def test_connections_to_peers() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()

    peers = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = TransportAddress(*peers.sockets[0].getsockname())
    async with running(tokens=TOKENS) as service:
        config = config_for(
            service,
            TransportProtocol.TCP,
            username=None,
            password=None,
            access_tokens=Issuer(600),
            transport=RelayTransport.TCP,
        )
        async with turn.allocate(config) as allocation, await allocation.connect(address) as stream:
            await stream.write(b"hello")
            assert await stream.read_exactly(5) == b"hello"
    peers.close()
    await peers.wait_closed()


async def test_providers_that_fail() -> None:
    async def raises(server_name: str) -> AccessToken:
        raise LookupError(f"{server_name} is not ours")

    async def hangs(server_name: str) -> AccessToken:
        await asyncio.sleep(1e6)
        raise AssertionError("nobody waits for so long")

    async def nothing(server_name: str) -> AccessToken:
        return None  # type: ignore[return-value]

    async def unsendable(server_name: str) -> AccessToken:
        return AccessToken("k" * 600, b"token", bytes(20))

    async with running(tokens=TOKENS) as service:
        for provider, text in (
            (raises, r"relay\.example\.org is not ours"),
            (hangs, r"within 0\.2 s"),
            (nothing, "turn.AccessToken, not NoneType"),
            (unsendable, "cannot be sent"),
        ):
            config = config_for(service, username=None, password=None, access_tokens=provider, client=EAGER)
            with pytest.raises(errors.TurnCredentialsError, match=text) as caught:
                await turn.allocate(config)
            assert "127.0.0.1" in caught.value.server


async def test_what_is_fetched_at_first_and_again() -> None:
    only, fixed = Issuer(60), AccessToken("north", b"token", bytes(20))
    config = TurnServerConfig(url="turn:h", access_tokens=only)
    assert await fetch_credentials(config) is None
    assert (await fetch_again(config, "relay.example.org")).kid == "north"  # type: ignore[union-attr]
    with pytest.raises(errors.TurnCredentialsError, match="nobody hands out credentials"):
        await fetch_again(config, None)
    named = TurnServerConfig(url="turn:h", access_tokens=fixed, username="maria", password="secret")
    assert await fetch_credentials(named) == await fetch_again(named, None) == named.fixed_credentials
    assert await fetch_again(named, "relay.example.org") is fixed


async def test_a_token_that_is_at_hand_serves_and_one_that_has_ended_is_shown_once() -> None:
    async with running(tokens=TOKENS) as service, udp_echo() as peer:
        good = config_for(service, username=None, password=None, access_tokens=sealed(time.time()))
        async with turn.allocate(good) as allocation:
            await echoed(allocation, peer, b"hello")
        bad = config_for(service, username=None, password=None, access_tokens=sealed(time.time() - 1000.0))
        with pytest.raises(errors.TurnCredentialsError) as caught:
            await turn.allocate(bad)
        assert caught.value.code == 401


@pytest.mark.parametrize(("text", "raw"), [("YWI/", b"ab?"), ("YWI_", b"ab?"), ("YQ", b"a"), ("YQ==", b"a")])
def test_a_token_that_came_as_text(text: str, raw: bytes) -> None:
    token = AccessToken.from_text("north", text, text, 600.0)
    assert token == AccessToken("north", raw, raw, 600.0)
    assert "YW" not in repr(token)


@pytest.mark.parametrize("text", ["", "=", "a", "YW\n", "\u00fc\u00fc", "YW I_"])
def test_text_that_is_no_token(text: str) -> None:
    with pytest.raises(ValueError, match="key or token"):
        AccessToken.from_text("north", "YWI/", text)
