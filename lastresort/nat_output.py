"""What ``lastresort nat`` prints: a table for people, one object for programs."""

from __future__ import annotations

import enum
import ipaddress
from typing import TYPE_CHECKING, Any

from lastresort.nat_outlook import PeerClass, outlook, peer_class
from stun.behaviour import Allocation, NatReport

if TYPE_CHECKING:
    from lastresort.commands.nat import Examination

__all__ = ["as_json", "as_text"]

_WIDTH = len("idle mappings")
_UNTOLD = "could not be told"


def as_json(examination: Examination) -> dict[str, Any]:
    """Return the fields of the event; names and values stay as they are from release to release."""
    return {
        "servers": examination.servers,
        "udp": [_report(report) for report in examination.udp],
        "tcp": {"reachable": examination.tcp_reachable, "mapping": _value(examination.tcp_mapping)},
        "port_mapping": [
            {
                "protocol": mapper.protocol.value,
                "gateway": str(mapper.gateway),
                "external": mapper.external,
                "location": mapper.location,
                "detail": mapper.detail,
            }
            for mapper in examination.mappers
        ],
        "gateway": examination.gateway,
        "ipv6": {"addresses": examination.ipv6_addresses, "reachable": _ipv6_reachable(examination)},
        **_prospects(peer_class(examination.udp[0]) if examination.udp else None),
        "problems": examination.problems,
    }


def as_text(examination: Examination) -> str:
    """Return the table."""
    blocks = [_table([("server", str(report.server)), *_report_rows(report)]) for report in examination.udp]
    blocks.append(_table(_other_rows(examination)))
    blocks.append("\n".join(_meaning(examination)))
    if examination.problems:
        blocks.append("\n".join(["problems", *(f"  {problem}" for problem in examination.problems)]))
    return "\n\n".join(blocks)


def _report(report: NatReport) -> dict[str, Any]:
    lifetime = report.lifetime
    return {
        "server": str(report.server),
        "other_address": None if report.other_address is None else str(report.other_address),
        "local": str(report.local),
        "mapped": None if report.mapped is None else str(report.mapped),
        "nat": report.translated,
        "mapping": _value(report.mapping),
        "filtering": _value(report.filtering),
        "allocation": _value(report.allocation),
        "delta": report.delta,
        "preserves_port": report.preserves_port,
        "hairpin": _value(report.hairpin),
        "fragments": report.fragments,
        "rewrites_payload": report.rewrites_payload,
        "lifetime": None if lifetime is None else {"alive": lifetime.alive, "dead": lifetime.dead},
        "untold": {test.value: why for test, why in report.untold},
        **_prospects(peer_class(report)),
    }


def _prospects(ours: PeerClass | None) -> dict[str, Any]:
    peers = {} if ours is None else {peer.name.lower(): way.name.lower() for peer, way in outlook(ours)}
    return {"class": None if ours is None else ours.name.lower(), "peers": peers}


def _report_rows(report: NatReport) -> list[tuple[str, str]]:
    if report.mapped is None:
        return [("UDP", "no answer: blocked on the way, or the server does not speak STUN over UDP")]
    why = {test.value: reason for test, reason in report.untold}

    def told(value: str | None, test: str) -> str:
        return value if value is not None else f"{_UNTOLD}: {why.get(test, 'the test did not run')}"

    rows = [
        ("address here", str(report.local)),
        ("address seen", str(report.mapped)),
        ("NAT", "yes" if report.translated else "no (there may be a firewall, see filtering)"),
        ("mapping", told(_value(report.mapping), "mapping")),
        ("filtering", told(_value(report.filtering), "filtering")),
        ("ports", told(_ports(report), "allocation")),
        ("hairpin", told(_value(report.hairpin), "hairpin")),
        ("fragments", told({True: "pass", False: "do not pass", None: None}[report.fragments], "fragments")),
    ]
    if report.rewrites_payload:
        rows.append(("payloads", "a gateway edits addresses in them (an ALG); turn that off"))
    if report.lifetime is not None:
        dead = "more than was tried" if report.lifetime.dead is None else f"less than {report.lifetime.dead:g} s"
        rows.append(("idle mappings", f"live at least {report.lifetime.alive:g} s, {dead}"))
    elif "lifetime" in why:
        rows.append(("idle mappings", f"{_UNTOLD}: {why['lifetime']}"))
    return rows


