"""Session descriptions of data-only peers (RFC 8829 data subset, RFC 8839, RFC 8841, RFC 8842), read and written.

A description is data: :class:`DataDescription`. :func:`parse` takes what Chromium, js-libp2p (libdatachannel), aiortc
and we ourselves write, and raises :class:`~webrtc_bridge.errors.SdpError` on everything else. Media sections other
than the first usable ``m=application`` are remembered, so that an answer can reject them as RFC 8829 asks.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from webrtc_bridge.errors import SdpError

__all__ = ["DataDescription", "Fingerprint", "RejectedMedia", "SdpType", "Setup", "parse", "serialize"]

MAX_LINES = 2000
MAX_SECTIONS = 64
REMOTE_DEFAULT_MAX_MESSAGE_SIZE = 65536  # RFC 8841 section 6.1
SMALLEST_MAX_MESSAGE_SIZE = 256  # ours: no frame of a libp2p stream would fit
DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP")

_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+\Z")
_TLS_ID = re.compile(r"[A-Za-z0-9+/\-_]{20,255}\Z")
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}\Z")
_HEX_PAIRS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})*\Z")
_ORIGIN = re.compile(r"^o=\S+ ([0-9]{1,20}) ([0-9]{1,20}) ", re.MULTILINE)
_MEDIA = re.compile(r"([a-z]{1,32}) (\d{1,5})(?:/\d{1,5})? ([A-Za-z0-9/]{1,64}) (\S.*)\Z")


class SdpType(enum.StrEnum):
    """The side of the exchange a description belongs to (RFC 8829 section 3.3)."""

    OFFER = "offer"
    ANSWER = "answer"


class Setup(enum.StrEnum):
    """Who starts the DTLS handshake (RFC 8842 section 5.2): the active side is the DTLS client."""

    ACTPASS = "actpass"
    ACTIVE = "active"
    PASSIVE = "passive"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a certificate (RFC 8122): ``algorithm`` in lower case, ``value`` as upper-case hex pairs."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class RejectedMedia:
    """A media section that we do not take: its place, its ``m=`` fields and its mid."""

    index: int
    kind: str
    protocol: str
    formats: str
    mid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDescription:
    """What one side says about its data-only peer connection."""

    type: SdpType
    ufrag: str
    """ICE user fragment, 4..256 ice-chars (RFC 8839 section 5.4)."""
    pwd: str
    """ICE password, 22..256 ice-chars."""
    fingerprints: tuple[Fingerprint, ...]
    """At least one with a hash that DTLS can check."""
    setup: Setup
    tls_id: str | None = None
    """The name of the DTLS association, 20..255 characters (RFC 8842 section 4); None where it is not told."""
    ice_lite: bool = False
    ice_options: tuple[str, ...] = ("trickle", "ice2")
    ice_pacing: int = 50
    """The pace of checks that the describing side proposes, in milliseconds (RFC 8839 section 5.5)."""
    sctp_port: int = 5000
    max_message_size: int = REMOTE_DEFAULT_MAX_MESSAGE_SIZE
    """Bytes of one message that the describing side takes; 0 is no limit (RFC 8841 section 6)."""
    mid: str = "0"
    index: int = 0
    """The place of the data section among the ``m=`` lines."""
    candidates: tuple[str, ...] = ()
    """``candidate:…`` values in order, not parsed further here."""
    end_of_candidates: bool = False
    session_id: int = 0
    session_version: int = 0
    rejected: tuple[RejectedMedia, ...] = field(default=())


class _Section:
    """The attributes of the session or of one media section, in order."""

    def __init__(self, media: str = "") -> None:
        self.media = media
        self.attributes: dict[str, list[str]] = {}

    def add(self, line: str) -> None:
        name, _, value = line.partition(":")
        self.attributes.setdefault(name, []).append(value)

    def first(self, name: str) -> str | None:
        values = self.attributes.get(name)
        return values[0] if values else None


def parse(text: str, kind: SdpType, max_length: int = 64 * 1024) -> DataDescription:
    """Return what ``text`` says about its data section.

    Raises:
        SdpError: it is too long, has no usable data section, or a field in it is missing or out of its range.
    """
    if len(text) > max_length:
        raise SdpError(f"a description of {len(text)} characters exceeds the limit of {max_length}")
    session, sections = _split(text)
    index = _find_data_section(sections)
    section = sections[index]
    origin = _ORIGIN.search(text)
    return DataDescription(
        type=kind,
        ufrag=_credential(session, section, "ice-ufrag", 4),
        pwd=_credential(session, section, "ice-pwd", 22),
        fingerprints=_fingerprints(session, section),
        setup=_setup(session, section, kind),
        tls_id=_tls_id(section),
        ice_lite="ice-lite" in session.attributes,
        ice_options=_ice_options(session, section),
        ice_pacing=_ice_pacing(session),
        sctp_port=_sctp_port(section),
        max_message_size=_max_message_size(section),
        mid=_mid(section) or str(index),
        index=index,
        candidates=tuple("candidate:" + value for value in section.attributes.get("candidate", [])),
        end_of_candidates="end-of-candidates" in section.attributes or "end-of-candidates" in session.attributes,
        session_id=int(origin[1]) if origin else 0,
        session_version=int(origin[2]) if origin else 0,
        rejected=tuple(_rejected(at, other) for at, other in enumerate(sections) if at != index),
    )


def serialize(description: DataDescription) -> str:
    """Return the text of ``description``, with CRLF line ends (RFC 8829 sections 5.2.1 and 5.3.1)."""
    options = " ".join(description.ice_options)
    lines = [
        "v=0",
        f"o=- {description.session_id} {description.session_version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {description.mid}",
    ]
    if description.ice_lite:
        lines.append("a=ice-lite")
    else:
        lines.append(f"a=ice-pacing:{description.ice_pacing}")
    sections: dict[int, list[str]] = {media.index: _rejected_lines(media) for media in description.rejected}
    data = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0"]
    data += [f"a={candidate}" for candidate in description.candidates]
    if description.end_of_candidates:
        data.append("a=end-of-candidates")
    data += [f"a=ice-ufrag:{description.ufrag}", f"a=ice-pwd:{description.pwd}"]
    if options:
        data.append(f"a=ice-options:{options}")
    data += [f"a=fingerprint:{item.algorithm} {item.value}" for item in description.fingerprints]
    if description.tls_id is not None:
        data.append(f"a=tls-id:{description.tls_id}")
    data += [
        f"a=setup:{description.setup}",
        f"a=mid:{description.mid}",
        f"a=sctp-port:{description.sctp_port}",
        f"a=max-message-size:{description.max_message_size}",
    ]
    sections[description.index] = data
    for index in sorted(sections):
        lines += sections[index]
    return "\r\n".join(lines) + "\r\n"


def _rejected_lines(media: RejectedMedia) -> list[str]:
    lines = [f"m={media.kind} 0 {media.protocol} {media.formats}", "c=IN IP4 0.0.0.0", "a=inactive"]
    return lines if media.mid is None else [*lines, f"a=mid:{media.mid}"]


def _split(text: str) -> tuple[_Section, list[_Section]]:
    session, sections = _Section(), []
    current = session
    lines = text.splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise SdpError("a description begins with v=0")
    if len(lines) > MAX_LINES:
        raise SdpError(f"a description of {len(lines)} lines exceeds the limit of {MAX_LINES}")
    for line in lines[1:]:
        kind, equals, value = line.strip().partition("=")
        if not equals or len(kind) != 1:
            if line.strip():
                raise SdpError(f"not a line of a description: {line[:40]!r}")
        elif kind == "m":
            current = _Section(value)
            sections.append(current)
        elif kind == "a":
            current.add(value)
    if len(sections) > MAX_SECTIONS:
        raise SdpError(f"{len(sections)} media sections exceed the limit of {MAX_SECTIONS}")
    return session, sections


def _media_fields(section: _Section) -> tuple[str, int, str, str]:
    match = _MEDIA.match(section.media)
    if match is None:
        raise SdpError(f"not a media line: {section.media[:40]!r}")
    return match[1], int(match[2]), match[3], match[4]


def _find_data_section(sections: list[_Section]) -> int:
    for index, section in enumerate(sections):
        kind, port, protocol, _ = _media_fields(section)
        if kind == "application" and protocol in PROTOCOLS and (port or "bundle-only" in section.attributes):
            return index
    raise SdpError("the description has no data section that is not rejected")


def _rejected(index: int, section: _Section) -> RejectedMedia:
    kind, _, protocol, formats = _media_fields(section)
    return RejectedMedia(index, kind, protocol, formats[:256], _mid(section))


def _attribute(session: _Section, section: _Section, name: str) -> str | None:
    value = section.first(name)
    return session.first(name) if value is None else value


def _credential(session: _Section, section: _Section, name: str, shortest: int) -> str:
    value = _attribute(session, section, name)
    if value is None:
        raise SdpError(f"{name} is missing")
    if not shortest <= len(value) <= 256 or not _ICE_CHARS.match(value):
        raise SdpError(f"{name} is not {shortest} to 256 ice-chars")
    return value


def _fingerprints(session: _Section, section: _Section) -> tuple[Fingerprint, ...]:
    found = []
    for value in section.attributes.get("fingerprint") or session.attributes.get("fingerprint") or []:
        algorithm, _, digest = value.strip().partition(" ")
        algorithm = algorithm.lower()
        if algorithm not in DIGEST_BYTES:
            continue  # a hash that we cannot check, such as sha-1, proves nothing
        if not _HEX_PAIRS.match(digest) or len(digest) != 3 * DIGEST_BYTES[algorithm] - 1:
            raise SdpError(f"the {algorithm} fingerprint is not {DIGEST_BYTES[algorithm]} hex pairs")
        found.append(Fingerprint(algorithm, digest.upper()))
    if not found:
        raise SdpError("no fingerprint with a hash that can be checked")
    return tuple(dict.fromkeys(found))


def _setup(session: _Section, section: _Section, kind: SdpType) -> Setup:
    value = _attribute(session, section, "setup")
    try:
        setup = Setup(value or "")
    except ValueError:
        raise SdpError(f"setup is {value!r}, not actpass, active or passive") from None
    if kind is SdpType.ANSWER and setup is Setup.ACTPASS:
        raise SdpError("an answer has to choose setup:active or setup:passive")
    return setup


def _tls_id(section: _Section) -> str | None:
    value = section.first("tls-id")
    if value is not None and not _TLS_ID.match(value):
        raise SdpError("tls-id is not 20 to 255 of its characters")
    return value


def _ice_options(session: _Section, section: _Section) -> tuple[str, ...]:
    words = [*session.attributes.get("ice-options", []), *section.attributes.get("ice-options", [])]
    # libdatachannel separates them by a comma where RFC 8839 section 5.6 has a space.
    options = [word for value in words for word in value.replace(",", " ").split()]
    return tuple(dict.fromkeys(word for word in options if _TOKEN.match(word)))


def _ice_pacing(session: _Section) -> int:
    value = session.first("ice-pacing")
    return 50 if value is None else _number(value, "ice-pacing", 10**10 - 1)


def _sctp_port(section: _Section) -> int:
    value = section.first("sctp-port")
    if value is None:  # the form before RFC 8841: the port is the format, "a=sctpmap:5000 webrtc-datachannel 1024"
        value = _media_fields(section)[3].split()[0]
        value = "5000" if value == "webrtc-datachannel" else value
    port = _number(value, "sctp-port", 65535)
    if port == 0:
        raise SdpError("sctp-port 0 closes the association")
    return port


def _max_message_size(section: _Section) -> int:
    value = section.first("max-message-size")
    size = REMOTE_DEFAULT_MAX_MESSAGE_SIZE if value is None else _number(value, "max-message-size", 2**53)
    if 0 < size < SMALLEST_MAX_MESSAGE_SIZE:
        raise SdpError(f"max-message-size {size} is too small to be of use")
    return size


def _mid(section: _Section) -> str | None:
    value = section.first("mid")
    if value is not None and not _TOKEN.match(value):
        raise SdpError("mid is not a token of at most 64 characters")
    return value


def _number(text: str | None, name: str, highest: int) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > highest:
        raise SdpError(f"{name} is not a number in 0..{highest}")
    return int(text)
