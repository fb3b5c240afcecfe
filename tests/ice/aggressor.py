"""A controlling peer by hand, that nominates as it likes, and the agent that it plays with."""

from __future__ import annotations

from ice.description import Description
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.message import MessageClass, parse
from tests.ice.builders import request
from tests.ice.stepper import B, Side

THEIRS = Description("theirs", "their-password-their-password")
THEIR_KEY = short_term_key(THEIRS.pwd)
HIGH = 1_845_501_695
LOW = 1_000_000
FIRST = TransportAddress("192.0.2.1", 1)
SECOND = TransportAddress("192.0.2.1", 2)


class Aggressor:
    """A controlling peer by hand, on two addresses, that puts USE-CANDIDATE into every check unless told otherwise."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.local = side.agent.local_description
        self.count = 0

    def check(self, source: TransportAddress, priority: int, now: float = 0.0, nominate: bool = True) -> None:
        self.count += 1
        extra = [(att.USE_CANDIDATE, True)] if nominate else []
        data = request(
            f"{self.local.ufrag}:theirs",
            self.local.pwd,
            *extra,
            priority=priority,
            transaction_id=self.count.to_bytes(12, "big"),
        )
        self.side.agent.receive_datagram(data, FiveTuple(B, source), now)

    def answer_all(self, now: float = 0.0) -> list[TransportAddress]:
        """Answer what the other side sends; return where its checks went."""
        asked = []
        while (sent := self.side.agent.next_effect()) is not None:
            message = parse(sent.data)
            if message.message_class is MessageClass.REQUEST:
                asked.append(sent.path.remote)
                response = message.success((att.XOR_MAPPED_ADDRESS, sent.path.local))
                self.side.agent.receive_datagram(response.serialize(THEIR_KEY, True), sent.path, now)
        return asked


def aggressor() -> tuple[Side, Aggressor]:
    """Return a controlled side that knows the description of its peer, and that peer."""
    side = Side(Role.CONTROLLED, B)
    side.agent.set_remote_description(THEIRS, 0.0)
    return side, Aggressor(side)
