from __future__ import annotations

import pytest

from stun.address import TransportProtocol
from stun.errors import StunUriError
from stun.uri import Scheme, ServerUri

UDP, TCP, TLS, DTLS = (
    TransportProtocol.UDP,
    TransportProtocol.TCP,
    TransportProtocol.TLS,
    TransportProtocol.DTLS,
)


@pytest.mark.parametrize(
    ("text", "expected", "port", "protocol"),
    [
        ("stun:example.org", ServerUri(Scheme.STUN, "example.org"), 3478, UDP),
        ("STUN:example.org", ServerUri(Scheme.STUN, "example.org"), 3478, UDP),
        ("stun:192.0.2.1:99", ServerUri(Scheme.STUN, "192.0.2.1", 99), 99, UDP),
        ("stun:[2001:DB8::1]", ServerUri(Scheme.STUN, "2001:db8::1"), 3478, UDP),
        ("stun:[::1]:5000", ServerUri(Scheme.STUN, "::1", 5000), 5000, UDP),
        ("stuns:example.org", ServerUri(Scheme.STUNS, "example.org"), 5349, TLS),
        ("turn:example.org", ServerUri(Scheme.TURN, "example.org"), 3478, UDP),
        ("turn:a.b:1?transport=tcp", ServerUri(Scheme.TURN, "a.b", 1, "tcp"), 1, TCP),
        ("turn:a.b?transport=UDP", ServerUri(Scheme.TURN, "a.b", None, "udp"), 3478, UDP),
        ("turns:a.b?transport=tcp", ServerUri(Scheme.TURNS, "a.b", None, "tcp"), 5349, TLS),
        ("turns:a.b?transport=udp", ServerUri(Scheme.TURNS, "a.b", None, "udp"), 5349, DTLS),
        ("turns:192.0.2.1", ServerUri(Scheme.TURNS, "192.0.2.1"), 5349, TLS),
    ],
)
def test_uris(text: str, expected: ServerUri, port: int, protocol: TransportProtocol) -> None:
    uri = ServerUri.parse(text)
    assert uri == expected
    assert (uri.effective_port, uri.protocol) == (port, protocol)
    assert ServerUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "http:example.org",
        "stun://example.org",
        "stun:",
        "stun:user@example.org",
        "stun:example.org:",
        "stun:example.org:0",
        "stun:example.org:65536",
        "stun:example.org:x",
        "stun:example.org/path",
        "stun:2001:db8::1",
        "stun:[2001:db8::g]",
        "stun:[192.0.2.1]",
        "stun:a b",
        "stun:" + "a" * 256,
        "stun:example.org?transport=udp",
        "stun:example.org#x",
        "stuns:192.0.2.1",
        "stuns:[2001:db8::1]",
        "turn:example.org?transport=sctp",
        "turn:example.org?",
        "turn:example.org?foo=udp",
    ],
)
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(StunUriError):
        ServerUri.parse(text)


def test_literals() -> None:
    assert ServerUri.parse("stun:192.0.2.1").is_literal
    assert ServerUri.parse("stun:[::1]").is_literal
    assert not ServerUri.parse("stun:example.org").is_literal
