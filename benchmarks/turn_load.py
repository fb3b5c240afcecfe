"""Load for TURN servers in processes of their own: blocking clients, a peer, and what a server process uses."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import Struct

from stun import attributes as att
from stun.auth import LongTermClient, Verdict
from stun.message import Message, MessageClass, Method, parse

__all__ = ["HERE", "Flow", "Process", "RawClient", "coturn", "flood", "our_server", "trickle"]

HERE = "127.0.0.1"
USER, PASSWORD, REALM = "maria", "secret", "example.org"
UDP_SEGMENT = 103
SO_RCVBUFFORCE = 33
_U16 = Struct("=H")
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A server under load."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port

    def cpu(self) -> float:
        """Return the CPU seconds that it has used, all threads together, to the nanosecond where the kernel tells."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def resident(self) -> int:
        """Return its resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


CONFIG = """
realm = "{realm}"
[listen]
udp = ["{here}:{port}"]
[limits]
allocations_per_user = 100000
allocations_per_source = 100000
[unauthenticated]
excess_burst = 100000000
[peers]
allow = ["127.0.0.0/8"]
[users]
{user} = "{password}"
"""


@contextmanager
def our_server() -> Iterator[Process]:
    """Run ours with a file of settings."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "turn.toml")
        path.write_text(CONFIG.format(realm=REALM, here=HERE, port=port, user=USER, password=PASSWORD))
        with running([sys.executable, "-m", "turn", "serve", "--config", str(path)], port) as process:
            yield process


@contextmanager
def coturn() -> Iterator[Process]:
    """Run coturn with one relay thread; needs the package coturn."""
    port = free_port()
    command = [
        str(shutil.which("turnserver")),
        "-n",
        "--no-cli",
        "--no-tls",
        "--no-dtls",
        "--no-tcp",
        "--log-file=stdout",
    ]
    command += [f"--listening-ip={HERE}", f"--relay-ip={HERE}", f"--listening-port={port}", "--allow-loopback-peers"]
    command += ["--relay-threads=1", "--lt-cred-mech", f"--user={USER}:{PASSWORD}", f"--realm={REALM}", "--simple-log"]
    with tempfile.TemporaryDirectory() as folder:
        command += [f"--pidfile={folder}/pid", f"--userdb={folder}/db"]
        with running(command, port) as process:
            yield process


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[Process]:
    """Run a server on the first core until it answers Binding requests, and stop it afterwards."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            if len(os.sched_getaffinity(0)) > 1:
                os.sched_setaffinity(child.pid, {min(os.sched_getaffinity(0))})
            RawClient(port).wait_for_server()
            yield Process(child.pid, port)
        finally:
            child.kill()


def free_port() -> int:
    """Return a free UDP port below those that the system gives out: no client gets it before the server."""
    first_given_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(10_000, first_given_out), 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((HERE, port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


class RawClient:
    """A client with a blocking socket, as small as can be: thousands of them fit."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HERE, 0))
        self.socket.connect((HERE, port))
        self.auth = LongTermClient(USER, PASSWORD)
        self.relayed: tuple[str, int] = (HERE, 0)

    def wait_for_server(self, seconds: float = 30.0) -> None:
        """Ask until there is an answer, then close."""
        until = time.monotonic() + seconds
        request = Message(Method.BINDING, MessageClass.REQUEST, random.randbytes(12)).serialize()
        self.socket.settimeout(0.1)
        with self.socket:
            while time.monotonic() < until:
                try:
                    self.socket.send(request)
                    self.socket.recv(2048)
                except OSError:
                    time.sleep(0.05)
                else:
                    return
        raise TimeoutError("the server does not answer")

    def request(self, method: Method, *pairs: tuple[att.Attribute[object], object]) -> Message:
        """Ask, following challenges."""
        self.socket.settimeout(20.0)  # Nothing is lost on loopback, but a busy machine takes its time.
        for _ in range(4):
            token = self.auth.token
            request = Message(method, MessageClass.REQUEST, random.randbytes(12), list(pairs))
            self.socket.send(self.auth.serialize(request, fingerprint=False))
            response = parse(self.socket.recv(4096))
            if self.auth.judge(response, token) is not Verdict.RETRY:
                assert response.error is None, response.error
                return response
        raise AssertionError("challenged for ever")

    def allocate(self) -> None:
        """Get an allocation."""
        response = self.request(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))  # type: ignore[arg-type]
        relayed = response.get(att.XOR_RELAYED_ADDRESS)
        assert relayed is not None
        self.relayed = relayed

    def bind(self, number: int, peer: tuple[str, int]) -> None:
        """Bind a channel."""
        pairs = ((att.CHANNEL_NUMBER, number), (att.XOR_PEER_ADDRESS, peer))
        self.request(Method.CHANNEL_BIND, *pairs)  # type: ignore[arg-type]


class Flow:
    """Clients with a channel each to one peer, and how datagrams are pushed through."""

    def __init__(self, port: int, clients: int) -> None:
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((HERE, 0))
        self.clients: list[RawClient] = []
        for _ in range(clients):
            client = RawClient(port)
            client.allocate()
            client.bind(0x4000, self.peer.getsockname())
            self.clients.append(client)
        for one in (self.peer, *(client.socket for client in self.clients)):
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE if os.geteuid() == 0 else socket.SO_RCVBUF, 4 << 20)

    def close(self) -> None:
        """Close the sockets."""
        self.peer.close()
        for client in self.clients:
            client.socket.close()


def trickle(flow: Flow, server: Process, size: int, seconds: float) -> tuple[float, float]:
    """As :func:`flood`, but the next datagram is sent when the one before it has come through."""
    payload = b"\x40\x00" + size.to_bytes(2, "big") + bytes(size)
    received = 0
    flow.peer.setblocking(True)
    flow.peer.settimeout(1.0)
    start, cpu = time.perf_counter(), server.cpu()
    while time.perf_counter() - start < seconds:
        flow.clients[0].socket.send(payload)
        flow.peer.recv(65535)
        received += 1
    took, used = time.perf_counter() - start, server.cpu() - cpu
    return received / used, received / took


def flood(flow: Flow, server: Process, size: int, seconds: float, to_client: bool = False) -> tuple[float, float]:
    """Push as much as comes through; return datagrams by second of the server's CPU time, and by second of the clock.

    With one client its datagrams go in bursts of 32 (one system call, so that this process is not what is measured);
    many clients send one each, in turns.
    """
    payload = bytes(size) if to_client else b"\x40\x00" + size.to_bytes(2, "big") + bytes(size)
    burst = [payload] * 32
    segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, _U16.pack(len(payload)))]
    sinks = [flow.clients[0].socket] if to_client else [flow.peer]
    outstanding = received = turn = 0
    quiet = time.perf_counter()
    start, cpu = time.perf_counter(), server.cpu()
    while (now := time.perf_counter()) - start < seconds:
        if outstanding <= 96 or now - quiet > 0.02:
            if to_client:
                flow.peer.sendmsg(burst, segment, 0, flow.clients[0].relayed)
            elif len(flow.clients) == 1:
                flow.clients[0].socket.sendmsg(burst, segment)
            else:
                for _ in range(32):
                    turn = (turn + 1) % len(flow.clients)
                    flow.clients[turn].socket.send(payload)
            outstanding, quiet = (outstanding if now - quiet <= 0.02 else 0) + 32, now
        for sink in sinks:
            try:
                while True:
                    sink.recv(65535)
                    received += 1
                    outstanding -= 1
                    quiet = now
            except BlockingIOError:
                pass
    took, used = time.perf_counter() - start, server.cpu() - cpu
    return received / used, received / took
