"""The client of port mapping: a machine that has one gateway map ports of one address of ours, and keeps them mapped.

Each port is asked for in PCP, NAT-PMP and UPnP, in this order and each a little later than the one before; the first
that grants it holds it. A gateway that turns out to know only the older protocol is asked in that at once. Mappings are
renewed, made again when the gateway has lost its state, and deleted at the end.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Hashable, Iterator

from ice.candidate import Base
from ice.portmap import nat_pmp, pcp
from ice.portmap.config import PortmapConfig
from ice.portmap.epoch import NatPmpEpoch, PcpEpoch
from ice.portmap.events import MapperEvent, PortMappingFailed, UpnpMap, UpnpUnmap
from ice.portmap.lease import Lease, LeaseState
from ice.portmap.leases import Leases
from ice.portmap.map_codec import (
    NONCE_LENGTH,
    NatPmpMapping,
    PcpMapping,
    nat_pmp_map_request,
    parse_nat_pmp_mapping,
    parse_pcp_mapping,
    pcp_map_request,
)
from ice.portmap.protocol import PortMapperProtocol
from ice.portmap.questions import Questions, Schedule
from ice.portmap.results import LONG_ERROR, error_wait, name_of
from stun.address import FiveTuple, TransportAddress
from stun.errors import StunParseError
from stun.machine import Deadline, Outbox, Transmit

__all__ = ["PortmapClient"]

_PCP, _NAT_PMP, _UPNP = PortMapperProtocol.PCP, PortMapperProtocol.NAT_PMP, PortMapperProtocol.UPNP_IGD
_ADDRESS = "address"
"""The key of NAT-PMP's question for the outer address."""
_MAP, _DELETE = "map", "delete"
_RFC_1918 = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


