"""The URIs of STUN and TURN servers (RFC 7064 and RFC 7065), as W3C's ``RTCIceServer.urls`` has them."""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass

from stun.address import TransportProtocol, is_ip_literal
from stun.errors import StunUriError

__all__ = ["Scheme", "ServerUri"]

_URI = re.compile(r"(?P<scheme>stuns?|turns?):(?P<rest>[^?#]*)(?:\?(?P<query>[^#]*))?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[(?P<literal>[^\]]*)\]|(?P<name>[^:\[\]/@]+))(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9_~!$&'()*+,;=.%-]{1,255}")


class Scheme(enum.StrEnum):
    """The four schemes."""

    STUN = "stun"
    STUNS = "stuns"
    TURN = "turn"
    TURNS = "turns"

    @property
    def is_secure(self) -> bool:
        """Whether TLS or DTLS is asked for."""
        return self in (Scheme.STUNS, Scheme.TURNS)

    @property
    def default_port(self) -> int:
        """3478, or 5349 when secure."""
        return 5349 if self.is_secure else 3478


@dataclass(frozen=True, slots=True)
class ServerUri:
    """One server to ask."""

    scheme: Scheme
    host: str
    """A name or an IP literal without brackets, as written."""
    port: int | None = None
    """None when the URI has none: then SRV records decide for a name, and the default port for a literal."""
    transport: str | None = None
    """``udp`` or ``tcp``, TURN only; None lets the client choose."""

    @classmethod
    def parse(cls, text: str) -> ServerUri:
        """Read a URI.

        Raises:
            StunUriError: it is none, or one that RFC 8489 section 8 refuses (``stuns:`` with an IP literal).
        """
        match = _URI.fullmatch(text.strip())
        if match is None:
            raise StunUriError(f"{text!r} does not start with stun:, stuns:, turn: or turns:")
        scheme = Scheme(match["scheme"].lower())
        host, port = _authority(match["rest"], text)
        if scheme is Scheme.STUNS and is_ip_literal(host):
            raise StunUriError(f"{text!r}: stuns: needs a name that the certificate can show, not an IP address")
        return cls(scheme, host, port, _transport(scheme, match["query"], text))

    @property
    def is_literal(self) -> bool:
        """Whether the host is an IP address."""
        return is_ip_literal(self.host)

    @property
    def effective_port(self) -> int:
        """The port of the URI, or the scheme's default."""
        return self.scheme.default_port if self.port is None else self.port

    @property
    def protocol(self) -> TransportProtocol:
        """What the URI asks to speak: UDP or TCP, or DTLS or TLS; without ``transport`` the datagram one,

        except that secure schemes mean TLS, which is what servers offer there.
        """
        if self.scheme.is_secure:
            return TransportProtocol.DTLS if self.transport == "udp" else TransportProtocol.TLS
        return TransportProtocol.TCP if self.transport == "tcp" else TransportProtocol.UDP

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        transport = "" if self.transport is None else f"?transport={self.transport}"
        return f"{self.scheme}:{host}{port}{transport}"


def _authority(rest: str, text: str) -> tuple[str, int | None]:
    match = _AUTHORITY.fullmatch(rest)
    if match is None:
        raise StunUriError(f"{text!r} has no host[:port]; an IPv6 address goes in brackets")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= 65535:
        raise StunUriError(f"{text!r}: port {port} is not in 1..65535")
    literal: str | None = match["literal"]
    if literal is None:
        if not _NAME.fullmatch(match["name"]):
            raise StunUriError(f"{text!r}: {match['name']!r} is not a host name")
        return match["name"], port
    try:
        return str(ipaddress.IPv6Address(literal)), port
    except ValueError as error:
        raise StunUriError(f"{text!r}: {literal!r} is not an IPv6 address") from error


def _transport(scheme: Scheme, query: str | None, text: str) -> str | None:
    if query is None:
        return None
    key, _, value = query.partition("=")
    if scheme in (Scheme.STUN, Scheme.STUNS):
        raise StunUriError(f"{text!r}: {scheme}: takes no query (RFC 7064)")
    if key.lower() != "transport" or value.lower() not in ("udp", "tcp"):
        raise StunUriError(f"{text!r}: the query has to be transport=udp or transport=tcp (RFC 7065)")
    return value.lower()
