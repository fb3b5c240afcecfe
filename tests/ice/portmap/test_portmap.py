"""Port-mapping services: the codecs, the probe with exact counts, and small gateways on loopback."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest

from ice.aio.portmap import default_gateway, default_gateway_ipv6, find_port_mappers
from ice.portmap import nat_pmp, pcp, ssdp
from ice.portmap.probe import PortMapper, PortmapProbe, ProbeConfig, ProbeFinished
from ice.portmap.protocol import PortMapperProtocol
from stun.address import FiveTuple, TransportAddress
from stun.aio.udp import UdpNetwork
from stun.errors import StunParseError

HERE = TransportAddress("192.168.1.7", 40000)
GATEWAY = TransportAddress("192.168.1.1", 5351)
LOCATION = "http://192.168.1.1:5000/rootDesc.xml"
ANSWER = (
    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    f"LOCATION: {LOCATION}\r\nServer: Debian/12 UPnP/1.1 MiniUPnPd/2.3.1\r\nEXT:\r\n\r\n"
).encode()


def pcp_answer(result: int = 0, epoch: int = 77, version: int = 2) -> bytes:
    return bytes((version, 0x80, 0, result)) + bytes(4) + epoch.to_bytes(4, "big") + bytes(12)


def nat_pmp_answer(external: str = "203.0.113.9", result: int = 0, epoch: int = 55) -> bytes:
    head = b"\0\x80" + result.to_bytes(2, "big") + epoch.to_bytes(4, "big")
    return head + ipaddress.IPv4Address(external).packed


# -- codecs --


def test_pcp_announce_is_24_bytes_with_our_mapped_address() -> None:
    wire = pcp.announce_request("192.168.1.7")
    assert wire == bytes((2, 0, 0, 0)) + bytes(4) + bytes(10) + b"\xff\xff\xc0\xa8\x01\x07"
    assert pcp.announce_request("2001:db8::1")[8:] == ipaddress.ip_address("2001:db8::1").packed
    assert pcp.parse_response(pcp_answer()) == pcp.PcpResponse(2, 0, 0, 0, 77)


@pytest.mark.parametrize("data", [b"", bytes(24), pcp_answer()[:23], pcp_answer() + b"x", pcp_answer() + bytes(2000)])
def test_what_is_no_pcp_response(data: bytes) -> None:
    with pytest.raises(StunParseError):
        pcp.parse_response(data)


def test_nat_pmp_tells_the_outer_address() -> None:
    assert nat_pmp.parse_response(nat_pmp_answer()) == nat_pmp.AddressResponse(0, 55, "203.0.113.9")
    assert nat_pmp.parse_response(nat_pmp_answer("0.0.0.0")).external is None
    assert nat_pmp.parse_response(nat_pmp_answer(result=3)).result == 3
    for data in (b"", nat_pmp_answer()[:11], b"\0\0" + bytes(10), b"\1\x80" + bytes(10)):
        with pytest.raises(StunParseError):
            nat_pmp.parse_response(data)


def test_ssdp() -> None:
    wire = ssdp.search_request("urn:x").decode()
    assert wire.startswith("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n")
    assert wire.endswith("ST: urn:x\r\n\r\n")
    found = ssdp.parse_response(ANSWER)
    assert (found.location, found.server) == (LOCATION, "Debian/12 UPnP/1.1 MiniUPnPd/2.3.1")
    for data in (
        b"",
        b"\xff" * 50,
        b"NOTIFY * HTTP/1.1\r\n\r\n",
        ANSWER.replace(b"200", b"404"),
        ANSWER.replace(b"http://", b"file://"),
        ANSWER.replace(b"192.168.1.1:5000", b"[::1:5000"),
        ANSWER.replace(b"LOCATION", b"X"),
        ANSWER + bytes(5000),
    ):
        with pytest.raises(StunParseError):
            ssdp.parse_response(data)


# -- the probe --


def drain(probe: PortmapProbe) -> tuple[list[bytes], list[object]]:
    sent, events = [], []
    while (effect := probe.next_effect()) is not None:
        sent.append(effect.data)
    while (event := probe.next_event()) is not None:
        events.append(event)
    return sent, events


def test_an_old_gateway_is_asked_in_its_own_protocol() -> None:
    probe = PortmapProbe()
    probe.ask_gateway(HERE, GATEWAY.host, 0.0)
    assert drain(probe) == ([pcp.announce_request(HERE.host)], [])
    path = FiveTuple(HERE, GATEWAY)
    probe.receive_datagram(b"\0\x80\0\1" + bytes(4), path, 0.01)
    assert drain(probe) == ([b"\0\0"], [])
    probe.receive_datagram(nat_pmp_answer(), path, 0.02)
    mapper = PortMapper(PortMapperProtocol.NAT_PMP, GATEWAY, external="203.0.113.9", epoch=55)
    assert drain(probe) == ([], [mapper, ProbeFinished()])
    assert probe.next_timeout() is None


def test_a_gateway_may_speak_both() -> None:
    probe = PortmapProbe()
    probe.ask_gateway(HERE, GATEWAY.host, 0.0)
    path = FiveTuple(HERE, GATEWAY)
    probe.receive_datagram(pcp_answer(result=4), path, 0.0)
    probe.receive_datagram(nat_pmp_answer(result=2), path, 0.0)
    _, events = drain(probe)
    assert [getattr(event, "protocol", None) for event in events] == [
        PortMapperProtocol.PCP,
        PortMapperProtocol.NAT_PMP,
        None,
    ]
    assert [getattr(event, "detail", None) for event in events] == ["", "not authorized", None]


def test_silence_is_asked_four_times_and_then_believed() -> None:
    probe = PortmapProbe()
    probe.ask_gateway(HERE, GATEWAY.host, 0.0)
    times = [0.0]
    sent = len(drain(probe)[0])
    events: list[object] = []
    while (deadline := probe.next_timeout()) is not None:
        probe.handle_timeout(deadline.at)
        wires, more = drain(probe)
        sent += len(wires)
        events += more
        times += [deadline.at] * len(wires)
    assert times == [0.0, 0.25, 0.75, 1.75, 3.75, 4.0, 4.5, 5.5]
    assert (sent, events) == (8, [ProbeFinished()])


def test_junk_strangers_and_floods_change_nothing() -> None:
    probe = PortmapProbe(ProbeConfig(max_mappers=2))
    probe.ask_gateway(HERE, GATEWAY.host, 0.0)
    other = HERE._replace(port=40001)
    probe.search(other, 0.0)
    assert len(drain(probe)[0]) == 3
    stranger = TransportAddress("192.168.1.66", 5351)
    for data, path in [
        (pcp_answer(), FiveTuple(HERE, stranger)),
        (b"junk", FiveTuple(HERE, GATEWAY)),
        (nat_pmp_answer(), FiveTuple(HERE, GATEWAY)),
        (ANSWER.replace(b"InternetGateway", b"MediaServer"), FiveTuple(other, stranger)),
        (pcp_answer(), FiveTuple(HERE._replace(port=1), GATEWAY)),
    ]:
        probe.receive_datagram(data, path, 0.1)
    assert (probe.dropped, drain(probe)) == (5, ([], []))
    for number in range(2, 9):
        for _ in range(2):
            probe.receive_datagram(ANSWER, FiveTuple(other, TransportAddress(f"192.168.1.{number}", 1900)), 0.2)
    assert len(drain(probe)[1]) == 2
    # However many claim to be gateways, the real one is heard.
    probe.receive_datagram(pcp_answer(), FiveTuple(HERE, GATEWAY), 0.3)
    probe.receive_datagram(nat_pmp_answer(), FiveTuple(HERE, GATEWAY), 0.4)
    assert [event.protocol for event in drain(probe)[1]] == [PortMapperProtocol.PCP, PortMapperProtocol.NAT_PMP]


# -- on sockets --


async def gateway(*answers: Callable[[bytes], bytes | None]) -> tuple[object, object]:
    """A gateway on loopback that answers PCP and NAT-PMP at their port and searches at another."""

    def answer(data: bytes, remote: tuple[str, int], socket: list[object]) -> None:
        for function in answers:
            if (reply := function(data)) is not None:
                socket[0].send(reply, remote)  # type: ignore[attr-defined]

    holders: list[list[object]] = [[], []]
    for holder, port in zip(holders, (pcp.PORT, 0), strict=True):
        bound = await UdpNetwork().bind(
            TransportAddress("127.6.8.87", port), lambda data, remote, holder=holder: answer(data, remote, holder)
        )
        holder.append(bound)
    return holders[0][0], holders[1][0]


async def test_all_three_on_one_gateway() -> None:
    ports, search = await gateway(
        lambda data: pcp_answer() if data[:1] == b"\2" else None,
        lambda data: nat_pmp_answer() if data == b"\0\0" else None,
        lambda data: ANSWER if data.startswith(b"M-SEARCH") else None,
    )
    config = ProbeConfig(first_wait=0.05, sends=2, search_wait=0.1)
    found = await find_port_mappers("127.6.8.87", group=search.local, config=config)  # type: ignore[attr-defined]
    assert {mapper.protocol for mapper in found} == set(PortMapperProtocol)
    assert len(found) == 3
    assert {mapper.gateway.host for mapper in found} == {"127.6.8.87"}
    ports.close()  # type: ignore[attr-defined]
    search.close()  # type: ignore[attr-defined]


async def test_nobody_answers() -> None:
    config = ProbeConfig(first_wait=0.01, sends=2, search_wait=0.02)
    async with asyncio.timeout(5):
        nobody = TransportAddress("127.6.8.88", 9)
        assert await find_port_mappers("127.6.8.88", group=nobody, config=config) == []
        assert await find_port_mappers(None) == []


def test_the_default_gateway(tmp_path: Path) -> None:
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    routes = tmp_path / "route"
    routes.write_text(
        head
        + "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        + "wlan0\t00000000\t0201A8C0\t0003\t0\t0\t20\t00000000\t0\t0\t0\n"
        + "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert default_gateway(routes) == "192.168.1.2"
    routes.write_text(head)
    assert default_gateway(routes) is None
    assert default_gateway(tmp_path / "nothing") is None


def test_the_default_gateway_of_ipv6(tmp_path: Path) -> None:
    none, routes = "0" * 32, tmp_path / "ipv6_route"
    near, far = "fe800000000000000000000000000001", "20010db8000100000000000000000001"

    def line(target: str, prefix: str, hop: str, metric: str, flags: str, interface: str) -> str:
        return f"{target} {prefix} {none} 00 {hop} {metric} 00000001 00000000 {flags} {interface:>8}\n"

    on_link = line(far[:16] + "0" * 16, "40", none, "00000100", "00000001", "eth0")
    unreachable = line(none, "00", none, "ffffffff", "00200200", "lo")
    routes.write_text(on_link + line(none, "00", near, "00000400", "00450003", "eth0") + unreachable)
    assert default_gateway_ipv6(routes) == "fe80::1%eth0"
    routes.write_text(
        line(none, "00", near, "00000400", "00450003", "eth0") + line(none, "00", far, "00000064", "00000003", "wlan0")
    )
    assert default_gateway_ipv6(routes) == "2001:db8:1::1"
    routes.write_text(on_link + unreachable)
    assert default_gateway_ipv6(routes) is None
    assert default_gateway_ipv6(tmp_path / "nothing") is None
