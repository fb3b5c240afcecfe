from __future__ import annotations

import pytest

from stun.demux import PacketKind, classify, is_stun
from tests.stun import vectors

RANGES = {
    PacketKind.STUN: range(4),
    PacketKind.ZRTP: range(16, 20),
    PacketKind.DTLS: range(20, 64),
    PacketKind.TURN_CHANNEL: range(64, 80),
    PacketKind.RTP: range(128, 192),
}


@pytest.mark.parametrize("kind", list(RANGES))
def test_ranges_of_rfc_7983(kind: PacketKind) -> None:
    assert [first for first in range(256) if classify(first) is kind] == list(RANGES[kind])


def test_the_rest_is_unknown() -> None:
    known = {first for values in RANGES.values() for first in values}
    assert all((classify(first) is PacketKind.UNKNOWN) is (first not in known) for first in range(256))


def test_is_stun() -> None:
    assert is_stun(vectors.REQUEST)
    assert not is_stun(vectors.REQUEST[:19])
    assert not is_stun(b"")
    assert not is_stun(b"\x80" + vectors.REQUEST[1:])
    assert not is_stun(vectors.REQUEST[:4] + b"\0" + vectors.REQUEST[5:])
