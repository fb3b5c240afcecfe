from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import dns.resolver
import pytest

from stun.address import TransportAddress
from stun.aio import resolve
from stun.aio.resolve import SrvTarget, locate, order_targets
from stun.config import ResolverConfig
from stun.uri import ServerUri
from tests.simulation import World


def a_world() -> World:
    world = World()
    world.names = {
        "example.org": ["203.0.113.1", "2001:db8::1"],
        "one.example.org": ["203.0.113.11"],
        "two.example.org": ["203.0.113.12"],
        "localhost": ["127.0.0.1"],
    }
    return world


async def found(text: str, records: Sequence[SrvTarget], monkeypatch: pytest.MonkeyPatch) -> list[TransportAddress]:
    asked: list[str] = []

    async def lookup(uri: ServerUri, timeout: float) -> list[SrvTarget]:
        asked.append(uri.host)
        return list(records)

    monkeypatch.setattr(resolve, "lookup_srv", lookup)
    world = a_world()
    network = world.host("a", world.internet, "203.0.113.9").network()
    return await locate(ServerUri.parse(text), network, random.Random(1), ResolverConfig(max_targets=2))


async def test_literals_and_ports_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never = [SrvTarget(0, 0, 1, "one.example.org.")]
    assert await found("stun:192.0.2.7", never, monkeypatch) == [("192.0.2.7", 3478)]
    assert await found("stun:[2001:db8::7]:9", never, monkeypatch) == [("2001:db8::7", 9)]
    assert await found("stun:one.example.org:99", never, monkeypatch) == [("203.0.113.11", 99)]
    assert await found("stun:localhost", never, monkeypatch) == [("127.0.0.1", 3478)]


async def test_a_bare_name_without_records_has_the_default_port(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [("203.0.113.1", 3478), ("2001:db8::1", 3478)]
    assert await found("stun:example.org", [], monkeypatch) == both


async def test_records_give_hosts_and_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [SrvTarget(20, 0, 2, "two.example.org."), SrvTarget(10, 0, 1, "one.example.org.")]
    assert await found("stun:example.org", records, monkeypatch) == [("203.0.113.11", 1), ("203.0.113.12", 2)]
    # One bad target does not spoil the others, and no more than max_targets are followed.
    records[1] = SrvTarget(10, 0, 1, "gone.example.org.")
    records.append(SrvTarget(30, 0, 3, "one.example.org."))
    assert await found("stun:example.org", records, monkeypatch) == [("203.0.113.12", 2)]


async def test_a_root_target_means_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="no stun service"):
        await found("stun:example.org", [SrvTarget(0, 0, 0, ".")], monkeypatch)
    with pytest.raises(OSError):
        await found("stun:example.org", [SrvTarget(0, 0, 0, "gone.example.org.")], monkeypatch)


async def test_the_query_names_service_and_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def no_answer(name: str, kind: str, lifetime: float) -> None:
        asked.append(f"{name} {kind}")
        raise dns.resolver.NXDOMAIN

    monkeypatch.setattr("dns.asyncresolver.resolve", no_answer)
    for text in ("stun:a.example", "turn:a.example?transport=tcp", "turns:a.example"):
        assert await resolve.lookup_srv(ServerUri.parse(text), 1.0) == []
    assert asked == ["_stun._udp.a.example SRV", "_turn._tcp.a.example SRV", "_turns._tcp.a.example SRV"]


def test_weights_share_the_load() -> None:
    records = [SrvTarget(1, 75, 1, "a"), SrvTarget(1, 25, 1, "b"), SrvTarget(1, 0, 1, "c"), SrvTarget(0, 0, 1, "d")]
    rng = random.Random(1)
    orders = [order_targets(records, rng) for _ in range(2000)]
    assert all(sorted(order) == sorted(records) and order[0].host == "d" for order in orders)
    second = Counter(order[1].host for order in orders)
    assert 0.68 < second["a"] / 2000 < 0.80
    assert 0 < second["c"] / 2000 < 0.05


async def test_a_more_special_service_is_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def having(special: Sequence[SrvTarget]) -> None:
        async def lookup(uri: ServerUri, timeout: float, service: str | None = None) -> Sequence[SrvTarget]:
            asked.append(service)
            return special if service else [SrvTarget(0, 0, 1, "one.example.org.")]

        monkeypatch.setattr(resolve, "lookup_srv", lookup)

    world = World()
    world.names.update({"one.example.org": ["203.0.113.11"], "two.example.org": ["203.0.113.12"]})
    network = world.host("client", world.internet, "203.0.113.1").network()
    uri = ServerUri.parse("stun:example.org")
    for special, address in (([], "203.0.113.11"), ([SrvTarget(0, 0, 1, "two.example.org.")], "203.0.113.12")):
        having(special)
        service = resolve.NAT_BEHAVIOUR_SERVICE
        assert await resolve.locate(uri, network, random.Random(1), service=service) == [(address, 1)]
    assert asked == ["stun-behavior", None, "stun-behavior"]
