"""``lastresort nat``: what it prints, and that what it says of peers is what the laboratory's table says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ice.portmap.probe import PortMapper
from ice.portmap.protocol import PortMapperProtocol
from lastresort.commands.nat import Examination
from lastresort.nat_outlook import PeerClass, Way, outlook, peer_class
from lastresort.nat_output import as_json, as_text
from stun.address import TransportAddress
from stun.aio import BehaviourServing, serve
from stun.behaviour import Allocation, Filtering, Hairpin, Lifetime, Mapping, NatReport, NatTest
from tests.lastresort.command import run
from tests.ports import silent_port
from tests.simulation import World
from tests.simulation.nat_behaviour import NatBehaviour, PortAllocation
from tests.simulation.oracle import Reach, reach
from tests.stun.nats import Examiner, add_server

SERVER, LOCAL, MAPPED = (TransportAddress(host, 3478) for host in ("198.51.100.1", "10.0.0.2", "203.0.113.9"))
REPORT = NatReport(
    server=SERVER,
    local=LOCAL,
    mapped=MAPPED,
    mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
    filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
    allocation=Allocation.SEQUENTIAL,
    delta=2,
    preserves_port=False,
    hairpin=Hairpin.NONE,
    fragments=False,
    rewrites_payload=True,
    lifetime=Lifetime(115.0, 120.0),
)

BEHIND = {
    PeerClass.OPEN: NatBehaviour.full_cone(),
    PeerClass.RESTRICTED: NatBehaviour.restricted_cone(),
    PeerClass.PUNCHABLE: NatBehaviour.port_restricted_cone(),
    PeerClass.ADDRESS_DEPENDENT: NatBehaviour.address_dependent(),
    PeerClass.SEQUENTIAL: NatBehaviour.symmetric(PortAllocation.SEQUENTIAL),
    PeerClass.RANDOM: NatBehaviour.symmetric(),
    PeerClass.BLOCKED: NatBehaviour.blocks_udp(),
}


@pytest.mark.parametrize("ours", PeerClass)
def test_the_class_is_found_and_its_outlook_is_the_tables(ours: PeerClass) -> None:
    world = World(seed=4)
    add_server(world)
    assert peer_class(Examiner(world, BEHIND[ours]).run()) is ours
    for peer, way in outlook(ours):
        match reach(BEHIND[ours], BEHIND[peer]):
            case Reach.DIRECT:
                open_side = PeerClass.OPEN in (ours, peer)
                assert way is (Way.DIRECTLY if open_side else Way.PUNCHING)
            case Reach.PREDICTION:
                assert way is Way.PREDICTION
            case _:
                assert way is Way.RELAY


def test_the_table_is_symmetric() -> None:
    table = {(ours, peer): way for ours in PeerClass for peer, way in outlook(ours)}
    assert all(way is table[peer, ours] for (ours, peer), way in table.items())


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"mapping": None}, None),
        ({"mapped": None, "mapping": None}, PeerClass.BLOCKED),
        ({"mapping": Mapping.ENDPOINT_DEPENDENT, "allocation": Allocation.RANDOM}, PeerClass.RANDOM),
        ({"mapping": Mapping.ENDPOINT_INDEPENDENT, "filtering": None}, PeerClass.PUNCHABLE),
        ({"mapping": Mapping.ENDPOINT_INDEPENDENT, "filtering": Filtering.NOT_PORT_DEPENDENT}, PeerClass.RESTRICTED),
    ],
)
def test_what_was_not_told_is_taken_for_the_worse(changes: dict[str, object], found: PeerClass | None) -> None:
    assert peer_class(replace(REPORT, **changes)) is found  # type: ignore[arg-type]


def test_the_table_for_people() -> None:
    mappers = [
        PortMapper(PortMapperProtocol.NAT_PMP, TransportAddress("10.0.0.1", 5351), external="100.64.3.4"),
        PortMapper(PortMapperProtocol.UPNP_IGD, TransportAddress("10.0.0.1", 1900), location="http://10.0.0.1/d.xml"),
    ]
    examination = Examination(
        ["stun.example.org"],
        udp=[REPORT],
        tcp_mapping=Mapping.ENDPOINT_INDEPENDENT,
        tcp_reachable=True,
        mappers=mappers,
        ipv6_addresses=["2001:db8::7"],
        problems=["stun.example.net: no such name"],
    )
    text = as_text(examination)
    for line in (
        "address seen   203.0.113.9:3478",
        "mapping        address-and-port-dependent",
        "ports          sequential, steps of +2",
        "hairpin        no",
        "fragments      do not pass",
        "idle mappings  live at least 115 s, less than 120 s",
        "TCP            mapping endpoint-independent",
        "port mapping   NAT-PMP at 10.0.0.1, outer address 100.64.3.4 (private: there is another NAT behind it)",
        "port mapping   UPnP IGD at 10.0.0.1, http://10.0.0.1/d.xml",
        "IPv6           addresses, but no server to try",
        "  stun.example.net: no such name",
    ):
        assert line in text.splitlines(), text
    assert f"{PeerClass.PUNCHABLE.value:55}  by predicting a port" in text
    said = as_json(examination)
    json.dumps(said)
    assert said["peers"]["punchable"] == "prediction"
    assert said["udp"][0]["lifetime"] == {"alive": 115.0, "dead": 120.0}
    assert said["ipv6"] == {"addresses": ["2001:db8::7"], "reachable": None}


def test_why_something_is_not_told_is_said() -> None:
    report = replace(REPORT, filtering=None, untold=((NatTest.FILTERING, "the server has one address"),))
    assert "filtering      could not be told: the server has one address" in as_text(Examination(["x"], udp=[report]))
    blocked = as_text(Examination(["x"], udp=[NatReport(server=SERVER, local=LOCAL)]))
    assert "UDP            no answer" in blocked
    assert "a relay is reached over TCP or TLS from here" in blocked
    assert "no server was given" in as_text(Examination([]))
    assert "no server could be asked" in as_text(Examination(["x"]))


def test_each_family_has_its_own_outlook() -> None:
    over_ipv6 = replace(
        REPORT,
        server=TransportAddress("2001:db8::1", 3478),
        mapping=Mapping.ENDPOINT_INDEPENDENT,
        filtering=Filtering.ENDPOINT_INDEPENDENT,
    )
    examination = Examination(["x"], udp=[NatReport(server=SERVER, local=LOCAL), over_ipv6])
    text = as_text(examination)
    assert f"over IPv4 we are behind {PeerClass.BLOCKED.value}, and reach peers behind" in text
    assert "over IPv6 we reach peers behind" in text
    said = as_json(examination)
    assert (said["class"], [report["class"] for report in said["udp"]]) == ("blocked", ["blocked", "open"])
    untold = replace(REPORT, mapping=None)
    assert "which peers are reached: could not be told, the mapping" in as_text(Examination(["x"], udp=[untold]))


async def test_the_command() -> None:
    behaviour = BehaviourServing(other_hosts=["127.0.0.2"], port=0)
    async with await serve(["127.0.0.1"], 0, behaviour=behaviour) as server:
        status, output, errors = await run("nat", str(server.udp[0]), "--json", "--no-port-mapping")
        assert (status, errors) == (0, "")
        said = json.loads(output)
        assert (said["event"], said["class"]) == ("nat", "open")
        assert said["udp"][0]["mapping"] == said["tcp"]["mapping"] == "endpoint-independent"
        status, output, _ = await run("nat", str(server.udp[0]), "--no-port-mapping")
        assert status == 0
        assert b"we reach peers behind" in output


async def test_two_ordinary_servers() -> None:
    async with await serve(["127.0.0.1"], 0) as one, await serve(["127.0.0.2"], 0) as two:
        status, output, _ = await run("nat", str(one.udp[0]), str(two.udp[0]), "--json", "--no-port-mapping")
    said = json.loads(output)["udp"][0]
    assert (status, said["mapping"], said["filtering"]) == (0, "endpoint-independent", None)
    assert "no OTHER-ADDRESS" in said["untold"]["filtering"]


async def test_no_answer_is_status_1_and_no_server_is_none() -> None:
    with silent_port() as mute:
        status, output, _ = await run("nat", str(mute), "--json", "--no-port-mapping")
    said = json.loads(output)
    assert (status, said["class"], said["udp"][0]["mapped"]) == (1, "blocked", None)
    assert "over TCP" in said["problems"][0]
    status, output, errors = await run("nat", "stuns:example.org", "--json")
    assert status == 1
    assert "name a stun: server" in output.decode() + errors
    status, output, errors = await run("nat", "host.invalid", "--json", "--no-port-mapping")
    assert status == 1
    assert "host.invalid" in (output.decode() + errors)
    status, output, _ = await run("nat", "--json", "--no-port-mapping")
    assert (status, json.loads(output)["udp"]) == (0, [])


async def test_a_server_that_is_silent_is_not_the_network() -> None:
    behaviour = BehaviourServing(other_hosts=["127.0.0.2"], port=0)
    with silent_port("127.0.0.3") as mute:
        async with await serve(["127.0.0.1"], 0, behaviour=behaviour) as server:
            status, output, _ = await run("nat", str(mute), str(server.udp[0]), "--json", "--no-port-mapping")
    said = json.loads(output)
    assert (status, said["class"], len(said["udp"])) == (0, "open", 1)
    assert said["udp"][0]["server"] == str(server.udp[0])
    assert said["tcp"] == {"reachable": True, "mapping": "endpoint-independent"}
    assert sorted(problem.partition(": ")[0] for problem in said["problems"]) == [
        f"{mute} over {protocol}" for protocol in ("TCP", "UDP")
    ]


async def test_servers_without_an_address_of_the_family_are_named() -> None:
    status, output, _ = await run("nat", "127.0.0.1:1", "host.invalid", "-6", "--json", "--no-port-mapping")
    message = json.loads(output)["message"]
    assert status == 1
    assert "127.0.0.1:1: it has no IPv6 address" in message
    assert "host.invalid: " in message


@pytest.mark.parametrize("limit", ["inf", "nan", "-5", "0", "1e9", "soon"])
async def test_lifetimes_that_no_test_would_end_with_are_refused(limit: str) -> None:
    status, _, errors = await run("nat", f"--lifetime-limit={limit}", "127.0.0.1:1")
    assert status == 2
    assert f"{limit} is no number of seconds" in errors


JSON_FIELDS = {
    "event": None,
    "servers": None,
    "udp": {
        "server",
        "other_address",
        "local",
        "mapped",
        "nat",
        "mapping",
        "filtering",
        "allocation",
        "delta",
        "preserves_port",
        "hairpin",
        "fragments",
        "rewrites_payload",
        "lifetime",
        "untold",
        "class",
        "peers",
    },
    "tcp": {"reachable", "mapping"},
    "port_mapping": {"protocol", "gateway", "external", "location", "detail"},
    "gateway": None,
    "ipv6": {"addresses", "reachable"},
    "class": None,
    "peers": None,
    "problems": None,
}
"""What programs read; a field may come to it, none may go."""


def test_the_fields_for_programs_are_always_there() -> None:
    mapper = PortMapper(PortMapperProtocol.PCP, TransportAddress("10.0.0.1", 5351))
    full = Examination(["x"], udp=[REPORT], mappers=[mapper])
    for examination in (full, Examination([]), Examination(["x"], udp=[NatReport(server=SERVER, local=LOCAL)])):
        said = {"event": "nat", **as_json(examination)}
        assert said.keys() == JSON_FIELDS.keys()
        for name, inner in JSON_FIELDS.items():
            of_name = said[name] if isinstance(said[name], list) else [said[name]]
            assert inner is None or all(item.keys() == inner for item in of_name)
