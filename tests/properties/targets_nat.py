"""Fuzz targets of NAT behaviour discovery, port mapping and DTLS."""

from __future__ import annotations

import functools
import random
import ssl
import tempfile
from pathlib import Path

from OpenSSL import SSL

from ice.candidate import Base
from ice.portmap import map_codec, nat_pmp, pcp, ssdp
from ice.portmap.client import PortmapClient
from ice.portmap.config import PortmapConfig
from ice.portmap.probe import PortmapProbe
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.dtls_session import DtlsSession, Phase, dtls_client_context, dtls_server_context
from stun.behaviour_client import ALL_TESTS, BehaviourClient, BindPort
from stun.behaviour_server import BehaviourRules, other_addresses
from stun.binding_server import BindingServer
from stun.config import BehaviourServerConfig
from stun.dtls_cookie import CookieExchange, HelloVerdict, parse_client_hello
from stun.errors import StunParseError
from stun.machine import Transmit
from tests.stun.certificates import Authority

PRIMARY, OTHER = TransportAddress("198.51.100.1", 3478), TransportAddress("198.51.100.2", 3479)
LOCAL = TransportAddress("192.0.2.7", 40000)


def fuzz_dtls_client_hello(data: bytes) -> None:
    """Any bytes are a ClientHello or a StunParseError; no cookie is right by chance, and no answer amplifies."""
    try:
        hello = parse_client_hello(data)
    except StunParseError:
        return
    exchange = CookieExchange(bytes(range(32)))
    assert exchange.judge(hello, LOCAL, 0.0) is HelloVerdict.UNVERIFIED
    assert len(exchange.challenge(hello, LOCAL, 0.0)) <= max(48, len(data))


@functools.cache
def _contexts() -> tuple[SSL.Context, SSL.Context]:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as folder:
        server = dtls_server_context(Authority.make(Path(folder)).issue("turn.test"))
    return dtls_client_context(trust), server


def fuzz_dtls_session(data: bytes) -> None:
    """No datagram opens a session, makes it talk without end, or raises."""
    client_context, server_context = _contexts()
    client = DtlsSession(client_context, 1200)
    client.connect("turn.test", verify=False)
    server = DtlsSession(server_context, 1200)
    server.accept(data)
    for session in (client, server):
        for piece in (data, data[:7], data[7:], data):
            assert session.receive(piece) == []
            assert sum(map(len, session.take())) < 20_000
        assert session.phase is not Phase.OPEN
        session.close()
        session.take()


def fuzz_behaviour_client(data: bytes) -> None:
    """Whatever answers a request, the examination goes on to its end."""
    client = BehaviourClient(PRIMARY, random.Random(1), tests=ALL_TESTS)
    client.start(0.0)
    now, port, steps = 0.0, 40000, 0
    while client.next_event() is None:
        steps += 1
        assert steps < 2000
        while (effect := client.next_effect()) is not None:
            if isinstance(effect, BindPort):
                port += 1
                client.port_bound(effect.key, LOCAL._replace(port=port), now)
            elif isinstance(effect, Transmit):
                # Answers have the right transaction, or nobody would look at the rest.
                answer = data[:8] + effect.data[8:20] + data[20:]
                client.receive_datagram(answer, effect.path, now)
        if (deadline := client.next_timeout()) is not None:
            now = max(now, deadline.at)
            client.handle_timeout(now)


def fuzz_behaviour_server(data: bytes) -> None:
    """No request has more than one response, and none goes to another host than the one that asked."""
    others = other_addresses(PRIMARY, OTHER.host, OTHER.port)
    server = BindingServer(behaviour=BehaviourRules(BehaviourServerConfig(), others))
    for path in (FiveTuple(PRIMARY, LOCAL), FiveTuple(PRIMARY, LOCAL, TransportProtocol.DTLS)):
        server.path_opened(path, 0.0)
        server.receive_datagram(data, path, 0.0)
        effect = server.next_effect()
        if effect is not None:
            assert isinstance(effect, Transmit)
            assert effect.path.remote.host == LOCAL.host
            assert effect.path.local in others
            assert len(effect.data) <= len(data) + 140
        assert server.next_effect() is None


def fuzz_port_mapping(data: bytes) -> None:
    """Any bytes are an answer or a StunParseError, and the probe ends whatever comes."""
    for read in (pcp.parse_response, nat_pmp.parse_response, ssdp.parse_response):
        try:
            read(data)
        except StunParseError:
            continue
    probe = PortmapProbe()
    probe.ask_gateway(LOCAL, "192.0.2.1", 0.0)
    probe.search(LOCAL._replace(port=1), 0.0)
    gateway = TransportAddress("192.0.2.1", pcp.PORT)
    for now in range(20):
        probe.receive_datagram(data, FiveTuple(LOCAL, gateway), float(now))
        probe.receive_datagram(data, FiveTuple(LOCAL._replace(port=1), gateway), float(now))
        probe.handle_timeout(float(now))
    assert probe.next_timeout() is None


def fuzz_port_mapping_client(data: bytes) -> None:
    """Whatever a gateway sends, the client of port mapping does not raise, and ends when it is told to."""
    for read in (map_codec.parse_pcp_mapping, map_codec.parse_nat_pmp_mapping):
        try:
            read(data)
        except StunParseError:
            continue
    here, gateway = TransportAddress("192.168.1.7", 40000), TransportAddress("192.168.1.1", pcp.PORT)
    path, base = FiveTuple(here, gateway), Base(here._replace(port=5000))
    client = PortmapClient(PortmapConfig(), path, random.Random(1))
    client.map(base, 0.0)
    for now in range(5):
        client.receive_datagram(data, path, float(now))
        while (effect := client.next_effect()) is not None:
            if isinstance(effect, Transmit) and len(effect.data) == 60 and len(data) >= 60:
                # With the nonce and the port of the question it is an answer, whatever the rest says.
                answer = data[:24] + effect.data[24:42] + data[42:60]
                client.receive_datagram(answer, path, float(now))
        client.handle_timeout(float(now))
    client.close(6.0)
    for now in range(7, 20):
        client.handle_timeout(float(now))
        while client.next_effect() is not None:
            pass
    client.upnp_failed(base, "no router", 20.0)
    assert client.is_idle
    assert client.next_timeout() is None
