"""Our TURN client against coturn: every transport, both families, RFC 6062, mobility, and what a user is told.

Debian's coturn (4.6) speaks MD5 only; SHA-256 and USERHASH are tested against our own server.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from pathlib import Path

import pytest

import turn
from stun.address import TransportAddress
from stun.aio import UdpNetwork
from stun.config import StreamConfig, TransactionConfig
from tests.interop.coturn import STATIC_USER, Coturn, a_config, coturn, free_port_pairs, needs_coturn
from tests.ports import silent_port
from tests.stun.certificates import Authority
from turn import errors
from turn.config import (
    ChannelPolicy,
    Credentials,
    EvenPort,
    RedirectPolicy,
    RelayTransport,
    TurnClientConfig,
    TurnServerConfig,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60), needs_coturn]

HOSTS = ["127.0.0.1", "::1"]
PROTOCOLS = ["udp", "tcp", "tls", "dtls"]
IMPATIENT = TurnClientConfig(
    transaction=TransactionConfig(initial_rto=0.1, sends=3, last_wait=4.0, stream_timeout=5.0),
    stream=StreamConfig(connect_timeout=5.0),
)
SLOW = TurnClientConfig(transaction=TransactionConfig(initial_rto=15.0))
"""Whatever it has to say twice takes longer than any busy machine."""
EAGER = TurnClientConfig(permission_margin=299.8, permission_window=0.0, channels=ChannelPolicy.ON_DEMAND)
"""Refreshes its permissions five times a second, so that what a server does with later requests shows at once."""


async def both_ways(one: turn.TurnAllocation, other: turn.TurnAllocation, rounds: int = 20) -> None:
    """Relay datagrams to and fro between the last relayed addresses of two allocations."""
    await asyncio.gather(one.permit(other.relayed[-1].host), other.permit(one.relayed[-1].host))
    for number in range(rounds):
        data = b"%d" % number * (number + 1)
        one.send(data, other.relayed[-1])
        assert await other.receive() == (data, one.relayed[-1])
        other.send(data, one.relayed[-1])
        assert await one.receive() == (data, other.relayed[-1])


# -- transports and families


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_it_relays_over_every_transport(protocol: str, host: str, family: int, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    certificate = Path(authority.issue("localhost", *HOSTS))
    async with coturn(tmp_path, *STATIC_USER, certificate=certificate) as server:
        url = server.url(protocol, host)
        config = a_config(url, families=(family,), ssl_context=authority.context)
        async with turn.allocate(config) as one, turn.allocate(config) as other:
            assert one.path.remote.host == host
            assert str(one.path.protocol) == protocol
            assert one.mapped == one.path.local
            assert [address.family for address in one.relayed] == [family]
            await both_ways(one, other)
            # Traffic has earned both a channel.
            await one.bind_channel(other.relayed[0])
            await both_ways(one, other, rounds=3)
        assert one.error is not None
    assert server.said("lifetime=0") == 2, "both were given back, not left to expire"


async def test_a_server_that_knows_no_dual_allocations(tmp_path: Path) -> None:
    # coturn 4.6 has the attributes of RFC 8656 section 18.11 under the numbers of a draft.
    async with (
        coturn(tmp_path, *STATIC_USER) as server,
        turn.allocate(a_config(server.url("udp"), families=(4, 6))) as allocation,
    ):
        assert [address.family for address in allocation.relayed] == [4]
        assert allocation.info is not None
        (problem,) = allocation.info.family_errors
        assert isinstance(problem, errors.TurnAddressFamilyError)
        assert "IPv6" in str(problem)


async def test_a_peer_without_turn(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
    peer = await UdpNetwork().bind(TransportAddress("127.0.0.1", 0), lambda data, who: arrived.put_nowait((data, who)))
    async with (
        coturn(tmp_path, *STATIC_USER) as server,
        turn.allocate(a_config(server.url("udp"), dont_fragment=False, client=SLOW)) as allocation,
    ):
        start = loop.time()
        allocation.send(b"before any permission", peer.local)
        assert await arrived.get() == (b"before any permission", allocation.relayed[0])
        assert loop.time() - start < SLOW.transaction.initial_rto, "nothing was lost and asked for again"
        peer.send(b"answer", allocation.relayed[0])
        assert await allocation.receive() == (b"answer", peer.local)
    peer.close()


async def test_an_even_port_and_the_next_one(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        even = a_config(server.url("udp"), even_port=EvenPort.EVEN_AND_RESERVE_NEXT)
        async with turn.allocate(even) as first:
            assert first.relayed[0].port % 2 == 0
            assert first.info is not None
            token = first.info.reservation_token
            assert token is not None
            async with turn.allocate(a_config(server.url("udp"), reservation_token=token)) as second:
                assert second.relayed[0].port == first.relayed[0].port + 1


# -- what a user is told


async def test_a_wrong_password(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        for protocol in ("udp", "tcp"):
            with pytest.raises(errors.TurnCredentialsError, match="401") as caught:
                await turn.allocate(a_config(server.url(protocol), password="guess"))
            assert caught.value.code == 401
            assert str(server.port) in caught.value.server
        with pytest.raises(errors.TurnCredentialsError, match="wants a user name"):
            await turn.allocate(TurnServerConfig(url=server.url("udp")))


async def test_a_used_up_quota(tmp_path: Path) -> None:
    async with (
        coturn(tmp_path, *STATIC_USER, "--user-quota=1") as server,
        turn.allocate(a_config(server.url("udp"))),
    ):
        with pytest.raises(errors.TurnQuotaError) as caught:
            await turn.allocate(a_config(server.url("udp")))
        assert (caught.value.code, caught.value.retry_after) == (486, 60.0)


async def test_a_forbidden_peer(tmp_path: Path) -> None:
    async with (
        coturn(tmp_path, *STATIC_USER, "--denied-peer-ip=192.0.2.0-192.0.2.255") as server,
        turn.allocate(a_config(server.url("udp"))) as allocation,
    ):
        with pytest.raises(errors.TurnForbiddenError, match="403"):
            await allocation.permit("192.0.2.77")
        await allocation.permit("127.0.0.1")
        results = await asyncio.gather(*map(allocation.permit, ("192.0.2.78", "127.0.0.2")), return_exceptions=True)
        assert [type(result) for result in results] == [errors.TurnForbiddenError, type(None)], "one by one"
        with pytest.raises(errors.TurnPeerFamilyError):
            await allocation.permit("::1")


@pytest.mark.parametrize("protocol", ["tls", "dtls"])
async def test_a_self_signed_certificate(protocol: str, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    certificate = Path(authority.issue("localhost", *HOSTS, self_signed=True))
    async with coturn(tmp_path, *STATIC_USER, certificate=certificate) as server:
        with pytest.raises(errors.TurnTlsError, match="self-signed"):
            await turn.allocate(a_config(server.url(protocol)))


@pytest.mark.parametrize("protocol", ["tls", "dtls"])
async def test_a_certificate_for_another_name(protocol: str, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    certificate = Path(authority.issue("turn.example.org"))
    async with coturn(tmp_path, *STATIC_USER, certificate=certificate) as server:
        config = a_config(server.url(protocol), ssl_context=authority.context, server_name="other.example.org")
        with pytest.raises(errors.TurnTlsError, match="not for"):
            await turn.allocate(config)
        named = a_config(server.url(protocol), ssl_context=authority.context, server_name="turn.example.org")
        async with turn.allocate(named) as allocation:
            assert allocation.relayed


async def test_a_server_that_is_not_there() -> None:
    with silent_port() as address:
        with pytest.raises(errors.TurnUnreachableError, match="refused"):
            await turn.allocate(a_config(f"turn:{address}?transport=tcp", client=IMPATIENT))
        with pytest.raises(errors.TurnTimeoutError, match="no response"):
            await turn.allocate(a_config(f"turn:{address}", client=IMPATIENT))
    with pytest.raises(errors.TurnResolveError, match="does not resolve"):
        await turn.allocate(a_config("turn:nowhere.invalid:3478", client=IMPATIENT))


async def test_a_server_without_tcp_relaying(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER, "--no-tcp-relay") as server:
        config = a_config(server.url("tcp"), transport=RelayTransport.TCP, client=IMPATIENT)
        with pytest.raises((errors.TurnTransportError, errors.TurnForbiddenError)) as caught:
            await turn.allocate(config)
        assert caught.value.code in (403, 442)


# -- over time


async def test_stale_nonces(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER, "--stale-nonce=1") as server:
        config = a_config(server.url("udp"), client=EAGER)
        async with turn.allocate(config) as one, turn.allocate(config) as other:
            await both_ways(one, other, rounds=2)
            await asyncio.sleep(2.5)
            await both_ways(one, other, rounds=2)
            assert one.error is None
        assert server.said("Wrong nonce") + server.said("Stale nonce") >= 2


def rest_user(secret: str, lifetime: int) -> Credentials:
    """Time-limited credentials as a REST service hands them out."""
    username = f"{int(time.time()) + lifetime}:maria"
    digest = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
    return Credentials(username, base64.b64encode(digest).decode(), lifetime)


async def test_credentials_that_expire_under_a_live_allocation(tmp_path: Path) -> None:
    handed_out: list[Credentials] = []

    async def provider() -> Credentials:
        handed_out.append(rest_user("shared secret", 2))
        return handed_out[-1]

    options = ("--use-auth-secret", "--static-auth-secret=shared secret", "--realm=example.org", "--stale-nonce=1")
    async with coturn(tmp_path, *options) as server:
        config = a_config(server.url("udp"), credentials=provider, client=EAGER)
        async with turn.allocate(config) as one, turn.allocate(config) as other:
            relayed = one.relayed
            await both_ways(one, other, rounds=2)
            await asyncio.sleep(3.5)
            assert one.error is None
            assert one.relayed == relayed
            await both_ways(one, other, rounds=2)
            fresh = [credentials.username for credentials in handed_out]
            assert len(fresh) >= 4, "each allocation has fetched new ones while it lived"
            async with turn.allocate(config) as third:
                assert third.relayed
        expired = rest_user("shared secret", -10)
        with pytest.raises(errors.TurnCredentialsError):
            await turn.allocate(a_config(server.url("udp"), username=expired.username, password=expired.password))


async def test_an_allocation_moves(tmp_path: Path) -> None:
    # Over UDP only: coturn 4.6 answers a move over TCP with bytes that are no STUN message.
    async with coturn(tmp_path, *STATIC_USER, "--mobility") as server:
        mobile = a_config(server.url("udp"), mobility=True, client=EAGER)
        async with turn.allocate(mobile) as one, turn.allocate(a_config(server.url("udp"))) as other:
            assert one.info is not None
            assert one.info.mobile
            await both_ways(one, other, rounds=3)
            for _ in range(2):
                before, relayed = one.path, one.relayed
                await one.move()
                assert one.path != before
                assert one.relayed == relayed
                await both_ways(one, other, rounds=3)


async def test_a_server_without_mobility(tmp_path: Path) -> None:
    async with (
        coturn(tmp_path, *STATIC_USER) as server,
        turn.allocate(a_config(server.url("udp"), mobility=True)) as allocation,
    ):
        assert allocation.info is not None
        assert not allocation.info.mobile
        with pytest.raises(ValueError, match="mobility"):
            await allocation.move()
        assert allocation.error is None


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
async def test_redirects(protocol: str, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    async with coturn(tmp_path / "second", *STATIC_USER) as second:
        alternate = f"--alternate-server=127.0.0.1:{second.port}"
        async with coturn(tmp_path, *STATIC_USER, alternate) as first:
            # coturn redirects before it authenticates, so nothing protects the response.
            with pytest.raises(errors.TurnRedirectError) as caught:
                await turn.allocate(a_config(first.url(protocol)))
            assert caught.value.alternates == (TransportAddress("127.0.0.1", second.port),)
            assert not caught.value.is_signed
            trusting = a_config(first.url(protocol), redirects=RedirectPolicy.ANY)
            async with turn.allocate(trusting) as allocation:
                assert allocation.path.remote.port == second.port


async def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    port, _ = ports = free_port_pairs(2)
    (tmp_path / "second").mkdir()
    async with (
        coturn(tmp_path, *STATIC_USER, f"--alternate-server=127.0.0.1:{ports[1]}", port=port) as first,
        coturn(tmp_path / "second", *STATIC_USER, f"--alternate-server=127.0.0.1:{port}", port=ports[1]),
    ):
        with pytest.raises(errors.TurnRedirectError):
            await turn.allocate(a_config(first.url("udp"), redirects=RedirectPolicy.ANY))


async def test_two_servers_at_once_and_one_of_them_dies(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    async with coturn(tmp_path, *STATIC_USER) as first, coturn(tmp_path / "second", *STATIC_USER) as second:
        configs = [a_config(server.url("tcp")) for server in (first, second)]
        async with turn.allocate(configs[0]) as one, turn.allocate(configs[1]) as other:
            await both_ways(one, other)
            lost: asyncio.Future[errors.TurnError] = asyncio.get_running_loop().create_future()
            one.on("lost", lost.set_result)
            first.process.kill()
            reason = await lost
            assert isinstance(reason, errors.TurnUnreachableError)
            assert str(first.port) in reason.server
            with pytest.raises(errors.TurnUnreachableError):
                await one.receive()
            with pytest.raises(errors.TurnUnreachableError):
                one.send(b"x", other.relayed[0])
            assert other.error is None
            await other.permit("127.0.0.2")


def test_the_helper_knows_its_urls() -> None:
    server = Coturn(1, 2, Path(), None)  # type: ignore[arg-type]
    assert server.url("dtls", "::1") == "turns:[::1]:2?transport=udp"
