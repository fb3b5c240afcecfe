"""The search for UPnP Internet gateways by SSDP (UPnP Device Architecture 2.0 section 1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from stun.address import TransportAddress
from stun.errors import StunParseError

__all__ = ["GATEWAY_TARGETS", "GROUP", "SsdpResponse", "parse_response", "search_request"]

GROUP = TransportAddress("239.255.255.250", 1900)
"""Where searches go."""
GATEWAY_TARGETS = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
)
"""What gateways answer to; version 2 ones should answer to version 1 as well, and not all do."""
_MAX_RESPONSE = 4096
_MAX_HEADERS = 64


@dataclass(frozen=True, slots=True)
class SsdpResponse:
    """One device's answer."""

    target: str
    """ST, what was found."""
    location: str
    """Where its description is, an http: URL."""
    server: str
    """What software says that it is; empty for nothing."""


def search_request(target: str, wait: int = 2) -> bytes:
    """Return a search for ``target``; devices answer within ``wait`` seconds (1..5)."""
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {GROUP}",
        'MAN: "ssdp:discover"',
        f"MX: {wait}",
        f"ST: {target}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def parse_response(data: bytes) -> SsdpResponse:
    """Read an answer to a search.

    Raises:
        StunParseError: it is none, or has no usable location.
    """
    if len(data) > _MAX_RESPONSE:
        raise StunParseError(f"an SSDP response of {len(data)} bytes")
    lines = data.decode("latin-1").split("\r\n")
    status = lines[0].split(" ")
    if len(lines) > _MAX_HEADERS or len(status) < 2 or not status[0].startswith("HTTP/1.") or status[1] != "200":
        raise StunParseError("no SSDP response")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    location = headers.get("location", "")
    if not _is_http(location) or "st" not in headers:
        raise StunParseError("an SSDP response without a location")
    return SsdpResponse(headers["st"], location, _printable(headers.get("server", "")))


def _is_http(location: str) -> bool:
    try:
        parts = urlsplit(location)
        return parts.scheme == "http" and bool(parts.hostname) and location.isprintable()
    except ValueError:
        return False


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:128]