class PortmapClient:
    """Maps ports of ``path.local``'s host; ``path`` leads from a socket of its own to the gateway's port 5351.

    Args:
        config: what and for how long.
        path: where PCP and NAT-PMP are spoken.
        rng: a CSPRNG, for PCP's nonces and the jitter.
        upnp: whether the driver can do :class:`~ice.portmap.events.UpnpMap`.
    """

    def __init__(self, config: PortmapConfig, path: FiveTuple, rng: random.Random, *, upnp: bool = True) -> None:
        self._config = config
        self._path = path
        self._rng = rng
        self._dialects = [protocol for protocol in config.protocols if self._speaks(protocol, upnp)]
        pcp_schedule = Schedule(first=3.0, sends=config.pcp_sends, jitter=0.1)
        nat_pmp_schedule = Schedule(first=0.25, sends=config.nat_pmp_sends, serial=True)
        self._questions = {_PCP: Questions(pcp_schedule, rng), _NAT_PMP: Questions(nat_pmp_schedule, rng)}
        self._pcp_epoch, self._nat_pmp_epoch = PcpEpoch(), NatPmpEpoch()
        self._external_host: str | None = None
        self._heard: set[PortMapperProtocol] = set()
        self._upnp_pending: set[Base] = set()
        self._outbox: Outbox[Transmit | UpnpMap | UpnpUnmap, MapperEvent] = Outbox()
        self._leases = Leases(config, path.remote.host, rng, self._outbox.events)
        self._closed = False
        self.dropped = 0
        """Datagrams that were no answer of the gateway to a question of ours."""

    def _speaks(self, protocol: PortMapperProtocol, upnp: bool) -> bool:
        if protocol is _NAT_PMP:  # RFC 6886 section 3.1: only from private addresses.
            return any(self._path.local.ip in network for network in _RFC_1918)
        return protocol is not _UPNP or (upnp and self._path.local.family == 4)

    # -- what is wanted --

    def map(self, base: Base, now: float) -> None:
        """Have ``base`` mapped; more than the limit, or none of ours to ask, is a failure."""
        if self._closed or base in self._leases:
            return
        if not self._dialects or len(self._leases) >= self._config.max_mappings:
            reason = "too many mappings" if self._dialects else "no protocol can be used from this address"
            self._outbox.events.append(PortMappingFailed(base, reason))
            return
        lease = Lease(base, self._rng.randbytes(NONCE_LENGTH))
        self._leases.add(lease)
        lease.plan(self._dialects, self._config.head_start, now)
        self.handle_timeout(now)

    def unmap(self, base: Base, now: float) -> None:
        """Have a mapping deleted; harmless for one that is not there."""
        lease = self._leases.get(base)
        if lease is None or lease.state is LeaseState.ENDING:
            return
        self._leases.lose(lease, "not needed any more")
        lease.state = LeaseState.ENDING
        lease.planned.clear()
        lease.trying.clear()
        for dialect in list(lease.mapped_by):
            self._delete(lease, dialect, now)
        self._forget_if_done(lease)
        self.handle_timeout(now)

    def close(self, now: float) -> None:
        """Delete everything; :attr:`is_idle` tells when the gateway has confirmed it."""
        self._closed = True
        for lease in self._leases:
            self.unmap(lease.base, now)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of ours is at the gateway, as far as it said."""
        return not self._leases

    @property
    def is_asking(self) -> bool:
        """Whether a first answer is still open for some port."""
        return any(lease.state is LeaseState.ASKING for lease in self._leases)

    # -- asking --

    def _begin(self, lease: Lease, dialect: PortMapperProtocol, now: float) -> None:
        renews, lease.recreates = lease.state is LeaseState.HELD and not lease.recreates, False
        if dialect is _UPNP:
            suggested = lease.external.port if lease.external is not None else lease.base.address.port
            self._upnp_pending.add(lease.base)
            self._outbox.effects.append(UpnpMap(lease.base, suggested, self._config.lifetime))
            return
        knows = self._external_host is not None and not renews
        if dialect is _NAT_PMP and not knows and _ADDRESS not in self._questions[_NAT_PMP]:
            self._questions[_NAT_PMP].ask(_ADDRESS, nat_pmp.ADDRESS_REQUEST, now)
        wire = self._request(lease, dialect, self._config.lifetime)
        # RFC 6887 section 11.2.1: a renewal is sent once, and again when the next one is due.
        once = 1 if renews and dialect is _PCP else None
        self._questions[dialect].ask((lease.base, _MAP), wire, now, once)

    def _request(self, lease: Lease, dialect: PortMapperProtocol, lifetime: int) -> bytes:
        if dialect is _PCP:
            return pcp_map_request(self._path.local.host, lease.base, lease.nonce, lifetime, lease.external)
        suggested = lease.base.address.port if lease.external is None else lease.external.port
        return nat_pmp_map_request(lease.base, lifetime, suggested)

    def _delete(self, lease: Lease, dialect: PortMapperProtocol, now: float) -> None:
        if dialect is _UPNP:
            if lease.dialect is _UPNP and lease.external is not None:
                self._upnp_pending.add(lease.base)
                self._outbox.effects.append(UpnpUnmap(lease.base, lease.external.port))
            return
        questions = self._questions[dialect]
        questions.close((lease.base, _MAP))
        if dialect not in self._heard:  # A request may have arrived all the same; nobody waits for one who is silent.
            self._outbox.effects.append(Transmit(self._request(lease, dialect, 0), self._path))
            lease.mapped_by.discard(dialect)
            return
        # RFC 6886 section 3.4 wants an attempt; what is lost expires by itself.
        questions.ask((lease.base, _DELETE), self._request(lease, dialect, 0), now, 3)

    # -- the network --

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what arrived. Never raises; only the gateway itself is believed (RFC 6886 section 3.1)."""
        if path != self._path or not self._receive(data, now):
            self.dropped += 1

    def _receive(self, data: bytes, now: float) -> bool:
        try:
            if data[:1] == bytes((pcp.VERSION,)):
                return self._on_pcp(parse_pcp_mapping(data), now)
            if len(data) >= 8 and data[0] == 0 and data[2:4] == b"\0\1" and len(self._questions[_PCP]):
                return self._on_old_version(now)
            if data[:2] == b"\0\x80":
                return self._on_address(nat_pmp.parse_response(data), now)
            return self._on_nat_pmp(parse_nat_pmp_mapping(data), now)
        except StunParseError:
            return False

    def _on_old_version(self, now: float) -> bool:
        """The gateway knows NAT-PMP only (RFC 6887 section 9 and appendix A)."""
        self._questions[_PCP].clear()
        for lease in self._leases:
            if _PCP in lease.trying:
                self._leases.failed(lease, _PCP, "the gateway does not know it", None, now)
            lease.mapped_by.discard(_PCP)
            self._forget_if_done(lease)
        self._dialects = [dialect for dialect in self._dialects if dialect is not _PCP]
        self.handle_timeout(now)
        return True

    def _on_pcp(self, answer: PcpMapping, now: float) -> bool:
        lease = next((each for each in self._leases if each.nonce == answer.nonce), None)
        if lease is None or lease.base.protocol is not answer.protocol:
            return False
        if lease.base.address.port != answer.internal_port:
            return False
        if not self._pcp_epoch.check(answer.epoch, now):
            self._state_lost(_PCP, lease, now)
        self._answered(lease, _PCP, answer.result, answer.external, answer.lifetime, now)
        return True

    def _on_address(self, answer: nat_pmp.AddressResponse, now: float) -> bool:
        if not self._questions[_NAT_PMP].close(_ADDRESS):
            return False
        self._heard.add(_NAT_PMP)
        if not self._nat_pmp_epoch.check(answer.epoch, now):
            self._state_lost(_NAT_PMP, None, now)
        changed = answer.external if answer.result == nat_pmp.NatPmpResult.SUCCESS else None
        self._external_host = changed
        if changed is not None:
            self._leases.move(_NAT_PMP, changed)
        if changed is None:
            for lease in self._leases:
                if _NAT_PMP in lease.trying:
                    self._questions[_NAT_PMP].close((lease.base, _MAP))
                    self._leases.failed(lease, _NAT_PMP, *_refusal(_NAT_PMP, answer.result or 3, 0, now), now)
        self.handle_timeout(now)
        return True

    def _on_nat_pmp(self, answer: NatPmpMapping, now: float) -> bool:
        base = Base(TransportAddress(self._path.local.host, answer.internal_port), answer.protocol)
        lease = self._leases.get(base)
        questions = self._questions[_NAT_PMP]
        if lease is None or not ((base, _MAP) in questions or (base, _DELETE) in questions):
            return False
        if not self._nat_pmp_epoch.check(answer.epoch, now):
            self._state_lost(_NAT_PMP, lease, now)
        external = TransportAddress(self._external_host or "0.0.0.0", answer.external_port)
        self._answered(lease, _NAT_PMP, answer.result, external, answer.lifetime, now)
        return True

    def _answered(
        self,
        lease: Lease,
        dialect: PortMapperProtocol,
        result: int,
        external: TransportAddress,
        lifetime: int,
        now: float,
    ) -> None:
        questions = self._questions[dialect]
        self._heard.add(dialect)
        if lease.state is LeaseState.ENDING:
            if not lifetime or result:  # Else it is the answer to an earlier request.
                questions.close((lease.base, _DELETE))
                lease.mapped_by.discard(dialect)
                self._forget_if_done(lease)
        elif lease.state is LeaseState.HELD and lease.dialect is not dialect:
            questions.close((lease.base, _MAP))
            if not result:  # Another dialect was quicker; this one is taken back at the end.
                lease.mapped_by.add(dialect)
        elif result:
            questions.close((lease.base, _MAP))
            self._leases.failed(lease, dialect, *_refusal(dialect, result, lifetime, now), now)
        else:
            questions.close((lease.base, _MAP))
            self._granted(lease, dialect, external, lifetime, now)
        self.handle_timeout(now)

    def _granted(
        self, lease: Lease, dialect: PortMapperProtocol, external: TransportAddress, lifetime: int, now: float
    ) -> None:
        if not lifetime:
            self._leases.failed(lease, dialect, "it maps for no time", now + LONG_ERROR, now)
        elif self._leases.granted(lease, dialect, external, lifetime, now):
            self._stop_others(lease)

    def _stop_others(self, lease: Lease) -> None:
        """It is held: no other dialect is asked for it any more."""
        for dialect, questions in self._questions.items():
            if dialect is not lease.dialect:
                questions.close((lease.base, _MAP))
        if not any(_NAT_PMP in each.trying or each.dialect is _NAT_PMP for each in self._leases):
            self._questions[_NAT_PMP].close(_ADDRESS)

    def _state_lost(self, dialect: PortMapperProtocol, known: Lease | None, now: float) -> None:
        self._leases.recreate(dialect, known, now)
        if dialect is _NAT_PMP and known is not None and _ADDRESS not in self._questions[_NAT_PMP]:
            self._questions[_NAT_PMP].ask(_ADDRESS, nat_pmp.ADDRESS_REQUEST, now)

    def _forget_if_done(self, lease: Lease) -> None:
        if lease.state is LeaseState.ENDING:
            deleting = any((lease.base, _DELETE) in questions for questions in self._questions.values())
            if not deleting and lease.base not in self._upnp_pending:
                self._leases.remove(lease)
                if not self._leases:
                    self._questions[_NAT_PMP].close(_ADDRESS)

    # -- UPnP, whose requests the driver makes --

    def upnp_mapped(self, base: Base, external: TransportAddress, lifetime: int, now: float) -> None:
        """Answer to UpnpMap; a ``lifetime`` of 0 is a mapping without end."""
        self._upnp_pending.discard(base)
        lease = self._leases.get(base)
        if lease is None or lease.state is LeaseState.ENDING:
            wanted = False
        elif lease.state is LeaseState.HELD and lease.dialect is not _UPNP:
            wanted = False  # Another dialect was quicker.
        else:
            wanted = self._leases.granted(lease, _UPNP, external, lifetime, now)
        if wanted and lease is not None:
            self._stop_others(lease)
        else:
            self._take_back(base, external)

    def _take_back(self, base: Base, external: TransportAddress) -> None:
        self._upnp_pending.add(base)
        self._outbox.effects.append(UpnpUnmap(base, external.port))

    def upnp_failed(self, base: Base, reason: str, now: float) -> None:
        """Answer to UpnpMap: there is no such gateway, or it refuses."""
        self._upnp_pending.discard(base)
        lease = self._leases.get(base)
        if lease is None:
            return
        if lease.state is LeaseState.ENDING:
            self._forget_if_done(lease)
        else:
            self._leases.failed(lease, _UPNP, reason, None, now)
            self.handle_timeout(now)

    def upnp_unmapped(self, base: Base, now: float) -> None:
        """Answer to UpnpUnmap, however it went."""
        self._upnp_pending.discard(base)
        if (lease := self._leases.get(base)) is not None:
            self._forget_if_done(lease)

    # -- time --

    def handle_timeout(self, now: float) -> None:
        """Begin, repeat, renew and give up what is due."""
        for lease in self._leases:
            self._advance(lease, now)
        for dialect, questions in self._questions.items():
            wires, unanswered = questions.due(now)
            self._outbox.effects.extend(Transmit(wire, self._path) for wire in wires)
            for key in unanswered:
                self._unanswered(dialect, key, now)

    def _advance(self, lease: Lease, now: float) -> None:
        if lease.state is LeaseState.HELD and lease.expires_at is not None and now >= lease.expires_at:
            self._leases.lose(lease, "it could not be renewed")
            lease.plan(self._dialects, self._config.head_start, now)
        elif lease.next_at is not None and now >= lease.next_at:
            if lease.state is LeaseState.HELD and lease.dialect is not None:
                self._begin(lease, lease.dialect, now)
                self._leases.renew_later(lease, now)
            elif lease.state is LeaseState.REFUSED:
                lease.plan(self._dialects, self._config.head_start, now)
        for dialect in lease.due_dialects(now):
            self._begin(lease, dialect, now)

    def _unanswered(self, dialect: PortMapperProtocol, key: Hashable, now: float) -> None:
        if key == _ADDRESS:
            for lease in self._leases:
                if dialect in lease.trying:
                    self._questions[dialect].close((lease.base, _MAP))
                    self._leases.failed(lease, dialect, "no answer", None, now)
            return
        assert isinstance(key, tuple)
        base, purpose = key
        ended = self._leases.get(base)
        if ended is None:
            return
        if purpose == _DELETE:
            ended.mapped_by.discard(dialect)
            self._forget_if_done(ended)
        elif ended.state is LeaseState.ASKING:
            self._leases.failed(ended, dialect, "no answer", None, now)

    def next_effect(self) -> Transmit | UpnpMap | UpnpUnmap | None:
        """Return the next thing for the driver, or None."""
        return self._outbox.next_effect()

    def next_event(self) -> MapperEvent | None:
        """Return the next thing that has become known, or None."""
        return self._outbox.next_event()

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`handle_timeout` is wanted, or None."""
        at = min(self._times(), default=None)
        return None if at is None else Deadline(at, "port mapping")

    def _times(self) -> Iterator[float]:
        for lease in self._leases:
            if (at := lease.next_timeout()) is not None:
                yield at
            if lease.state is LeaseState.HELD and lease.expires_at is not None:
                yield lease.expires_at
        for questions in self._questions.values():
            if (at := questions.next_at()) is not None:
                yield at


def _refusal(dialect: PortMapperProtocol, result: int, lifetime: int, now: float) -> tuple[str, float]:
    return name_of(dialect, result), now + error_wait(dialect, result, lifetime)
