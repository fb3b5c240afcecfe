from __future__ import annotations

import asyncio
import sys

import pytest

from stun.address import TransportAddress
from stun.aio import UdpNetwork, UdpSocket
from stun.config import UdpConfig

LOOPBACKS = ["127.0.0.1", "::1"]
Arrivals = list[tuple[bytes, tuple[str, int]]]


async def open_socket(host: str, arrivals: Arrivals | None = None, config: UdpConfig | None = None) -> UdpSocket:
    store = arrivals if arrivals is not None else []
    return UdpNetwork(config).bind_now(TransportAddress(host, 0), lambda data, remote: store.append((data, remote)))


async def until(arrivals: Arrivals, count: int) -> list[int]:
    """Let the loop turn until there are so many; return how many there were after each turn."""
    seen = []
    for _ in range(100_000):
        await asyncio.sleep(0)
        seen.append(len(arrivals))
        if len(arrivals) >= count:
            return seen
    raise AssertionError(f"{len(arrivals)} of {count} arrived")


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_datagrams_arrive_with_their_source(host: str) -> None:
    arrivals: Arrivals = []
    one, two = await open_socket(host), await open_socket(host, arrivals)
    assert two.local.port != 0
    payloads = [b"", b"a", bytes(1200), bytes(9000)]
    assert all(one.send(payload, two.local) for payload in payloads)
    await until(arrivals, 4)
    assert arrivals == [(payload, one.local) for payload in payloads]
    assert all(len(remote) == 2 for _, remote in arrivals)
    one.close()
    two.close()


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_wake_up_reads_a_bounded_batch(host: str) -> None:
    arrivals: Arrivals = []
    one = await open_socket(host)
    two = await open_socket(host, arrivals, UdpConfig(batch=4))
    for number in range(10):
        one.send(bytes((number,)), two.local)
    assert {4, 8} <= set(await until(arrivals, 10))
    assert [data[0] for data, _ in arrivals] == list(range(10))
    one.close()
    two.close()


async def test_sending_never_raises() -> None:
    one = await open_socket("127.0.0.1")
    assert not one.send(bytes(65536), ("127.0.0.1", 9))
    assert not one.send(b"x", ("255.255.255.255", 9))
    assert one.send_failures == 2
    one.close()
    one.close()
    assert not one.send(b"x", ("127.0.0.1", 9))


async def test_a_receiver_may_close_its_socket() -> None:
    arrivals: Arrivals = []

    def receive(data: bytes, remote: tuple[str, int]) -> None:
        arrivals.append((data, remote))
        two.close()

    one = await open_socket("127.0.0.1")
    two = UdpNetwork().bind_now(TransportAddress("127.0.0.1", 0), receive)
    for _ in range(3):
        one.send(b"x", two.local)
    await until(arrivals, 1)
    await asyncio.sleep(0)
    assert arrivals == [(b"x", one.local)]
    one.close()


async def test_an_unreachable_peer_is_no_error() -> None:
    arrivals: Arrivals = []
    one = await open_socket("127.0.0.1", arrivals)
    closed = await open_socket("127.0.0.1")
    nobody = closed.local
    closed.close()
    assert one.send(b"x", nobody)
    other = await open_socket("127.0.0.1")
    other.send(b"still here", one.local)
    await until(arrivals, 1)
    one.close()
    other.close()


async def test_ipv6_sockets_take_ipv6_only() -> None:
    six = UdpNetwork().bind_now(TransportAddress("::", 0), lambda data, remote: None)
    four = UdpNetwork().bind_now(TransportAddress("0.0.0.0", six.local.port), lambda data, remote: None)
    assert four.local.port == six.local.port
    six.close()
    four.close()


async def test_a_bound_port_is_not_bound_twice() -> None:
    one = await open_socket("127.0.0.1")
    with pytest.raises(OSError):
        UdpNetwork().bind_now(one.local, lambda data, remote: None)
    with pytest.raises(OSError):
        await UdpNetwork().bind(TransportAddress("192.0.2.250", 0), lambda data, remote: None)
    one.close()


async def test_interfaces() -> None:
    found = UdpNetwork().interfaces()
    loopback = next(each for each in found if each.host == "127.0.0.1")
    assert loopback.prefix_length == 8
    for each in found:
        bound = UdpNetwork().bind_now(TransportAddress(each.host, 0), lambda data, remote: None)
        bound.close()


async def test_link_local_addresses_work_on_their_link() -> None:
    hosts = [each.host for each in UdpNetwork().interfaces() if "%" in each.host]
    if not hosts:
        pytest.skip("no link-local IPv6 address here")
    arrivals: Arrivals = []
    one, two = await open_socket(hosts[0]), await open_socket(hosts[0], arrivals)
    bare = two.local.host.partition("%")[0]
    assert one.send(b"x", (bare, two.local.port))
    await until(arrivals, 1)
    assert arrivals == [(b"x", (bare, one.local.port))]
    one.close()
    two.close()


async def test_resolving() -> None:
    network = UdpNetwork()
    assert await network.resolve("192.0.2.1", 5) == [TransportAddress("192.0.2.1", 5)]
    assert await network.resolve("2001:DB8::1", 5) == [TransportAddress("2001:db8::1", 5)]
    assert TransportAddress("127.0.0.1", 5) in await network.resolve("localhost", 5)
    for name in ("no-such-name.invalid", "a" * 70 + ".example", ""):
        with pytest.raises(OSError):
            await network.resolve(name, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="two sockets on a port share datagrams so on Linux only")
@pytest.mark.parametrize("host", LOOPBACKS)
async def test_a_peer_with_a_socket_of_its_own(host: str) -> None:
    arrivals: Arrivals = []
    heard: Arrivals = []
    base = await open_socket(host, arrivals)
    peer, stranger = await open_socket(host, heard), await open_socket(host)
    own = base.connect(peer.local)
    assert own is not None
    assert own.local == base.local
    assert own.send(b"by its own", peer.local)
    assert base.send(b"by the base", peer.local)
    await until(heard, 2)
    assert {remote for _, remote in heard} == {base.local}
    for number in range(20):
        peer.send(bytes((number,)), base.local)
        stranger.send(b"stranger", base.local)
    await until(arrivals, 40)
    assert [data[0] for data, remote in arrivals if remote == peer.local] == list(range(20))
    assert [data for data, remote in arrivals if remote == stranger.local] == [b"stranger"] * 20
    # Without the second socket everything comes to the base again.
    own.close()
    peer.send(b"after", base.local)
    await until(arrivals, 41)
    with pytest.raises(OSError):
        UdpNetwork().bind_now(base.local, lambda data, remote: None)
    for each in (base, peer, stranger):
        each.close()
    assert base.connect(peer.local) is None


@pytest.mark.skipif(sys.platform != "linux", reason="two sockets on a port share datagrams so on Linux only")
async def test_a_peer_that_is_gone_is_no_error() -> None:
    base, peer = await open_socket("127.0.0.1"), await open_socket("127.0.0.1")
    own = base.connect(peer.local)
    assert own is not None
    gone = peer.local
    peer.close()
    for _ in range(5):
        own.send(b"x", gone)
        await asyncio.sleep(0)
    own.close()
    assert not own.send(b"x", gone)
    base.close()
