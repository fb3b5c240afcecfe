"""The server of RFC 5780, rule by rule."""

from __future__ import annotations

import itertools

import pytest

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.behaviour_server import BehaviourRules, other_addresses
from stun.binding_server import BindingServer
from stun.config import BehaviourServerConfig, BindingServerConfig
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method, parse
from stun.values import ChangeRequest
from tests.stun.nats import OTHER, PRIMARY

CLIENT = TransportAddress("192.0.2.7", 40000)


def server(other_host: str | None = OTHER.host, *, alternates: bool = True, **settings: object) -> BindingServer:
    others = other_addresses(PRIMARY, other_host, OTHER.port) if alternates else None
    return BindingServer(behaviour=BehaviourRules(BehaviourServerConfig(**settings), others))  # type: ignore[arg-type]


def request(*pairs: tuple[object, object]) -> Message:
    return Message(Method.BINDING, MessageClass.REQUEST, b"twelve bytes", list(pairs))  # type: ignore[arg-type]


def ask(
    machine: BindingServer, message: Message, local: TransportAddress = PRIMARY, now: float = 0.0
) -> tuple[Message, FiveTuple] | None:
    machine.receive_datagram(message.serialize(), FiveTuple(local, CLIENT), now)
    effect = machine.next_effect()
    assert machine.next_effect() is None
    if effect is None:
        return None
    assert isinstance(effect, Transmit)
    return parse(effect.data), effect.path


@pytest.mark.parametrize("local", other_addresses(PRIMARY, OTHER.host, OTHER.port))
@pytest.mark.parametrize(("address", "port"), list(itertools.product([False, True], repeat=2)))
def test_the_response_comes_from_where_the_flags_say(local: TransportAddress, address: bool, port: bool) -> None:
    answer = ask(server(), request((att.CHANGE_REQUEST, ChangeRequest(address, port))), local)
    assert answer is not None
    response, path = answer
    hosts, ports = (PRIMARY.host, OTHER.host), (PRIMARY.port, OTHER.port)
    expected = TransportAddress(
        hosts[(hosts.index(local.host) + address) % 2], ports[(ports.index(local.port) + port) % 2]
    )
    other = TransportAddress(hosts[1 - hosts.index(local.host)], ports[1 - ports.index(local.port)])
    assert path == FiveTuple(expected, CLIENT)
    assert response.attributes == [
        (att.MAPPED_ADDRESS, CLIENT),
        (att.XOR_MAPPED_ADDRESS, CLIENT),
        (att.RESPONSE_ORIGIN, expected),
        (att.OTHER_ADDRESS, other),
    ]


def refused(answer: tuple[Message, FiveTuple] | None) -> tuple[int, ...]:
    assert answer is not None
    response, path = answer
    assert response.error is not None
    assert (response.error.code, path) == (420, FiveTuple(PRIMARY, CLIENT))
    return response.get(att.UNKNOWN_ATTRIBUTES) or ()


def test_with_one_address_nothing_can_be_changed() -> None:
    machine = server(alternates=False)
    answer = ask(machine, request())
    assert answer is not None
    assert att.OTHER_ADDRESS not in answer[0]
    assert answer[0].get(att.RESPONSE_ORIGIN) == PRIMARY
    for change in (ChangeRequest(True, True), ChangeRequest(port=True), ChangeRequest()):
        assert refused(ask(machine, request((att.CHANGE_REQUEST, change)))) == (att.CHANGE_REQUEST.code,)


def test_with_two_ports_of_one_address_only_the_port_is_changed() -> None:
    machine = server(None)
    answer = ask(machine, request((att.CHANGE_REQUEST, ChangeRequest(port=True))))
    assert answer is not None
    assert answer[1].local == TransportAddress(PRIMARY.host, OTHER.port)
    assert answer[0].get(att.OTHER_ADDRESS) == TransportAddress(PRIMARY.host, OTHER.port)
    assert refused(ask(machine, request((att.CHANGE_REQUEST, ChangeRequest(True, False))))) == (3,)


def test_software_is_told_as_configured() -> None:
    rules = BehaviourRules(BehaviourServerConfig(), other_addresses(PRIMARY, OTHER.host, OTHER.port))
    machine = BindingServer(BindingServerConfig(software="a server"), rules)
    for message in (request(), request((att.unknown_attribute(0x7FFE), b""))):
        answer = ask(machine, message)
        assert answer is not None
        assert answer[0].get(att.SOFTWARE) == "a server"


def test_a_response_fits_an_ip_datagram() -> None:
    """Section 7.6: PADDING must not make it longer than 64 KiB."""
    for wrong in (-1, 65_000):
        with pytest.raises(ValueError):
            BehaviourServerConfig(max_padding=wrong)
    machine = server(max_padding=64_000)
    answer = ask(machine, request((att.PADDING, bytes(65_400))))
    assert answer is not None
    assert len(answer[0].wire) <= 65_507


def test_response_port_keeps_the_address_and_is_rate_limited() -> None:
    machine = server(response_port_rate=1.0, response_port_burst=2)
    wish = request((att.RESPONSE_PORT, 50000))
    for now, answered in [(0.0, True), (0.0, True), (0.0, False), (1.0, True), (1.5, False)]:
        answer = ask(machine, wish, now=now)
        assert (answer is not None) is answered
        if answer is not None:
            assert answer[1] == FiveTuple(PRIMARY, TransportAddress(CLIENT.host, 50000))
            assert answer[0].get(att.XOR_MAPPED_ADDRESS) == CLIENT
    assert machine.stats.limited == 2
    assert ask(machine, request(), now=1.5) is not None
    assert refused(ask(server(response_port=False), wish)) == (att.RESPONSE_PORT.code,)


@pytest.mark.parametrize(
    "pairs",
    [
        [(att.PADDING, bytes(8)), (att.RESPONSE_PORT, 50000)],
        [(att.RESPONSE_PORT, 0)],
    ],
)
def test_a_bad_request(pairs: list[tuple[object, object]]) -> None:
    answer = ask(server(), request(*pairs))
    assert answer is not None
    assert answer[0].error is not None
    assert answer[0].error.code == 400
    assert answer[1].remote == CLIENT


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (7, 4), (1000, 1000), (1500, 1500), (9000, 1500)])
def test_padding_is_mirrored_and_never_longer(asked: int, given: int) -> None:
    answer = ask(server(), request((att.PADDING, bytes(asked))))
    assert answer is not None
    assert answer[0].get(att.PADDING) == bytes(given)


@pytest.mark.parametrize("attribute", [(att.CHANGE_REQUEST, ChangeRequest(port=True)), (att.RESPONSE_PORT, 5)])
def test_over_a_connection_nothing_is_changed(attribute: tuple[object, object]) -> None:
    machine = server()
    path = FiveTuple(PRIMARY, CLIENT, TransportProtocol.TCP)
    machine.path_opened(path, 0.0)
    machine.receive_data(request(attribute).serialize() + request().serialize(), path, 0.0)
    effects = [machine.next_effect(), machine.next_effect()]
    assert all(isinstance(effect, Transmit) and effect.path == path for effect in effects)
    first, second = (parse(effect.data) for effect in effects if isinstance(effect, Transmit))
    assert first.error is not None
    assert first.error.code == 420
    assert second.get(att.OTHER_ADDRESS) == OTHER


def test_the_other_address_has_to_be_another() -> None:
    for host, port in ((PRIMARY.host, 5), (OTHER.host, PRIMARY.port)):
        with pytest.raises(ValueError, match="differ"):
            other_addresses(PRIMARY, host, port)
