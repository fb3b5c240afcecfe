"""The options about ICE servers, and a peer that is reached by a TURN server alone."""

from __future__ import annotations

import argparse
import json

import pytest

from browser_demo.stack import outside_address
from ice import IceError, IceTransportPolicy
from lastresort.commands.ice_options import USER_VARIABLE, add_ice, ice_config
from stun.address import TransportAddress, TransportProtocol
from tests.lastresort.command import run
from tests.lastresort.test_commands import peer, relay
from turn.aio.service import serve
from turn.service.config import TurnServiceConfig
from turn.service.policy import PeerPolicyConfig
from turn.service.settings import Listener, ServiceSettings


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_ice(parser)
    return parser.parse_args(arguments)


def test_servers_and_their_user() -> None:
    config = ice_config(
        parse("--stun", "stun:192.0.2.1", "--turn", "turn:192.0.2.2", "--turn", "turns:turn.example.org")
    )
    assert config.stun_servers == ("stun:192.0.2.1",)
    assert [server.url for server in config.turn_servers] == ["turn:192.0.2.2", "turns:turn.example.org"]
    assert {server.username for server in config.turn_servers} == {None}
    assert config.transport_policy is IceTransportPolicy.ALL
    named = ice_config(parse("--turn", "turn:192.0.2.2", "--turn-user", "1700000000:maria:secret", "--relay-only"))
    assert (named.turn_servers[0].username, named.turn_servers[0].password) == ("1700000000:maria", "secret")
    assert named.transport_policy is IceTransportPolicy.RELAY


def test_the_user_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER_VARIABLE, "maria:secret")
    assert ice_config(parse("--turn", "turn:192.0.2.2")).turn_servers[0].username == "maria"
    monkeypatch.setenv(USER_VARIABLE, "maria")
    with pytest.raises(IceError, match="NAME:PASSWORD"):
        ice_config(parse("--turn", "turn:192.0.2.2"))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(IceError, match="--turn"):
        ice_config(parse("--relay-only"))
    for wrong in (("--turn", "stun:192.0.2.2"), ("--turn", "turn:"), ("--turn-user", "maria")):
        with pytest.raises(argparse.ArgumentError):
            parse(*wrong)


async def test_a_peer_is_reached_by_the_turn_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER_VARIABLE, "maria:secret")
    host = outside_address()
    if host is None:
        pytest.skip("this machine has only loopback addresses, which are no candidates")
    settings = ServiceSettings(
        service=TurnServiceConfig(realm="example.org", peers=PeerPolicyConfig.of(allow=[host])),
        listeners=(Listener(protocol=TransportProtocol.UDP, address=TransportAddress(host, 0)),),
        users={"maria": "secret"},
    )
    async with await serve(settings) as service, relay() as (_, address):
        turn = ("--turn", f"turn:{service.addresses(TransportProtocol.UDP)[0]}")
        async with peer(address, *turn, "--relay-only") as (_, addresses):
            status, output, errors = await run(
                "connect", "--json", *turn, "--relay-only", addresses["webrtc"], data=b"by relay"
            )
            assert (status, output) == (0, b"by relay"), errors
            connected = json.loads(errors.splitlines()[0])
            assert connected["event"] == "connected"
        assert service.snapshot().packets_to_peers > 4
