"""The STUN codec against aioice's: what one ICE connectivity check costs on both of its ends."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from typing import NamedTuple

from aioice import stun as theirs

from benchmarks.results import Result
from stun import attributes as att
from stun.message import Message, MessageClass, Method, parse

__all__ = ["run"]

KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION_ID = bytes.fromhex("b7e7a701bc34d686fa87dfae")
USERNAME = "evtj:h6vY"
PRIORITY = 0x6E0001FF
TIEBREAKER = 0x932FF9B151263B36
ADDRESS = ("192.0.2.1", 32853)
GOAL = 2.0
ROUNDS = 40
CALLS = 400

Action = Callable[[], object]


def our_request() -> bytes:
    message = Message(Method.BINDING, MessageClass.REQUEST, TRANSACTION_ID)
    message.add(att.USERNAME, USERNAME).add(att.PRIORITY, PRIORITY).add(att.ICE_CONTROLLING, TIEBREAKER)
    return message.serialize(KEY, fingerprint=True)


def their_request() -> bytes:
    attributes = {"USERNAME": USERNAME, "PRIORITY": PRIORITY, "ICE-CONTROLLING": TIEBREAKER}
    message = theirs.Message(theirs.Method.BINDING, theirs.Class.REQUEST, TRANSACTION_ID, attributes)
    message.add_message_integrity(KEY)
    return bytes(message)


REQUEST = their_request()


def our_response() -> bytes:
    message = Message(Method.BINDING, MessageClass.SUCCESS, TRANSACTION_ID)
    return message.add(att.XOR_MAPPED_ADDRESS, ADDRESS).serialize(KEY, fingerprint=True)  # type: ignore[arg-type]


def their_response() -> bytes:
    attributes = {"XOR-MAPPED-ADDRESS": ADDRESS}
    message = theirs.Message(theirs.Method.BINDING, theirs.Class.RESPONSE, TRANSACTION_ID, attributes)
    message.add_message_integrity(KEY)
    return bytes(message)


RESPONSE = their_response()


def our_reading(data: bytes) -> Action:
    def read() -> bool:
        return parse(data).verify_integrity(KEY)

    return read


def their_reading(data: bytes) -> Action:
    def read() -> bool:
        return theirs.parse_message(data).check_message_integrity(KEY)

    return read


class Pair(NamedTuple):
    """One thing that both sides do."""

    name: str
    ours: Action
    theirs: Action


PAIRS = (
    Pair("write a check's request, signed, with FINGERPRINT", our_request, their_request),
    Pair("read a check's request, FINGERPRINT and integrity checked", our_reading(REQUEST), their_reading(REQUEST)),
    Pair("write a check's response, signed, with FINGERPRINT", our_response, their_response),
    Pair("read a check's response, FINGERPRINT and integrity checked", our_reading(RESPONSE), their_reading(RESPONSE)),
)


def best(action: Action, rounds: int, before: float) -> float:
    """Return the least seconds a call took, this time or before."""
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(CALLS):
            action()
        before = min(before, (time.perf_counter() - start) / CALLS)
    return before


def measure(pair: Pair) -> tuple[float, float]:
    """Return the seconds of one call on both sides; they take turns, so that a busy machine is busy for both."""
    ours = other = float("inf")
    for _ in range(ROUNDS):
        ours = best(pair.ours, 1, ours)
        other = best(pair.theirs, 1, other)
    return ours, other


def check() -> None:
    """Both sides have to make the same bytes and accept them, or there is nothing to compare."""
    assert our_request() == REQUEST
    assert our_response() == RESPONSE
    assert all(action() for pair in PAIRS for action in pair[1:])


def run() -> list[Result]:
    """Measure every action; the goal is for writing a message and reading it, the parts are there to be seen."""
    check()
    peer = f"aioice {importlib.metadata.version('aioice')}"
    times = [measure(pair) for pair in PAIRS]
    results = []
    for name, (write, read) in (("request", times[:2]), ("response", times[2:])):
        ours, other = (1 / (write[side] + read[side]) for side in (0, 1))
        title = f"STUN: serialise a check's {name}, parse it and check its integrity"
        results.append(Result(title, ours, other, "messages/s", GOAL, peer))
    for pair, (ours, other) in zip(PAIRS, times, strict=True):
        results.append(Result(f"STUN: {pair.name}", 1 / ours, 1 / other, "messages/s", 1.0, peer))
    return results


if __name__ == "__main__":
    for result in run():
        print(f"{result.name}: {result.ours:,.0f} and {result.theirs:,.0f} {result.unit}, {result.ratio:.2f} x")
