"""Watching interfaces: one socket a loop, and none where the system has nothing to tell."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from stun.aio import UdpNetwork, netlink

linux = pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux'")


@linux
async def test_listeners_share_a_socket_which_the_last_one_closes() -> None:
    heard: list[int] = []
    ends = [UdpNetwork().watch_interfaces(lambda n=number: heard.append(n)) for number in (1, 2)]  # type: ignore[misc]
    watch = netlink._watches[asyncio.get_running_loop()]
    watch._readable()  # As after a message: nothing is in the socket, but everybody is told.
    assert heard == [1, 2]
    for end in ends:
        assert end is not None
        assert watch._socket.fileno() >= 0
        end()
        end()
    assert watch._socket.fileno() == -1
    assert asyncio.get_running_loop() not in netlink._watches


async def test_elsewhere_there_is_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert netlink.watch_interfaces(lambda: None) is None


@linux
async def test_a_sandbox_without_netlink_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> socket.socket:
        raise OSError("not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    assert netlink.watch_interfaces(lambda: None) is None
    assert asyncio.get_running_loop() not in netlink._watches
