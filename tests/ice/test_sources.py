"""The live sets of addresses that data is accepted from."""

from __future__ import annotations

import pytest

from ice.candidate import Base
from ice.sources import AcceptedSources
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from tests.ice.builders import address

HERE = address(1)
ONE, OTHER = TransportAddress("198.51.100.1", 1), TransportAddress("198.51.100.2", 2)


def sources(*accepted: TransportAddress) -> AcceptedSources:
    made = AcceptedSources()
    made.add_base(Base(HERE))
    for remote in accepted:
        made.accept(FiveTuple(HERE, remote))
    return made


def test_a_set_is_live_and_has_each_address_once() -> None:
    made = sources()
    live = made.of(Base(HERE))
    assert not live
    for _ in range(2):
        made.accept(FiveTuple(HERE, ONE))
    made.accept(FiveTuple(HERE, OTHER))
    assert live is made.of(Base(HERE))
    assert live == {ONE, OTHER}
    assert ("198.51.100.1", 1) in live.accepted
    assert len(live) == 2
    made.discard(FiveTuple(HERE, ONE))
    made.discard(FiveTuple(address(2), OTHER))
    assert list(live) == [OTHER]
    made.clear()
    assert not live


def test_a_base_that_goes_takes_its_set_along_and_no_other() -> None:
    made = sources(ONE)
    tcp = Base(HERE, TransportProtocol.TCP)
    made.add_base(tcp)
    made.accept(FiveTuple(HERE, OTHER, TransportProtocol.TCP))
    gone = made.of(Base(HERE))
    made.drop_base(Base(HERE))
    assert not gone
    assert Base(HERE) not in made
    assert made.of(tcp) == {OTHER}
    made.add_base(Base(HERE))
    assert not made.of(Base(HERE))


def test_what_is_no_base_has_no_set() -> None:
    made = sources()
    with pytest.raises(KeyError):
        made.of(Base(address(2)))
    with pytest.raises(KeyError):
        made.accept(FiveTuple(address(2), ONE))
    made.drop_base(Base(address(2)))
