"""The small rooms of the server: times, quotas, ports, tickets, settings."""

from __future__ import annotations

import json
import logging
import random

import pytest

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from turn.access_token import TokenKey
from turn.aio.service.log import JsonFormatter, KeyValueFormatter
from turn.errors import TurnConfigError
from turn.service.allocation import Allocation
from turn.service.config import RelayHost, RelayTimes, TokenConfig, TurnServiceConfig
from turn.service.mobility import Ticket, TicketBox
from turn.service.ports import RelayPorts
from turn.service.quota import ByteBudget, CountQuota, TokenBucket
from turn.service.settings import Listener, parse_settings
from turn.timetable import Timetable

UDP = TransportProtocol.UDP
HOST = RelayHost(host="192.0.2.1")


def test_a_timetable_is_never_early_and_forgets() -> None:
    table: Timetable[str] = Timetable()
    table.set("a", 10.0)
    table.set("b", 5.0)
    table.set("a", 20.0)
    assert table.next_at() == 5.0
    assert table.due(10.0) == ["b"]
    assert table.due(19.9) == []
    table.set("a", 3.0)
    assert table.due(3.0) == ["a"]
    table.set("c", 1.0)
    table.discard("c")
    assert table.next_at() is None
    assert len(table) == 0


def test_a_timetable_stays_small_however_often_keys_come_and_go() -> None:
    table: Timetable[int] = Timetable()
    for number in range(10_000):
        table.set(number % 7, 1000.0 - number / 100)
        table.discard((number + 3) % 7)
    assert len(table._heap) <= 2 * 7 + 65


def test_a_timetable_against_a_dictionary() -> None:
    rng = random.Random(7)
    table: Timetable[int] = Timetable()
    model: dict[int, float] = {}
    for now in range(2000):
        key, at = rng.randrange(20), now + rng.uniform(0, 50)
        if rng.random() < 0.3:
            table.discard(key)
            model.pop(key, None)
        else:
            table.set(key, at)
            model[key] = at
        due = table.due(now)
        assert sorted(due) == sorted(key for key, at in model.items() if at <= now)
        for key in due:
            del model[key]
        wanted = table.next_at()
        assert not model or (wanted is not None and wanted <= min(model.values()))


def test_a_token_bucket() -> None:
    bucket = TokenBucket(100.0, 50.0, 0.0)
    assert bucket.take(50, 0.0)
    assert not bucket.take(1, 0.0)
    assert bucket.take(10, 0.1)
    assert bucket.borrow(100, 0.1) == pytest.approx(1.0)
    assert not bucket.take(1, 1.0)


def test_quotas_forget_who_has_nothing() -> None:
    quota: CountQuota[str] = CountQuota(2)
    quota.add("a")
    quota.add("a")
    assert not quota.has_room("a")
    assert quota.has_room("b")
    quota.remove("a")
    quota.remove("a")
    assert len(quota) == 0


def test_only_the_excess_is_paid_for() -> None:
    budget = ByteBudget(10.0, 100, 10)
    assert all(budget.allows("a", 100, 100, 0.0) for _ in range(1000))
    assert budget.allows("a", 20, 120, 0.0)
    assert not budget.allows("a", 20, 21, 0.0)
    assert budget.allows("b", 20, 120, 0.0)
    assert budget.allows("a", 20, 30, 1.0)


def test_every_port_of_a_range_is_found() -> None:
    ports = RelayPorts((HOST,), (50000, 50009), random.Random(1))
    found = {ports.take(HOST, UDP) for _ in range(10)}
    assert {address.port for address in found if address} == set(range(50000, 50010))
    assert ports.take(HOST, UDP) is None
    assert ports.take(HOST, TransportProtocol.TCP) is not None
    ports.give_back(TransportAddress(HOST.host, 50003), UDP)
    assert ports.take(HOST, UDP, even=True) is None
    assert ports.take(HOST, UDP) == (HOST.host, 50003)


def test_ports_are_random() -> None:
    ports = RelayPorts((HOST,), (49152, 65535), random.Random(1))
    found = [address.port for _ in range(200) if (address := ports.take(HOST, UDP))]
    assert len({port >> 11 for port in found}) == 8


def test_hosts_take_turns() -> None:
    hosts = (HOST, RelayHost(host="192.0.2.2"), RelayHost(host="2001:db8::1"))
    ports = RelayPorts(hosts, (49152, 65535), random.Random(1))
    assert {ports.next_host(4).host for _ in range(2)} == {"192.0.2.1", "192.0.2.2"}
    assert ports.next_host(6).host == "2001:db8::1"


