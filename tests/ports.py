"""Ports of this machine at which nobody answers, held so that nobody else gets them meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from stun.address import TransportAddress

__all__ = ["no_udp_port", "silent_port"]

TRIES = 100
"""How many ports of TCP are tried for one whose number is free for UDP too."""


@contextmanager
def silent_port(host: str = "127.0.0.1") -> Iterator[TransportAddress]:
    """Hold a port where TCP is refused and UDP is swallowed.

    A number that is merely free will not do. Another program may be given it; and who dials it may be given it as its
    own, and is then connected with itself: one dial in some tens of thousands.
    """
    for _ in range(TRIES):
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind((host, 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            yield TransportAddress(*tcp.getsockname())
            return
    raise AssertionError("no number is free for both TCP and UDP")


@contextmanager
def no_udp_port(host: str = "127.0.0.1") -> Iterator[TransportAddress]:
    """Hold a port where UDP is unreachable: its socket hears one peer only, and nobody else is that peer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind((host, 0))
        held.connect((host, 9))
        yield TransportAddress(*held.getsockname())
