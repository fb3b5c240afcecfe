from __future__ import annotations

import pytest

from ice.config import IceConfig
from ice.interfaces import usable_addresses
from stun.network import Interface

ALL = [
    Interface("lo", "127.0.0.1", 8),
    Interface("lo", "::1", 128),
    Interface("eth0", "192.168.1.5", 24),
    Interface("eth0", "2001:db8::5", 64),
    Interface("eth0", "fe80::1%eth0", 64),
    Interface("eth0", "fec0::1", 64),
    Interface("eth0", "::192.0.2.1", 96),
    Interface("eth0", "::ffff:192.0.2.1", 96),
    Interface("docker0", "172.17.0.1", 16),
    Interface("wlan0", "169.254.3.4", 16),
    Interface("wlan1", "192.168.1.5", 24),
    Interface("odd", "0.0.0.0", 0),
    Interface("odd", "ff02::1", 64),
]


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        ({}, ["192.168.1.5", "2001:db8::5", "172.17.0.1", "169.254.3.4"]),
        ({"include_loopback": True, "interfaces": ["lo"]}, ["127.0.0.1", "::1"]),
        ({"include_ipv4": False}, ["2001:db8::5"]),
        ({"include_ipv6": False, "excluded_interfaces": ["docker0"]}, ["192.168.1.5", "169.254.3.4"]),
        ({"excluded_networks": ["172.16.0.0/12", "169.254.0.0/16"]}, ["192.168.1.5", "2001:db8::5"]),
        ({"interfaces": ["eth0"], "max_local_bases": 1}, ["192.168.1.5"]),
        ({"interfaces": []}, []),
        ({"interfaces": ["eth*", "wlan[0-9]"]}, ["192.168.1.5", "2001:db8::5", "169.254.3.4"]),
        ({"excluded_interfaces": ["eth*", "w*"]}, ["172.17.0.1"]),
        ({"unreliable_interfaces": ["eth*"]}, ["172.17.0.1", "169.254.3.4", "192.168.1.5", "2001:db8::5"]),
        ({"interface_filter": lambda interface: interface.prefix_length == 24}, ["192.168.1.5"]),
    ],
)
def test_which_addresses_are_used(settings: dict[str, object], hosts: list[str]) -> None:
    assert usable_addresses(ALL, IceConfig(**settings)) == hosts  # type: ignore[arg-type]
