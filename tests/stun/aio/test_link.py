"""Links to servers over every transport, and what is said when there is none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from OpenSSL.crypto import X509

from stun.address import TransportAddress, TransportProtocol
from stun.aio import SecureServing, UdpNetwork, ask, serve
from stun.aio.dtls_listener import DtlsListener, serve_dtls
from stun.aio.dtls_session import dtls_server_context
from stun.aio.link import LinkOptions, ServerLink, open_link
from stun.aio.tls import TlsListener, serve_tls, server_context
from stun.config import DtlsConfig, ListenerConfig, StreamConfig
from stun.errors import StunCertificateError, StunConfigurationError, StunHandshakeError, StunLinkError
from tests.ports import silent_port
from tests.stun.certificates import Authority

UDP, TCP, TLS, DTLS = TransportProtocol
HERE = TransportAddress("127.0.0.1", 0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("authority"))


class Echo:
    """A TLS or DTLS server that sends back what it gets."""

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.gone: list[Any] = []
        self.changed = asyncio.Event()

    def on_opened(self, connection: Any) -> None:
        self.opened.append(connection)
        self.changed.set()

    def on_received(self, data: bytes, connection: Any) -> None:
        if data:
            connection.send(data)

    def on_gone(self, connection: Any) -> None:
        self.gone.append(connection)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def echo(
    protocol: TransportProtocol, certificate: str, limits: ListenerConfig | None = None
) -> AsyncIterator[tuple[Echo, TlsListener | DtlsListener]]:
    peer = Echo()
    callbacks = (peer.on_opened, peer.on_received, peer.on_gone)
    listener: TlsListener | DtlsListener
    if protocol is TLS:
        listener = await serve_tls(HERE, server_context(certificate, alpn=["stun.turn"]), *callbacks, limits=limits)
    else:
        context = dtls_server_context(certificate, alpn=["stun.turn"])
        listener = await serve_dtls(HERE, context, *callbacks, limits=limits)
    try:
        yield peer, listener
    finally:
        listener.close()
        for connection in peer.opened:
            connection.close()
        await peer.until(lambda: len(peer.gone) == len(peer.opened))


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what no callback tells."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Inbox:
    """What a link gave us."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def open(self, server: TransportAddress, protocol: TransportProtocol, **options: Any) -> ServerLink:
        return await open_link(
            server,
            protocol,
            receiver=self.received.put_nowait,
            closed=self.closed.set_result,
            options=LinkOptions(**options),
        )

    async def next(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.received.get()


@pytest.mark.parametrize("protocol", [TLS, DTLS])
@pytest.mark.parametrize("by_name", [True, False])
async def test_bytes_go_there_and_back(protocol: TransportProtocol, by_name: bool, authority: Authority) -> None:
    name = "turn.test" if by_name else "127.0.0.1"
    async with echo(protocol, authority.issue(name)) as (peer, listener):
        inbox = Inbox()
        server_name = name if by_name else None
        link = await inbox.open(listener.local, protocol, ssl_context=authority.context, server_name=server_name)
        assert (link.is_stream, link.path.protocol) == (protocol.is_stream, protocol)
        assert link.path.remote == listener.local
        for size in (1, 1200, 9000):
            data = bytes(range(256)) * (size // 256) + bytes(size % 256)
            assert link.send(data)
            got = await inbox.next()
            while protocol is TLS and len(got) < size:
                got += await inbox.next()
            assert got == data
        assert peer.opened[0].path.remote == link.path.local
        assert listener.connections == 1
        link.close()
        link.close()
        assert not link.send(b"late")
        await peer.until(lambda: len(peer.gone) == 1)
        assert listener.connections == 0
    assert not inbox.closed.done()


@pytest.mark.parametrize("protocol", [TLS, DTLS])
async def test_alpn_is_agreed_on_and_never_a_condition(protocol: TransportProtocol, authority: Authority) -> None:
    certificate = authority.issue("127.0.0.1")
    async with echo(protocol, certificate) as (peer, listener):
        context = authority.context
        context.set_alpn_protocols(["stun.turn"])
        for alpn in (("stun.turn",), ()):
            trust = context if alpn else authority.context
            link = await Inbox().open(listener.local, protocol, ssl_context=trust, alpn=alpn)
            await peer.until(lambda: bool(peer.opened))
            assert peer.opened.pop().alpn == (alpn[0] if alpn else None)
            link.close()
            await peer.until(lambda: bool(peer.gone))
            peer.gone.clear()


@pytest.mark.parametrize("protocol", [TLS, DTLS])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda ours, other: ours.issue("turn.test", self_signed=True), "the server's certificate is self-signed"),
        (lambda ours, other: other.issue("turn.test"), "an issuer that is not trusted"),
        (lambda ours, other: ours.issue("turn.test", days=(-9, -8)), "the server's certificate has expired"),
        (lambda ours, other: ours.issue("turn.test", days=(8, 9)), "the server's certificate is not valid yet"),
        (lambda ours, other: ours.issue("other.test"), "the server's certificate is not for turn.test"),
        (lambda ours, other: ours.issue("127.0.0.1"), "the server's certificate is not for turn.test"),
    ],
)
async def test_a_certificate_that_is_not_trusted(
    protocol: TransportProtocol, make: Callable[..., str], says: str, authority: Authority, tmp_path: Path
) -> None:
    certificate = make(authority, Authority.make(tmp_path / "other"))
    async with echo(protocol, certificate) as (_, listener):
        with pytest.raises(StunCertificateError, match=says) as caught:
            await Inbox().open(listener.local, protocol, ssl_context=authority.context, server_name="turn.test")
    assert caught.value.server == f"turn.test {listener.local} over {protocol.upper()}"


