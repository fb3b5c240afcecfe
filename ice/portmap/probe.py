"""The probe: a machine that asks a gateway, and the local network, which port-mapping services there are.

It only asks; it maps nothing. PCP comes first, because NAT-PMP's successor listens on the same port and says so when it
knows the old protocol only (RFC 6887 section 9, appendix A); UPnP is searched for at the same time.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ice.portmap import nat_pmp, pcp, ssdp
from ice.portmap.protocol import PortMapperProtocol
from stun.address import FiveTuple, TransportAddress
from stun.errors import StunParseError
from stun.machine import Deadline, Outbox, Transmit

__all__ = ["PortMapper", "PortmapProbe", "ProbeConfig", "ProbeFinished"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """How long to ask."""

    first_wait: float = 0.25
    """Seconds before a question is sent again, doubling (RFC 6886 section 3.1)."""
    sends: int = 4
    """How often each question is sent; the RFC's 9 take two minutes, which mapping is worth and looking is not."""
    search_wait: float = 2.0
    """Seconds for which answers to a search are taken, after the last one was sent."""
    max_mappers: int = 16
    """How many answers to a search are kept; anything on the network can answer one. The gateway's own come on top."""


@dataclass(frozen=True, slots=True)
class PortMapper:
    """Event: a service that maps ports was found."""

    protocol: PortMapperProtocol
    gateway: TransportAddress
    """Who answered."""
    external: str | None = None
    """The outer address, of NAT-PMP."""
    epoch: int | None = None
    """Seconds since its state was lost, of PCP and NAT-PMP."""
    location: str | None = None
    """Where the description is, of UPnP."""
    detail: str = ""
    """What it says of itself, or why it would not map now; for people."""


@dataclass(frozen=True, slots=True)
class ProbeFinished:
    """Event: nothing more will be found."""


@dataclass(slots=True)
class _Question:
    protocol: PortMapperProtocol
    wires: tuple[bytes, ...]
    path: FiveTuple
    sends: int = 0
    at: float = 0.0


