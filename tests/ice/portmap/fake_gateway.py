"""A gateway that speaks PCP and NAT-PMP in virtual time, and can be made to lie."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from typing import Any

from ice.candidate import Base
from ice.portmap import pcp
from ice.portmap.client import PortmapClient
from ice.portmap.config import PortmapConfig
from ice.portmap.events import UpnpMap, UpnpUnmap
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Transmit

__all__ = ["BASE", "GATEWAY", "HERE", "FakeGateway", "Stage"]

HERE = TransportAddress("192.168.1.7", 40000)
GATEWAY = TransportAddress("192.168.1.1", 5351)
BASE = Base(TransportAddress("192.168.1.7", 5000))
NUMBERS = {17: TransportProtocol.UDP, 6: TransportProtocol.TCP}


class FakeGateway:
    """Answers at once. Change the attributes to change how."""

    def __init__(self, *speaks: str) -> None:
        self.speaks = set(speaks or ("pcp", "nat-pmp"))
        self.external = "203.0.113.9"
        self.born = -1000.0
        self.result = 0
        self.error_lifetime = 0
        self.lifetime: int | None = None
        self.refuses_old_versions = False
        self.mappings: dict[tuple[TransportProtocol, int], tuple[int, bytes]] = {}
        self.requests: list[tuple[float, str, int]] = []
        self._next_port = 61000

    def reboot(self, now: float) -> None:
        """Lose all state."""
        self.mappings.clear()
        self.born = now

    def count(self) -> Counter[str]:
        return Counter(kind for _, kind, _ in self.requests)

    def receive(self, data: bytes, now: float) -> bytes | None:
        epoch = int(now - self.born).to_bytes(4, "big")
        if data[0] == 2:
            return self._pcp(data, epoch, now)
        return self._nat_pmp(data, epoch, now)

    def _pcp(self, data: bytes, epoch: bytes, now: float) -> bytes | None:
        lifetime = int.from_bytes(data[4:8], "big")
        self.requests.append((now, "pcp", lifetime))
        if "pcp" not in self.speaks:
            return b"\0\x82\0\1" + epoch if self.refuses_old_versions else None
        assert len(data) == 60
        assert data[1] == 1
        assert data[8:24] == bytes(10) + b"\xff\xff" + HERE.ip.packed, "our address is the packet's source"
        nonce, protocol, port = data[24:36], NUMBERS[data[36]], int.from_bytes(data[40:42], "big")
        suggested = int.from_bytes(data[42:44], "big")
        external = 0
        result, granted = self.result, self.error_lifetime
        if not result:
            external, owner = self.mappings.get((protocol, port), (0, nonce))
            if owner != nonce:
                result = pcp.PcpResult.NOT_AUTHORIZED
            else:
                external, granted = self._map((protocol, port), external or suggested, lifetime, nonce)
        host = bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(self.external).packed
        head = bytes((2, 0x81, 0, result)) + granted.to_bytes(4, "big") + epoch + bytes(12)
        return head + data[24:42] + external.to_bytes(2, "big") + host

    def _nat_pmp(self, data: bytes, epoch: bytes, now: float) -> bytes | None:
        if len(data) == 2:
            self.requests.append((now, "address", 0))
            if "nat-pmp" not in self.speaks:
                return None
            return b"\0\x80" + self.result.to_bytes(2, "big") + epoch + ipaddress.IPv4Address(self.external).packed
        lifetime = int.from_bytes(data[8:12], "big")
        self.requests.append((now, "nat-pmp", lifetime))
        if "nat-pmp" not in self.speaks:
            return None
        protocol = {1: TransportProtocol.UDP, 2: TransportProtocol.TCP}[data[1]]
        port, suggested = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
        external = granted = 0
        if not self.result:
            external, granted = self._map((protocol, port), suggested, lifetime, b"")
        ports = port.to_bytes(2, "big") + external.to_bytes(2, "big")
        head = bytes((0, 0x80 | data[1])) + self.result.to_bytes(2, "big") + epoch
        return head + ports + granted.to_bytes(4, "big")

    def _map(self, key: tuple[TransportProtocol, int], wanted: int, lifetime: int, nonce: bytes) -> tuple[int, int]:
        if not lifetime:
            self.mappings.pop(key, None)
            return 0, 0
        if not wanted or any(port == wanted for other, (port, _) in self.mappings.items() if other != key):
            self._next_port += 1
            wanted = self._next_port
        self.mappings[key] = wanted, nonce
        return wanted, lifetime if self.lifetime is None else self.lifetime


class Stage:
    """One client, one gateway, and what happened."""

    def __init__(self, gateway: FakeGateway, config: PortmapConfig | None = None, *, upnp: bool = False) -> None:

        self.gateway = gateway
        self.now = 0.0
        path = FiveTuple(HERE, GATEWAY)
        self.client = PortmapClient(config or PortmapConfig(enabled=True), path, random.Random(3), upnp=upnp)
        self.path = path
        self.events: list[Any] = []
        self.upnp: list[UpnpMap | UpnpUnmap] = []
        self.lost = 0
        """How many of the next datagrams do not arrive."""

    def pump(self) -> None:
        while (effect := self.client.next_effect()) is not None:
            if not isinstance(effect, Transmit):
                self.upnp.append(effect)
                continue
            assert effect.path == self.path
            if self.lost:
                self.lost -= 1
                continue
            answer = self.gateway.receive(effect.data, self.now)
            if answer is not None:
                self.client.receive_datagram(answer, self.path, self.now)
        while (event := self.client.next_event()) is not None:
            self.events.append(event)

    def map(self, base: Base = BASE) -> None:
        self.client.map(base, self.now)
        self.pump()

    def wait(self, until: float) -> None:
        """Let time pass."""
        for _ in range(100_000):
            deadline = self.client.next_timeout()
            if deadline is None or deadline.at > until:
                break
            self.now = max(self.now, deadline.at)
            self.client.handle_timeout(self.now)
            self.pump()
        else:
            raise AssertionError("the client never comes to rest")
        self.now = until
