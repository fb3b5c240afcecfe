"""The limits of TLS and DTLS listeners: clients that say nothing, too many of them, lost datagrams, forged sources."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from stun.address import TransportAddress, TransportProtocol
from stun.aio import UdpNetwork
from stun.aio.dtls_session import DtlsSession, Phase, dtls_client_context, dtls_server_context
from stun.aio.tls import TlsConnection, serve_tls, server_context
from stun.config import ListenerConfig, StreamConfig
from stun.dtls_cookie import CookieExchange, parse_client_hello
from stun.errors import StunHandshakeError, StunLinkError
from tests.stun.aio.test_link import DTLS, HERE, TLS, Echo, Inbox, echo, eventually
from tests.stun.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("protocol", [TLS, DTLS])
@pytest.mark.parametrize(
    "limits",
    [
        ListenerConfig(max_connections=2),
        ListenerConfig(max_connections_per_source=2),
    ],
    ids=["in all", "of a source"],
)
async def test_more_connections_than_allowed(
    protocol: TransportProtocol, limits: ListenerConfig, authority: Authority
) -> None:
    async with echo(protocol, authority.issue("127.0.0.1"), limits) as (peer, listener):
        options: dict[str, Any] = {"ssl_context": authority.context}
        links = [await Inbox().open(listener.local, protocol, **options) for _ in range(2)]
        with pytest.raises((StunLinkError, TimeoutError)):
            async with asyncio.timeout(1):
                await Inbox().open(listener.local, protocol, **options)
        assert listener.refused >= 1
        assert listener.connections == 2
        links.pop().close()
        await peer.until(lambda: len(peer.gone) == 1)
        links.append(await Inbox().open(listener.local, protocol, **options))
        for link in links:
            link.close()


async def test_a_tcp_client_that_never_speaks_tls_is_dropped(authority: Authority) -> None:
    limits = ListenerConfig(handshake_timeout=0.2, max_handshakes=2)
    async with echo(TLS, authority.issue("127.0.0.1"), limits) as (_, listener):
        mute = [await asyncio.open_connection(*listener.local) for _ in range(3)]
        async with asyncio.timeout(5):
            for reader, writer in mute:
                assert await reader.read() == b""
                writer.close()
        assert (listener.refused, listener.connections) == (1, 0)
        assert listener.failed_handshakes == 2
        (await Inbox().open(listener.local, TLS, ssl_context=authority.context)).close()


@pytest.mark.parametrize("protocol", [TLS, DTLS])
async def test_an_idle_connection_is_closed(protocol: TransportProtocol, authority: Authority) -> None:
    limits = ListenerConfig(idle_timeout=0.2)
    async with echo(protocol, authority.issue("127.0.0.1"), limits) as (peer, listener):
        inbox = Inbox()
        link = await inbox.open(listener.local, protocol, ssl_context=authority.context)
        async with asyncio.timeout(5):
            assert await inbox.closed is None
        await peer.until(lambda: len(peer.gone) == 1)
        assert listener.connections == 0
        link.close()


async def test_a_connection_that_was_taken_over_is_its_new_owners_to_close(authority: Authority) -> None:
    class Owner(asyncio.Protocol):
        """Reads what the listener no longer sees, as the splice of RFC 6062 does."""

    limits = ListenerConfig(idle_timeout=0.05)
    async with echo(TransportProtocol.TLS, authority.issue("127.0.0.1"), limits) as (peer, listener):
        link = await Inbox().open(listener.local, TransportProtocol.TLS, ssl_context=authority.context)
        await peer.until(lambda: len(peer.opened) == 1)
        connection = peer.opened[0]
        assert isinstance(connection, TlsConnection)
        assert connection.transport is not None
        owner = Owner()
        connection.transport.set_protocol(owner)
        await asyncio.sleep(0.2)
        assert not connection.is_closed
        connection.transport.set_protocol(connection)
        link.close()
        await peer.until(lambda: len(peer.gone) == 1)


async def test_a_listener_without_descriptors_pauses_and_goes_on(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exhausted:
        """A listening socket whose first accept fails as it does without descriptors."""

        def __init__(self, real: socket.socket) -> None:
            self.real = real
            self.failures = 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.real, name)

        def accept(self) -> object:
            if not self.failures:
                self.failures += 1
                raise OSError(errno.EMFILE, "Too many open files")
            return self.real.accept()

    peer = Echo()
    callbacks = (peer.on_opened, peer.on_received, peer.on_gone)
    config = StreamConfig(accept_pause=0.05)
    listener = await serve_tls(HERE, server_context(authority.issue("127.0.0.1")), *callbacks, config=config)
    exhausted = Exhausted(listener._socket)
    monkeypatch.setattr(listener, "_socket", exhausted)
    link = await Inbox().open(listener.local, TLS, ssl_context=authority.context)
    assert exhausted.failures == 1
    link.close()
    await peer.until(lambda: len(peer.gone) == 1)
    listener.close()


async def test_a_handshake_ended_by_close_leaves_nothing(authority: Authority) -> None:
    async with echo(TLS, authority.issue("127.0.0.1")) as (_, listener):
        reader, writer = await asyncio.open_connection(*listener.local)
        await eventually(lambda: listener.connections == 1)
        listener.close()
        listener.close()
        assert await reader.read() == b""
        writer.close()
        assert listener.connections == 0


# -- DTLS sessions, datagram by datagram --


def client(authority: Authority) -> DtlsSession:
    session = DtlsSession(dtls_client_context(authority.context), 1200)
    session.connect("127.0.0.1")
    return session


def test_flights_are_packed_into_datagrams_and_no_lost_one_is_missed(authority: Authority) -> None:
    exchange, source = CookieExchange(bytes(32)), ("127.0.0.1", 5000)
    ours = client(authority)
    (hello,) = ours.take()
    challenge = exchange.challenge(parse_client_hello(hello), source, 0.0)
    assert len(challenge) < len(hello)
    ours.receive(challenge)
    (proven,) = ours.take()
    theirs = DtlsSession(dtls_server_context(authority.issue("127.0.0.1")), 300)
    theirs.accept(proven)
    flight = theirs.take()
    assert len(flight) >= 3
    assert max(map(len, flight)) <= 300
    for datagram in flight[:1] + flight[2:]:  # one is lost
        ours.receive(datagram)
    assert ours.take() == []
    assert ours.phase is Phase.HANDSHAKE
    assert 0 < (theirs.timeout() or 0) <= 1
    for datagram in flight:  # what the retransmission brings
        ours.receive(datagram)
    for datagram in ours.take():
        theirs.receive(datagram)
    for datagram in theirs.take():
        ours.receive(datagram)
    assert (ours.phase, theirs.phase) == (Phase.OPEN, Phase.OPEN)
    assert ours.timeout() is None
    assert ours.send(b"once")
    (datagram,) = ours.take()
    assert theirs.receive(datagram) == [b"once"]
    assert theirs.receive(datagram) == []  # a replay
    assert theirs.receive(b"\x17\xfe\xfd" + bytes(40)) == []
    assert theirs.receive(datagram[:20]) == []
    assert not ours.send(bytes(20000))
    assert ours.send(b"still open")
    (datagram,) = ours.take()
    assert theirs.receive(datagram) == [b"still open"]


class Wire:
    """A UDP socket whose datagrams a test moves by hand."""

    def __init__(self, server: TransportAddress) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.socket = UdpNetwork().bind_now(HERE, lambda data, remote: self.inbox.put_nowait(data))
        self.server = server

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.socket.send(datagram, self.server)

    async def next(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.inbox.get()

    async def handshake(self, session: DtlsSession) -> None:
        self.send(*session.take())
        while session.phase is Phase.HANDSHAKE:
            session.receive(await self.next())
            self.send(*session.take())


async def test_an_unproven_client_costs_nothing(authority: Authority) -> None:
    limits = ListenerConfig(hello_rate=0.001, hello_burst=5)
    async with echo(DTLS, authority.issue("127.0.0.1"), limits) as (peer, listener):
        wire = Wire(listener.local)
        (hello,) = client(authority).take()
        wire.send(*[hello] * 8, b"", b"\x16", hello[:30], bytes(64))
        for _ in range(5):
            assert len(await wire.next()) < len(hello)
        await eventually(lambda: getattr(listener, "ignored", 0) == 4)
        assert (listener.connections, peer.opened) == (0, [])
        assert getattr(listener, "limited", None) == 3
        assert wire.inbox.empty()
        wire.socket.close()


async def test_a_client_that_starts_anew_on_its_port_replaces_its_session(authority: Authority) -> None:
    async with echo(DTLS, authority.issue("127.0.0.1")) as (peer, listener):
        wire = Wire(listener.local)
        first, second = client(authority), client(authority)
        await wire.handshake(first)
        await wire.handshake(second)
        await peer.until(lambda: len(peer.gone) == 1)
        assert (len(peer.opened), listener.connections) == (2, 1)
        second.send(b"hello")
        wire.send(*second.take())
        found: list[bytes] = []
        while not found:
            found = second.receive(await wire.next())
        assert found == [b"hello"]
        wire.socket.close()


async def test_a_client_that_does_not_finish_is_forgotten(authority: Authority) -> None:
    limits = ListenerConfig(handshake_timeout=0.2)
    async with echo(DTLS, authority.issue("127.0.0.1"), limits) as (peer, listener):
        wire = Wire(listener.local)
        session = client(authority)
        wire.send(*session.take())
        session.receive(await wire.next())
        wire.send(*session.take())
        await wire.next()
        assert listener.connections == 1
        await eventually(lambda: listener.connections == 0)
        assert listener.failed_handshakes == 1
        assert peer.opened == []
        wire.socket.close()


async def test_a_lost_flight_is_sent_again_by_the_timer(authority: Authority) -> None:
    async with echo(DTLS, authority.issue("127.0.0.1")) as (peer, listener):
        wire = Wire(listener.local)
        session = client(authority)
        wire.send(*session.take())
        session.receive(await wire.next())
        wire.send(*session.take())
        flight = [await wire.next()]
        while len(flight) < 2 or not wire.inbox.empty():
            flight.append(await wire.next())  # all of it is lost, and comes again after OpenSSL's first second
        for datagram in flight:
            session.receive(datagram)
        wire.send(*session.take())
        while session.phase is Phase.HANDSHAKE:
            session.receive(await wire.next())
            wire.send(*session.take())
        await peer.until(lambda: len(peer.opened) == 1)
        wire.socket.close()


async def test_a_handshake_that_fails_tells_why(authority: Authority) -> None:
    server = UdpNetwork().bind_now(HERE, lambda data, remote: server.send(alert, remote))
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"
    with pytest.raises(StunHandshakeError, match=r"the DTLS handshake failed: .*alert handshake failure"):
        await Inbox().open(server.local, DTLS, ssl_context=authority.context)
    server.close()