def _ports(report: NatReport) -> str | None:
    match report.allocation:
        case None:
            return None
        case Allocation.PRESERVING:
            return "preserved"
        case Allocation.SEQUENTIAL:
            text = f"sequential, steps of {report.delta:+d}"
        case Allocation.RANDOM:
            text = "random"
    return f"preserved for a port's first peer, then {text}" if report.preserves_port else text


def _other_rows(examination: Examination) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if examination.tcp_reachable is not None:
        mapping = _value(examination.tcp_mapping) or f"{_UNTOLD}: the server has no second address over TCP"
        rows.append(("TCP", f"mapping {mapping}" if examination.tcp_reachable else "no answer"))
    if examination.mappers:
        rows += [("port mapping", _mapper_text(mapper)) for mapper in examination.mappers]
    else:
        gateway = examination.gateway or "no gateway"
        rows.append(("port mapping", f"none found ({gateway})"))
    reachable = {
        None: "addresses, but no server to try" if examination.ipv6_addresses else "no address",
        True: "works",
        False: "addresses, but no answer over it",
    }
    rows.append(("IPv6", reachable[_ipv6_reachable(examination)]))
    rows += [("", address) for address in examination.ipv6_addresses]
    return rows


def _mapper_text(mapper: Any) -> str:
    parts = [f"{mapper.protocol.value} at {mapper.gateway.host}"]
    if mapper.external is not None:
        parts.append(f"outer address {mapper.external}{_second_nat(mapper.external)}")
    if mapper.location is not None:
        parts.append(mapper.location)
    if mapper.detail:
        parts.append(mapper.detail)
    return ", ".join(parts)


def _second_nat(external: str) -> str:
    address = ipaddress.ip_address(external)
    shared = address in ipaddress.ip_network("100.64.0.0/10")
    return " (private: there is another NAT behind it)" if address.is_private or shared else ""


def _meaning(examination: Examination) -> list[str]:
    if not examination.udp:
        reason = "no server could be asked" if examination.servers else "no server was given"
        return [f"which peers are reached: {_UNTOLD}, {reason}"]
    lines: list[str] = []
    for report in examination.udp:
        family = f"over IPv{report.server.family} " if len(examination.udp) > 1 else ""
        lines += _outlook_of(peer_class(report), family)
    if examination.mappers:
        lines.append("  a port mapping would let every peer in that has UDP; it is not asked for yet")
    return lines


def _outlook_of(ours: PeerClass | None, family: str) -> list[str]:
    if ours is None:
        return [f"which peers are reached {family}: {_UNTOLD}, the mapping could not be told".replace(" :", ":")]
    behind = f"we are behind {ours.value}, and " if ours is not PeerClass.OPEN else "we "
    lines = [f"{family}{behind}reach peers behind"]
    width = max(len(peer.value) for peer in PeerClass)
    lines += [f"  {peer.value:{width}}  {way.value}" for peer, way in outlook(ours)]
    if ours is PeerClass.BLOCKED:
        lines.append("  a relay is reached over TCP or TLS from here (turn:...?transport=tcp, turns:)")
    return lines


def _ipv6_reachable(examination: Examination) -> bool | None:
    over_ipv6 = [report for report in examination.udp if report.server.family == 6]
    return any(report.mapped is not None for report in over_ipv6) if over_ipv6 else None


def _value(member: enum.Enum | None) -> str | None:
    return None if member is None else str(member.value)


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name:{_WIDTH}}  {text}".rstrip() for name, text in rows)
