"""From URIs to ways to a server: the steps of RFC 5928 against a made-up DNS."""

from __future__ import annotations

import random
from types import SimpleNamespace

import dns.name
import dns.resolver
import pytest

from stun.address import TransportProtocol
from stun.config import ResolverConfig
from stun.uri import ServerUri
from tests.simulation import World
from turn.aio.resolve import Target, locate_turn
from turn.errors import TurnResolveError

UDP, TCP, TLS, DTLS = (
    TransportProtocol.UDP,
    TransportProtocol.TCP,
    TransportProtocol.TLS,
    TransportProtocol.DTLS,
)


def srv(priority: int, port: int, target: str) -> SimpleNamespace:
    return SimpleNamespace(priority=priority, weight=0, port=port, target=dns.name.from_text(target))


def naptr(order: int, flags: str, service: str, replacement: str, regexp: bytes = b"") -> SimpleNamespace:
    target = dns.name.from_text(replacement)
    return SimpleNamespace(
        order=order, preference=0, flags=flags.encode(), service=service.encode(), regexp=regexp, replacement=target
    )


class Zone:
    """A name server that is asked instead of the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, records: dict[str, list[SimpleNamespace]]) -> None:
        self.records = records
        self.asked: list[str] = []
        monkeypatch.setattr("dns.asyncresolver.resolve", self.resolve)
        self.world = World()
        self.world.names = {
            "example.org": ["203.0.113.1", "2001:db8::1"],
            "one.example.org": ["203.0.113.11"],
            "two.example.org": ["203.0.113.12"],
        }
        self.network = self.world.host("a", self.world.internet, "203.0.113.9").network()

    async def resolve(self, name: str, kind: str, lifetime: float) -> list[SimpleNamespace]:
        self.asked.append(f"{kind} {name}".rstrip("."))
        try:
            return self.records[self.asked[-1]]
        except KeyError:
            raise dns.resolver.NXDOMAIN from None

    async def locate(self, url: str) -> list[tuple[str, int, TransportProtocol]]:
        targets = await locate_turn(ServerUri.parse(url), self.network, random.Random(1), ResolverConfig(max_targets=3))
        assert all(isinstance(target, Target) and target.name == ServerUri.parse(url).host for target in targets)
        return [(*target.address, target.protocol) for target in targets]


async def test_literals_and_ports_ask_for_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(monkeypatch, {})
    assert await zone.locate("turn:192.0.2.7") == [("192.0.2.7", 3478, UDP)]
    assert await zone.locate("turn:192.0.2.7:99?transport=tcp") == [("192.0.2.7", 99, TCP)]
    assert await zone.locate("turns:[2001:db8::7]") == [("2001:db8::7", 5349, TLS)]
    assert await zone.locate("turns:192.0.2.7?transport=udp") == [("192.0.2.7", 5349, DTLS)]
    assert await zone.locate("turn:one.example.org:99") == [("203.0.113.11", 99, UDP)]
    assert zone.asked == []


async def test_a_transport_leaves_srv(monkeypatch: pytest.MonkeyPatch) -> None:
    records = {"SRV _turn._tcp.example.org": [srv(2, 22, "two.example.org"), srv(1, 11, "one.example.org")]}
    zone = Zone(monkeypatch, records)
    assert await zone.locate("turn:example.org?transport=tcp") == [("203.0.113.11", 11, TCP), ("203.0.113.12", 22, TCP)]
    assert zone.asked == ["SRV _turn._tcp.example.org"]
    assert await zone.locate("turns:example.org?transport=tcp") == [
        ("203.0.113.1", 5349, TLS),
        ("2001:db8::1", 5349, TLS),
    ], "without records the name itself, with the default port"


async def test_naptr_decides_about_transports_and_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(
        monkeypatch,
        {
            "NAPTR example.org": [
                naptr(20, "s", "RELAY:turn.udp", "_turn._udp.example.org"),
                naptr(10, "S", "RELAY:turn.tcp:turn.tls", "_turn._tcp.example.org"),
                naptr(5, "s", "SIP+D2U", "_sip._udp.example.org"),
                naptr(30, "a", "relay:turn.udp", "two.example.org"),
                naptr(1, "u", "RELAY:turn.udp", "two.example.org", b"!.*!x!"),
            ],
            "SRV _turn._udp.example.org": [srv(1, 11, "one.example.org")],
            "SRV _turn._tcp.example.org": [srv(1, 22, "two.example.org")],
        },
    )
    assert await zone.locate("turn:example.org") == [
        ("203.0.113.12", 22, TCP),
        ("203.0.113.11", 11, UDP),
        ("203.0.113.12", 3478, UDP),
    ]
    assert await zone.locate("turns:example.org") == [("203.0.113.12", 22, TLS)]


async def test_naptr_records_may_lead_to_others_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(
        monkeypatch,
        {
            "NAPTR example.org": [naptr(1, "", "RELAY:turn.udp", "next.example.org")],
            "NAPTR next.example.org": [naptr(1, "a", "RELAY:turn.udp", "one.example.org")],
        },
    )
    assert await zone.locate("turn:example.org") == [("203.0.113.11", 3478, UDP)]
    zone.records["NAPTR next.example.org"] = [naptr(1, "", "RELAY:turn.udp", "example.org")]
    zone.asked.clear()
    assert await zone.locate("turn:example.org") == [("203.0.113.1", 3478, UDP), ("2001:db8::1", 3478, UDP)]
    assert sum(asked.startswith("NAPTR") for asked in zone.asked) == 5


async def test_without_naptr_every_transport_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    records = {
        "SRV _turn._tcp.example.org": [srv(1, 22, "two.example.org")],
        "SRV _turn._udp.example.org": [srv(1, 11, "one.example.org"), srv(2, 12, "gone.example.org")],
        "SRV _turns._tcp.example.org": [srv(1, 443, "one.example.org")],
        "SRV _turns._udp.example.org": [srv(0, 0, ".")],
    }
    zone = Zone(monkeypatch, records)
    assert await zone.locate("turn:example.org") == [("203.0.113.11", 11, UDP), ("203.0.113.12", 22, TCP)]
    assert await zone.locate("turns:example.org") == [("203.0.113.11", 443, TLS)]


async def test_a_domain_may_say_that_it_has_no_such_service(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(monkeypatch, {"SRV _turn._udp.example.org": [srv(0, 0, ".")]})
    with pytest.raises(TurnResolveError, match="no such service"):
        await zone.locate("turn:example.org?transport=udp")
    with pytest.raises(TurnResolveError, match="does not resolve") as caught:
        await zone.locate("turn:gone.example.org")
    assert caught.value.server == "turn:gone.example.org"


async def test_only_so_many_targets_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(monkeypatch, {"SRV _turn._udp.example.org": [srv(n, n, "one.example.org") for n in range(1, 50)]})
    assert len(await zone.locate("turn:example.org?transport=udp")) == 3


async def test_records_that_lead_to_ever_more_records_are_followed_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(monkeypatch, {})
    everything = [naptr(n, "", "RELAY:turn.udp", "example.org") for n in range(10)]
    zone.records["NAPTR example.org"] = everything
    await zone.locate("turn:example.org")
    assert sum(asked.startswith("NAPTR") for asked in zone.asked) <= 1 + 5 * 3, "and not 3 to the fourth"


async def test_a_name_with_ever_so_many_addresses_is_only_so_many_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    zone = Zone(monkeypatch, {})
    zone.world.names["one.example.org"] = [f"203.0.113.{n}" for n in range(1, 200)]
    assert len(await zone.locate("turn:one.example.org:99")) == 5 * 3
