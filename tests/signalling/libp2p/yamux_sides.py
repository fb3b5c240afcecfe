"""Two yamux sessions facing each other."""

from __future__ import annotations

from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.roles import Role
from signalling.libp2p.yamux import Yamux
from signalling.libp2p.yamux_events import (
    SessionEnded,
    YamuxEvent,
)
from signalling.libp2p.yamux_frames import HEADER, FrameType
from signalling.libp2p.yamux_stream import YamuxStream

SYN, ACK, FIN, RST = 1, 2, 4, 8
WINDOW = 256 * 1024


def sides(a: YamuxConfig | None = None, b: YamuxConfig | None = None) -> tuple[Yamux, Yamux]:
    return Yamux(Role.INITIATOR, 0.0, a), Yamux(Role.RESPONDER, 0.0, b)


def flush(sender: Yamux, receiver: Yamux, now: float = 0.0) -> bytes:
    data = sender.next_effect() or b""
    if data:
        receiver.receive_data(data, now)
    return data


def settle(a: Yamux, b: Yamux) -> None:
    for _ in range(1000):
        if not flush(a, b) and not flush(b, a):
            return
    raise AssertionError("the two sides never stop talking")


def drain(machine: Yamux) -> list[YamuxEvent]:
    events = list(machine.events)
    machine.events.clear()
    return events


def frames(data: bytes) -> list[tuple[int, int, int, int]]:
    """Return type, flags, stream id and length of every frame."""
    out = []
    while data:
        version, kind, flags, stream_id, length = HEADER.unpack_from(data)
        assert version == 0
        out.append((kind, flags, stream_id, length))
        data = data[12 + (length if kind == FrameType.DATA else 0) :]
    return out


def pair(a: Yamux, b: Yamux) -> tuple[YamuxStream, YamuxStream]:
    """Return both ends of a new stream, acknowledged."""
    ours = a.open_stream()
    flush(a, b)
    theirs = b.accept(0.0)
    assert theirs is not None
    b.handle_timeout(1.0)
    settle(a, b)
    drain(a)
    drain(b)
    return ours, theirs


def ended(machine: Yamux) -> SessionEnded:
    events = [event for event in drain(machine) if isinstance(event, SessionEnded)]
    assert len(events) == 1
    return events[0]
