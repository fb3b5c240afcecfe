"""Peers across a kernel's firewall that drops all UDP: they meet at a relay and end on a TURN server over TCP.

Needs root, iproute2 and nftables.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.interop.namespaces import SERVER, SERVER_OTHER, Street, street
from tests.interop.test_nat_kernel import MASQUERADE, NAT

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

# No UDP, and TCP to the servers alone: or the peers would meet over TCP without a relay.
ONLY_SERVERS = (
    "table ip filter { chain forward { type filter hook forward priority 0; meta l4proto udp drop;"
    " iifname in tcp dport != { 3478, 4001 } drop; }; }\n" + NAT.format("oifname out masquerade;", "")
)

LASTRESORT = (sys.executable, "-m", "lastresort")

TURN = f"""
realm = "example.org"
drain_seconds = 0.1
[listen]
udp = ["{SERVER}:3478"]
tcp = ["{SERVER}:3478"]
[users]
maria = "secret"
[peers]
allow = ["{SERVER}/32"]
"""


async def connect(made: Street, relay: str, peer: str, *options: str) -> tuple[int, str, str]:
    """Echo some bytes by the peer's /webrtc address, once the peer has its reservation."""
    address = f"{relay}/p2p-circuit/webrtc/p2p/{peer.rpartition('/p2p/')[2]}"
    command = " ".join(("echo hello |", *LASTRESORT, "connect --json", *options, address))
    for _ in range(100):
        status, out, err = await made.run(made.client, "sh", "-c", command)
        if status == 0 or "not at that relay" not in err:
            return status, out, err
        await asyncio.sleep(0.25)
    raise AssertionError(err)


@pytest.mark.parametrize(
    ("rules", "server", "relayed"),
    [
        (ONLY_SERVERS, f"turn:{SERVER}?transport=tcp", True),
        (MASQUERADE, f"turn:{SERVER}?transport=udp", False),
    ],
    ids=["UDP dropped", "masquerade"],
)
async def test_by_a_turn_server_over_tcp_where_udp_is_dropped(
    network_namespaces: Path,
    nftables: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rules: str,
    server: str,
    relayed: bool,
) -> None:
    monkeypatch.setitem(os.environ, "LASTRESORT_TURN_USER", "maria:secret")
    settings = tmp_path / "turn.toml"
    settings.write_text(TURN)
    async with (
        street(network_namespaces, nftables, rules) as made,
        made.running(made.server, sys.executable, "-m", "turn", "serve", "--config", str(settings), "--json"),
        made.running(made.server, *LASTRESORT, "relay", "--json", "--listen", f"/ip4/{SERVER}/tcp/4001") as ready,
    ):
        relay = json.loads(ready)["address"]
        listen = ("--listen", f"/ip4/{SERVER_OTHER}/tcp/0")
        async with made.running(made.server, *LASTRESORT, "peer", "--json", "--relay", relay, *listen) as ready:
            status, out, err = await connect(made, relay, json.loads(ready)["address"], "--turn", server)
            assert (status, out) == (0, "hello\n"), err
            connected = json.loads(err.splitlines()[0])
            assert connected["event"] == "connected"
            assert connected["local"].startswith(f"{SERVER}:") is relayed
