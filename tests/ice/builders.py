"""Candidates, pairs and requests in one line each."""

from __future__ import annotations

from ice.candidate import Candidate, CandidateType
from ice.pair import CandidatePair
from ice.priority import candidate_priority
from ice.roles import Role
from stun import attributes as att
from stun.address import TransportAddress
from stun.integrity import Integrity, short_term_key
from stun.message import Message, MessageClass, Method


def address(number: int, port: int = 1000) -> TransportAddress:
    return TransportAddress(f"192.0.2.{number}", port)


def local(number: int, foundation: str = "L", preference: int = 65535) -> Candidate:
    here = address(number)
    priority = candidate_priority(CandidateType.HOST, preference)
    return Candidate(foundation, 1, "udp", priority, here, CandidateType.HOST, base=here)


def remote(number: int, foundation: str = "R", preference: int = 65535, port: int = 2000) -> Candidate:
    priority = candidate_priority(CandidateType.HOST, preference)
    there = TransportAddress(f"198.51.100.{number}", port)
    return Candidate(foundation, 1, "udp", priority, there, CandidateType.HOST)


def pair(number: int = 1, preference: int = 65535) -> CandidatePair:
    return CandidatePair(local(1), remote(number, preference=preference), Role.CONTROLLING)


def request(
    username: str | None,
    pwd: str | None,
    *extra: tuple[att.Attribute, object],
    priority: int | None = 1845501695,
    role: tuple[att.Attribute, int] | None = (att.ICE_CONTROLLING, 7),
    integrity: Integrity = Integrity.SHA1,
    transaction_id: bytes = b"abcdefghijkl",
) -> bytes:
    """The bytes of a check, with anything left out or added."""
    message = Message(Method.BINDING, MessageClass.REQUEST, transaction_id)
    if username is not None:
        message.add(att.USERNAME, username)
    if priority is not None:
        message.add(att.PRIORITY, priority)
    if role is not None:
        message.add(*role)
    for attribute, value in extra:
        message.add(attribute, value)
    key = None if pwd is None else short_term_key(pwd)
    return message.serialize(key, fingerprint=True, integrity=integrity)