def test_tickets() -> None:
    box, other = TicketBox(random.Random(1)), TicketBox(random.Random(2))
    path = FiveTuple(TransportAddress("192.0.2.1", 3478), TransportAddress("192.0.2.9", 5000))
    allocation = Allocation(7, path, "user", "user", "192.0.2.9", 0.0)
    first, second = box.next_ticket(allocation), box.next_ticket(allocation)
    assert box.open(first) == Ticket(7, 1)
    assert box.open(second) == Ticket(7, 2)
    assert other.open(first) is None
    for index in range(len(first)):
        assert box.open(first[:index] + bytes([first[index] ^ 1]) + first[index + 1 :]) is None


def test_configurations_are_checked() -> None:
    with pytest.raises(ValueError, match="ports"):
        TurnServiceConfig(realm="x", ports=(5, 5))
    with pytest.raises(ValueError, match="lifetime"):
        RelayTimes(default_lifetime=4000)
    for setting in ("realm", "software"):
        for text in ("", "x" * 128, "\U0001f98a" * 128):
            with pytest.raises(ValueError, match=setting):
                TurnServiceConfig(**{"realm": "x", setting: text})
    for name in ("", "é.example.org", "x" * 256):
        with pytest.raises(ValueError, match="alternate_domain"):
            TurnServiceConfig(realm="x", alternate_domain=name)
    with pytest.raises(ValueError, match="hour"):
        TurnServiceConfig(realm="x", nonce_lifetime=3601)
    with pytest.raises(ValueError, match="family"):
        RelayHost(host="10.0.0.1", advertise="2001:db8::1")


FILE = """
realm = "example.org"
sha256 = false
[listen]
udp = ["0.0.0.0:3478", "[::]:3478"]
tls = ["192.0.2.1:5349"]
[tls]
certificate = "a.pem"
[relay]
addresses = ["10.0.0.5/192.0.2.5", "2001:db8::1"]
ports = [50000, 60000]
mobility = true
[limits]
allocations_per_user = 3
[peers]
allow = ["10.0.0.0/8"]
[users]
alice = "wonder"
[credentials]
shared_secrets = ["north", "south"]
[tokens]
server_name = "relay.example.org"
keys = ["north:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]
delta = 2
[metrics]
listen = "127.0.0.1:9641"
[log]
format = "json"
"""


def test_a_file() -> None:
    settings = parse_settings(FILE)
    service = settings.service
    tls = Listener(protocol=TransportProtocol.TLS, address=TransportAddress("192.0.2.1", 5349))
    assert len(settings.listeners) == 3
    assert tls in settings.listeners
    assert service.relays[0] == RelayHost(host="10.0.0.5", advertise="192.0.2.5")
    assert (service.ports, service.mobility, service.sha256) == ((50000, 60000), True, False)
    assert service.limits.allocations_per_user == 3
    assert settings.shared_secrets == ("north", "south")
    key = TokenKey(kid="north", key=bytes(range(32)))
    assert service.tokens == TokenConfig(server_name="relay.example.org", keys=(key,), delta=2.0)
    assert settings.metrics is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "realm is missing"),
        ("realm = 5", "realm has to be of type str"),
        ("realm", "no TOML"),
        ('realm = "x"\nrelm = 1', "unknown setting: relm"),
        ('realm = "x"\n[limit]\nx = 1', r"unknown table: \[limit\]"),
        ('realm = "x"\n[limits]\nallocation = 1', "unknown setting: limits.allocation"),
        ('realm = "x"\n[limits]\nallocations = true', "limits.allocations has to be of type int"),
        ('realm = "x"\n[listen]\nudp = ["example.org:1"]', "example.org"),
        ('realm = "x"\n[listen]\nudp = ["1.2.3.4"]', "no address with a port"),
        ('realm = "x"\n[peers]\nallow = ["1.2.3.4/8"]', "host bits"),
        ('realm = "x"\n[users]\nalice = 5', "password"),
        ('realm = "x"\n[log]\nformat = "xml"', "text or json"),
        ('realm = "x"\n[tokens]\nserver_name = "n"', "tokens need"),
        ('realm = "x"\n[tokens]\nkeys = ["north:AAEC"]', "Base64 of 32 bytes"),
        ('realm = "x"\n[tokens]\nkeys = ["north:!"]', "Base64 of 32 bytes"),
        ('realm = "x"\n[tokens]\nkey = "north"', "unknown setting: tokens.key"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, problem: str) -> None:
    with pytest.raises(TurnConfigError, match=problem):
        parse_settings(text)


def test_logs_cannot_be_forged() -> None:
    record = logging.LogRecord("turn", logging.INFO, "", 0, "allocation created", (), None)
    record.fields = {"username": 'x\n2026 INFO forged="yes', "number": 1}
    line = KeyValueFormatter().format(record)
    assert "\n" not in line
    assert line.endswith("number=1")
    assert json.loads(JsonFormatter().format(record))["number"] == 1