class PortmapProbe:
    """Asks once; :class:`PortMapper` events tell what answers, :class:`ProbeFinished` that it is over."""

    def __init__(self, config: ProbeConfig | None = None) -> None:
        self.config = config or ProbeConfig()
        self.dropped = 0
        """Datagrams that were no answer."""
        self._outbox: Outbox[Transmit, PortMapper | ProbeFinished] = Outbox()
        self._open: list[_Question] = []
        self._next: list[_Question] = []
        self._found: set[str] = set()
        self._finished = False

    def ask_gateway(self, local: TransportAddress, gateway: str, now: float) -> None:
        """Ask the default gateway for PCP, and then for NAT-PMP when it is an IPv4 one."""
        path = FiveTuple(local, TransportAddress(gateway, pcp.PORT))
        self._ask(_Question(PortMapperProtocol.PCP, (pcp.announce_request(local.host),), path), now)
        if path.remote.family == 4:
            self._next.append(_Question(PortMapperProtocol.NAT_PMP, (nat_pmp.ADDRESS_REQUEST,), path))

    def search(self, local: TransportAddress, now: float, group: TransportAddress = ssdp.GROUP) -> None:
        """Search the network of ``local`` for UPnP gateways."""
        wires = tuple(ssdp.search_request(target) for target in ssdp.GATEWAY_TARGETS)
        self._ask(_Question(PortMapperProtocol.UPNP_IGD, wires, FiveTuple(local, group)), now)

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what arrived. Never raises."""
        question = self._question_of(path)
        if question is not None and question.protocol is PortMapperProtocol.PCP and _is_older(data):
            self._close(question, now)  # The answer is in the old protocol, in which it is asked next.
            return
        mapper = None if question is None else self._read(question, data, path)
        if question is None or mapper is None:
            self.dropped += 1
            return
        if mapper.protocol is not PortMapperProtocol.UPNP_IGD:
            self._outbox.events.append(mapper)
            self._close(question, now)
        elif mapper.gateway.host not in self._found and len(self._found) < self.config.max_mappers:
            self._found.add(mapper.gateway.host)
            self._outbox.events.append(mapper)

    def handle_timeout(self, now: float) -> None:
        """Ask again, or give up."""
        for question in list(self._open):
            if question.at <= now:
                if question.sends < self.config.sends:
                    self._send(question, now)
                else:
                    self._close(question, now)

    def next_effect(self) -> Transmit | None:
        """Return the next datagram to send, or None."""
        return self._outbox.next_effect()

    def next_event(self) -> PortMapper | ProbeFinished | None:
        """Return the next thing found, or None."""
        return self._outbox.next_event()

    def next_timeout(self) -> Deadline | None:
        """Return when to ask again."""
        if not self._open:
            return None
        return Deadline(min(question.at for question in self._open), "port mapping probe")

    # -- inside --

    def _ask(self, question: _Question, now: float) -> None:
        self._open.append(question)
        self._send(question, now)

    def _send(self, question: _Question, now: float) -> None:
        wait = self.config.first_wait * 2**question.sends
        question.sends += 1
        last = question.sends >= self.config.sends
        search = question.protocol is PortMapperProtocol.UPNP_IGD
        question.at = now + (self.config.search_wait if search and last else wait)
        self._outbox.effects.extend(Transmit(wire, question.path) for wire in question.wires)

    def _close(self, question: _Question, now: float) -> None:
        self._open.remove(question)
        for following in [following for following in self._next if following.path == question.path]:
            self._next.remove(following)
            self._ask(following, now)
        if not self._open and not self._finished:
            self._finished = True
            self._outbox.events.append(ProbeFinished())

    def _question_of(self, path: FiveTuple) -> _Question | None:
        for question in self._open:
            search = question.protocol is PortMapperProtocol.UPNP_IGD
            # Answers to a search come from anywhere; a gateway answers from where it was asked (RFC 6886 3.1).
            if question.path.local == path.local and (search or question.path.remote == path.remote):
                return question
        return None

    def _read(self, question: _Question, data: bytes, path: FiveTuple) -> PortMapper | None:
        try:
            match question.protocol:
                case PortMapperProtocol.PCP:
                    return _read_pcp(data, path)
                case PortMapperProtocol.NAT_PMP:
                    return _read_nat_pmp(data, path)
                case PortMapperProtocol.UPNP_IGD:
                    return _read_ssdp(data, path)
        except StunParseError:
            return None


def _is_older(data: bytes) -> bool:
    # RFC 6886 section 3.5: "unsupported version", with the server's own version.
    return 8 <= len(data) <= 16 and data[0] == 0 and data[1] >= 0x80 and data[2:4] == b"\0\1"


def _name(codes: type[enum.IntEnum], result: int) -> str:
    known = result in list(codes)
    return codes(result).name.replace("_", " ").lower() if known else f"result {result}"


def _read_pcp(data: bytes, path: FiveTuple) -> PortMapper:
    response = pcp.parse_response(data)
    # A server without ANNOUNCE is a server all the same.
    fine = response.result in (pcp.PcpResult.SUCCESS, pcp.PcpResult.UNSUPP_OPCODE)
    return PortMapper(
        PortMapperProtocol.PCP,
        path.remote,
        epoch=response.epoch,
        detail="" if fine else _name(pcp.PcpResult, response.result),
    )


def _read_nat_pmp(data: bytes, path: FiveTuple) -> PortMapper:
    response = nat_pmp.parse_response(data)
    detail = _name(nat_pmp.NatPmpResult, response.result) if response.result else ""
    if not response.result and response.external is None:
        detail = "it has no outer address"
    return PortMapper(
        PortMapperProtocol.NAT_PMP, path.remote, external=response.external, epoch=response.epoch, detail=detail
    )


def _read_ssdp(data: bytes, path: FiveTuple) -> PortMapper:
    response = ssdp.parse_response(data)
    if response.target not in ssdp.GATEWAY_TARGETS:
        raise StunParseError("another kind of device")
    return PortMapper(PortMapperProtocol.UPNP_IGD, path.remote, location=response.location, detail=response.server)
