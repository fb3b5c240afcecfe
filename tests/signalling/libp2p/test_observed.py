from __future__ import annotations

import pytest

from signalling.libp2p.host_config import IdentifyConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.observed import ObservedAddresses, is_public

OURS = Multiaddr("/ip4/8.8.8.8/tcp/4001")


def test_an_address_is_believed_when_enough_networks_agree() -> None:
    observed = ObservedAddresses(IdentifyConfig(observation_quorum=3))
    for number, network in enumerate(["a", "b", "b"]):
        observed.report(OURS, network, number)
    assert observed.confirmed() == (), "two networks, whatever the number of observers"
    observed.report(OURS, "c", 3)
    assert observed.confirmed() == (OURS,)
    observed.connection_closed(1)
    assert observed.confirmed() == (OURS,), "b has another observer"
    observed.connection_closed(2)
    assert observed.confirmed() == ()


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("/ip4/8.8.8.8/tcp/1", True),
        ("/ip6/2606:4700::1/tcp/1", True),
        ("/ip4/10.0.0.1/tcp/1", False),
        ("/ip4/127.0.0.1/tcp/1", False),
        ("/ip4/100.64.0.1/tcp/1", False),
        ("/ip6/fd00::1/tcp/1", False),
        ("/ip4/224.0.0.1/tcp/1", False),
        ("/dns4/example.org/tcp/1", False),
        ("/ip4/8.8.8.8/tcp/1/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq/p2p-circuit", False),
    ],
)
def test_only_public_direct_addresses_are_counted(text: str, public: bool) -> None:
    assert is_public(Multiaddr(text)) is public
    observed = ObservedAddresses(IdentifyConfig(observation_quorum=1))
    observed.report(Multiaddr(text), "a", 1)
    assert bool(observed.confirmed()) is public


def test_a_liar_with_many_addresses_fills_no_more_than_the_table() -> None:
    config = IdentifyConfig(observation_quorum=2, max_observed_addresses=8)
    observed = ObservedAddresses(config)
    for port in range(1, 1000):
        observed.report(Multiaddr(f"/ip4/8.8.4.4/tcp/{port}"), "liar", "c")
        observed.report(OURS, f"n{port}", port)
    assert observed.confirmed() == (OURS,)
    assert len(observed._observers) == 8
    assert len(observed._observers[OURS]) == 8
