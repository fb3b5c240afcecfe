"""The embedded server on real loopback sockets: UDP and TCP, IPv4 and IPv6."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest

from stun import attributes as att
from stun.address import TransportAddress, TransportProtocol
from stun.aio import SecureServing, StunServer, UdpNetwork, ask, ask_any, serve
from stun.auth import LongTermClient
from stun.binding_server import BindingServer
from stun.config import BindingClientConfig, BindingServerConfig, TransactionConfig
from stun.errors import StunAuthenticationError, StunError, StunLinkError, StunResponseError, StunTimeoutError
from stun.message import Message, MessageClass, Method, parse_classic
from tests.ports import silent_port

HOSTS = ["127.0.0.1", "::1"]
UDP, TCP = TransportProtocol.UDP, TransportProtocol.TCP
QUICK = BindingClientConfig(transaction=TransactionConfig(initial_rto=0.01, sends=2, last_wait=2, stream_timeout=0.05))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("protocol", [UDP, TCP])
async def test_it_tells_our_address(host: str, protocol: TransportProtocol) -> None:
    async with await serve([host], 0) as server:
        addresses = server.udp if protocol is UDP else server.tcp
        mapped = await ask(addresses[0], protocol=protocol, local=TransportAddress(host, 0))
        assert mapped.address == mapped.path.local
        assert mapped.path.remote == addresses[0]
        assert mapped.path.protocol is protocol
        assert server.stats.responses == 1


async def test_transaction_ids_come_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 5: they have to be cryptographically random."""
    made: list[int] = []

    def randbytes(self: random.SystemRandom, count: int) -> bytes:
        made.append(count)
        return os.urandom(count)

    monkeypatch.setattr(random.SystemRandom, "randbytes", randbytes, raising=False)
    async with await serve(["127.0.0.1"], 0) as server:
        await ask(server.udp[0])
    assert made == [12]


async def test_one_port_for_everything() -> None:
    async with await serve(port=0) as server:
        assert server.udp == server.tcp
        assert {address.host for address in server.udp} <= set(HOSTS)
        assert len({address.port for address in server.udp}) == 1


async def test_a_wildcard_is_every_address_so_that_answers_come_from_the_one_asked() -> None:
    async with await serve(["0.0.0.0"], 0) as server:
        expected = {each.host for each in UdpNetwork().interfaces() if ":" not in each.host}
        assert {address.host for address in server.udp} == expected
        for address in server.udp:
            assert (await ask(address)).address.host == address.host


async def test_many_ask_at_once() -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        answers = await asyncio.gather(
            *(ask(server.udp[0]) for _ in range(20)), *(ask(server.tcp[0], protocol=TCP) for _ in range(20))
        )
        mapped = [answer.address for answer in answers]
        # Each kind by itself: the ports of UDP are not those of TCP, and one number may be used in both.
        assert len(set(mapped[:20])) == len(set(mapped[20:])) == 20


async def test_a_taken_port() -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        with pytest.raises(OSError):
            await serve(["127.0.0.1"], server.udp[0].port)
    again = await serve(["127.0.0.1"], server.udp[0].port)
    again.close()
    again.close()
    with pytest.raises(ValueError):
        await serve(["localhost"], 0)
    with pytest.raises(OSError):
        await serve([], 0)


async def test_a_start_that_is_cancelled_frees_its_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        port = server.udp[0].port
    reading = asyncio.Event()

    async def never_read(*_: object) -> None:
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "to_thread", never_read)
    secure = SecureServing(certificate="certificate.pem")
    starting = asyncio.create_task(serve(["127.0.0.1"], port, secure=secure))
    await reading.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with await serve(["127.0.0.1"], port) as server:
        assert server.udp == [TransportAddress("127.0.0.1", port)]


async def test_an_old_client_over_a_plain_socket() -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as old:
            old.setblocking(False)
            old.bind(("127.0.0.1", 0))
            request = Message(Method.BINDING, MessageClass.REQUEST, bytes(range(1, 17)))
            await loop.sock_sendto(old, request.serialize(), server.udp[0])
            async with asyncio.timeout(5):
                data = await loop.sock_recv(old, 2048)
            assert parse_classic(data).get(att.MAPPED_ADDRESS) == old.getsockname()


async def test_garbage_does_not_stop_it() -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        network = UdpNetwork()
        noise = await network.bind(TransportAddress("127.0.0.1", 0), lambda data, remote: None)
        for payload in (b"", b"\0", bytes(20), bytes(65507), b"\xff" * 1200):
            noise.send(payload, server.udp[0])
        reader, writer = await asyncio.open_connection(*server.tcp[0])
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        assert (await ask(server.udp[0])).address.host == "127.0.0.1"
        assert server.stats.unparsable == 5
        assert server.stats.broken_connections == 1
        noise.close()


async def test_a_silent_connection_is_closed() -> None:
    async with await serve(["127.0.0.1"], 0, config=BindingServerConfig(idle_timeout=0.02)) as server:
        reader, writer = await asyncio.open_connection(*server.tcp[0])
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_nobody_answers() -> None:
    with silent_port() as address, pytest.raises(StunTimeoutError):
        await ask(address, config=QUICK)


async def test_a_dead_address_costs_a_moment_only() -> None:
    with silent_port() as address:
        async with await serve(["127.0.0.1"], 0) as server:
            async with asyncio.timeout(5):
                mapped = await ask_any([address, server.udp[0]], config=BindingClientConfig(stagger=0.02))
            assert mapped.path.remote == server.udp[0]


async def test_when_all_fail_the_last_problem_is_told() -> None:
    with silent_port() as address:
        with pytest.raises(StunTimeoutError):
            await ask_any([address, address], config=QUICK)
        with pytest.raises(ValueError):
            await ask_any([])
        with pytest.raises(StunLinkError, match="over TLS: Connection refused") as refused:
            await ask(address, protocol=TransportProtocol.TLS)
        assert refused.value.server == f"{address} over TLS"


class Grumpy(BindingServer):
    """Answers everything with one error."""

    code = 500

    def _respond(self, request: Message, path: object) -> Message:
        return request.failure(self.code, "No")


@pytest.mark.parametrize(
    ("code", "credentials", "error"),
    [(500, False, StunResponseError), (401, True, StunAuthenticationError)],
)
async def test_errors_are_exceptions(
    code: int, credentials: bool, error: type[StunError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Grumpy, "code", code)
    monkeypatch.setattr("stun.aio.server.BindingServer", Grumpy)
    async with await serve(["127.0.0.1"], 0) as server:
        with pytest.raises(error):
            await ask(server.udp[0], authenticator=LongTermClient("u", "p") if credentials else None)


async def test_a_server_that_hangs_up() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    address = TransportAddress(*listener.sockets[0].getsockname())
    with pytest.raises(StunError, match="closed"):
        await ask(address, protocol=TCP)
    listener.close()
    await listener.wait_closed()


async def test_it_can_be_started_and_closed_in_one_line() -> None:
    server: StunServer = await serve(["127.0.0.1"], 0)
    server.close()
