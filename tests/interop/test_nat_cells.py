"""Every kind of NAT that the kernel makes against every other one: what a pair of sessions ends on, by the oracle.

Needs root, iproute2 and nftables. All cells are played at the same time, then each is judged by a test of its own.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stun.address import TransportProtocol
from tests.interop.nat_town import SERVER, SiteKind, Town, town
from tests.simulation import Outcome, best_outcome
from tests.stun.certificates import Authority
from tests.tools import ROOT

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

KINDS = SiteKind.all()
TRANSPORTS = {
    "UDP": {TransportProtocol.UDP},
    "TCP": {TransportProtocol.TCP},
    "UDP and TCP": {TransportProtocol.UDP, TransportProtocol.TCP},
}
RELAYS = {
    "no relay": None,
    "TURN over TCP": f"turn:{SERVER}:3478?transport=tcp",
    "TURN over TLS": f"turns:{SERVER}:5349?transport=tcp",
}
SETTINGS = f"""
realm = "example.org"
drain_seconds = 0.1
[listen]
udp = ["{SERVER}:3478"]
tcp = ["{SERVER}:3478"]
tls = ["{SERVER}:5349"]
[tls]
certificate = "%s"
[users]
maria = "secret"
[limits]
allocations_per_user = 1000
"""


@dataclass(frozen=True)
class Cell:
    """What two sessions are put into."""

    controlling: SiteKind
    controlled: SiteKind
    transports: str
    relay: str

    @property
    def name(self) -> str:
        return f"{self.controlling.name} to {self.controlled.name}, {self.transports}, {self.relay}"

    @property
    def expected(self) -> Outcome:
        relay = RELAYS[self.relay] is not None
        return best_outcome(self.controlling.nats, self.controlled.nats, TRANSPORTS[self.transports], relay=relay)


CELLS = [
    Cell(first, second, transports, relay)
    for first, second in itertools.product(KINDS, KINDS)
    for transports in TRANSPORTS
    for relay in RELAYS
]
PAIRS = list(dict.fromkeys((cell.controlling, cell.controlled) for cell in CELLS))


@contextmanager
def server(ip: Path, made: Town, certificate: str, folder: Path) -> Iterator[None]:
    """Run our TURN server, which answers Binding requests too, on the street."""
    settings = folder / "turn.toml"
    settings.write_text(SETTINGS % certificate)
    command = ["netns", "exec", made.server, sys.executable, "-m", "turn", "serve", "--json", "--config", str(settings)]
    with subprocess.Popen([ip, *command], stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def played(network_namespaces: Path, nftables: Path) -> dict[str, Any]:
    """What came of every cell, by its name."""
    kinds = [kind for pair in PAIRS for kind in pair]
    with tempfile.TemporaryDirectory() as text, town(network_namespaces, nftables, kinds) as made:
        folder = Path(text)
        authority = Authority.make(folder / "ca")
        sites = dict(zip(PAIRS, zip(made.sites[::2], made.sites[1::2], strict=True), strict=True))
        with server(network_namespaces, made, authority.issue(SERVER), folder):
            cells = [
                {
                    "id": cell.name,
                    "idle": cell.expected is Outcome.NONE,
                    "sides": [
                        {
                            "namespace": site.namespace,
                            "role": role,
                            "transports": sorted(TRANSPORTS[cell.transports]),
                            "stun": f"{SERVER}:3478",
                            "turn": RELAYS[cell.relay],
                            "trust": str(folder / "ca" / "ca.pem"),
                        }
                        for site, role in zip(
                            sites[cell.controlling, cell.controlled], ("controlling", "controlled"), strict=True
                        )
                    ],
                }
                for cell in CELLS
            ]
            done = subprocess.run(
                [sys.executable, "-m", "tests.interop.nat_cells"],
                input=json.dumps(cells),
                capture_output=True,
                text=True,
                cwd=ROOT,
                check=False,
                timeout=150,
            )
    assert done.returncode == 0, done.stderr
    reports = {report["id"]: report["sides"] for report in map(json.loads, done.stdout.splitlines())}
    hosts = {cell.name: [site.host for site in sites[cell.controlling, cell.controlled]] for cell in CELLS}
    return {name: (reports[name], hosts[name]) for name in reports}


def outcome(reports: list[dict[str, Any]], hosts: list[str]) -> Outcome:
    """Return what two sides' reports amount to."""
    if any("error" in report for report in reports):
        return Outcome.NONE
    if any("relay" in (report["local"][0], report["remote"][0]) for report in reports):
        return Outcome.RELAYED
    (ours, theirs), (host, other_host) = reports, hosts
    if ours["remote"][1] == other_host or theirs["remote"][1] == host:
        return Outcome.DIRECT
    return Outcome.PUNCHED


@pytest.mark.matrix(
    grid="{cell.transports}, {cell.relay}", row="{cell.controlling.name}", column="{cell.controlled.name}"
)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_it_ends_as_the_oracle_says(
    played: dict[str, Any], cell: Cell, record_property: Callable[[str, object], None]
) -> None:
    reports, hosts = played[cell.name]
    record_property("outcome", outcome(reports, hosts))
    assert outcome(reports, hosts) is cell.expected, reports
    assert RELAYS[cell.relay] is None or cell.expected is not Outcome.NONE
    for report in reports:
        assert ("error" in report) is (cell.expected is Outcome.NONE)