@pytest.mark.parametrize("protocol", [TLS, DTLS])
async def test_the_system_store_does_not_trust_a_stranger(protocol: TransportProtocol, authority: Authority) -> None:
    async with echo(protocol, authority.issue("127.0.0.1")) as (_, listener):
        with pytest.raises(StunCertificateError, match="issuer"):
            await Inbox().open(listener.local, protocol)


@pytest.mark.parametrize("protocol", [TLS, DTLS])
@pytest.mark.parametrize("way", ["file", "folder"])
async def test_the_systems_store_is_that_of_the_interpreter(
    protocol: TransportProtocol, way: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python looks for the system's certificates, DTLS looks too: OpenSSL is linked into it a second time."""
    authority_file = authority.folder / "ca.pem"
    (tmp_path / "nothing.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file if way == "file" else tmp_path / "nothing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    if way == "folder":
        hashed = f"{X509.from_cryptography(authority.certificate).subject_name_hash():08x}.0"
        (tmp_path / hashed).write_bytes(authority_file.read_bytes())
    async with echo(protocol, authority.issue("turn.test")) as (_, listener):
        (await Inbox().open(listener.local, protocol, server_name="turn.test")).close()


async def test_dtls_looks_where_python_looks_whatever_its_own_openssl_was_built_with(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ssl.get_default_verify_paths()._replace(cafile=str(authority.folder / "ca.pem"), capath=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    async with echo(DTLS, authority.issue("turn.test")) as (_, listener):
        (await Inbox().open(listener.local, DTLS, server_name="turn.test")).close()


async def test_trust_that_dtls_cannot_take_over(authority: Authority, tmp_path: Path) -> None:
    """A folder of certificates is read when a chain needs one, and the ssl module never says what is in it."""
    hashed = f"{X509.from_cryptography(authority.certificate).subject_name_hash():08x}.0"
    (tmp_path / hashed).write_bytes((authority.folder / "ca.pem").read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(capath=tmp_path)
    async with echo(TLS, authority.issue("turn.test")) as (_, listener):
        (await Inbox().open(listener.local, TLS, server_name="turn.test", ssl_context=context)).close()
    fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    fresh.load_verify_locations(capath=tmp_path)
    with pytest.raises(StunConfigurationError, match=r"lists no CA certificate.*cafile") as caught:
        await Inbox().open(TransportAddress("127.0.0.1", 9), DTLS, server_name="turn.test", ssl_context=fresh)
    assert caught.value.server == "turn.test 127.0.0.1:9 over DTLS"


@pytest.mark.parametrize("protocol", [TLS, DTLS])
@pytest.mark.parametrize(
    "name",
    ["a" * 64 + ".test", "turn..test", ".test", "", ".", "turn test", "turn\0.test", "x." * 127 + "xx", "\ud800"],
)
async def test_what_is_no_server_name(protocol: TransportProtocol, name: str, authority: Authority) -> None:
    with pytest.raises(StunConfigurationError, match="is not a host name") as caught:
        await Inbox().open(TransportAddress("127.0.0.1", 9), protocol, server_name=name, ssl_context=authority.context)
    assert isinstance(caught.value, StunLinkError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("protocol", [TLS, DTLS])
@pytest.mark.parametrize("name", ["bücher.test", "xn--bcher-kva.test", "turn_1.test", "TURN-1.test", "turn-1.test."])
async def test_unusual_server_names(protocol: TransportProtocol, name: str, authority: Authority) -> None:
    certificate = authority.issue("xn--bcher-kva.test", "turn_1.test", "turn-1.test")
    async with echo(protocol, certificate) as (_, listener):
        (await Inbox().open(listener.local, protocol, server_name=name, ssl_context=authority.context)).close()


async def test_a_name_is_not_looked_at_without_tls() -> None:
    link = await Inbox().open(TransportAddress("127.0.0.1", 9), UDP, server_name="a" * 64)
    link.close()


@pytest.mark.parametrize("protocol", [TLS, DTLS])
async def test_who_asks_for_no_verification_gets_none(protocol: TransportProtocol, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with echo(protocol, authority.issue("any.test", self_signed=True)) as (_, listener):
        (await Inbox().open(listener.local, protocol, ssl_context=context)).close()


@pytest.mark.parametrize("protocol", [TLS, DTLS])
async def test_the_server_ends_it(protocol: TransportProtocol, authority: Authority) -> None:
    async with echo(protocol, authority.issue("127.0.0.1")) as (peer, listener):
        inbox = Inbox()
        link = await inbox.open(listener.local, protocol, ssl_context=authority.context)
        await peer.until(lambda: bool(peer.opened))
        peer.opened[0].close()
        async with asyncio.timeout(5):
            assert await inbox.closed is None
        assert not link.send(b"late")
        link.close()


@pytest.mark.parametrize("protocol", [TCP, TLS])
async def test_nobody_listens(protocol: TransportProtocol) -> None:
    refused = f"over {protocol.upper()}: Connection refused$"
    with silent_port() as address, pytest.raises(StunLinkError, match=f"^{address} {refused}"):
        await Inbox().open(address, protocol)


async def test_a_server_that_says_nothing() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = TransportAddress(*mute.sockets[0].getsockname())
    with pytest.raises(StunLinkError, match=r"over TLS: no connection within 0\.2 s"):
        await Inbox().open(address, TLS, stream=StreamConfig(connect_timeout=0.2))
    mute.close()
    quiet = UdpNetwork().bind_now(HERE, lambda data, remote: None)
    with pytest.raises(StunLinkError, match=r"over DTLS: no DTLS handshake within 0\.2 s"):
        await Inbox().open(quiet.local, DTLS, dtls=DtlsConfig(handshake_timeout=0.2))
    quiet.close()


async def test_a_server_that_speaks_no_tls() -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        with pytest.raises(StunLinkError, match="over TLS"):
            await Inbox().open(server.tcp[0], TLS)

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(babble, "127.0.0.1", 0)
    with pytest.raises(StunHandshakeError, match="the TLS handshake failed: wrong version number"):
        await Inbox().open(TransportAddress(*other.sockets[0].getsockname()), TLS)
    other.close()


async def test_udp_hears_only_its_server() -> None:
    heard: list[tuple[bytes, tuple[str, int]]] = []
    server = UdpNetwork().bind_now(HERE, lambda data, remote: heard.append((data, remote)))
    stranger = UdpNetwork().bind_now(HERE, lambda data, remote: None)
    inbox = Inbox()
    link = await inbox.open(server.local, UDP)
    assert link.path.local.host == "127.0.0.1"
    assert link.send(b"hello")
    stranger.send(b"me too", link.path.local)
    server.send(b"welcome", link.path.local)
    assert await inbox.next() == b"welcome"
    assert heard == [(b"hello", tuple(link.path.local))]
    assert inbox.received.empty()
    for end in (link, server, stranger):
        end.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("protocol", [TLS, DTLS])
async def test_a_binding_request_over_it(host: str, protocol: TransportProtocol, authority: Authority) -> None:
    secure = SecureServing(certificate=authority.issue("stun.test"), port=0)
    async with await serve([host], 0, secure=secure) as server:
        options = LinkOptions(ssl_context=authority.context, server_name="stun.test")
        mapped = await ask(server.tls[0], protocol=protocol, options=options)
        assert mapped.address == mapped.path.local
        assert server.stats.responses == 1
        assert server.stats.connections == 1
