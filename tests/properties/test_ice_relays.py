"""TURN servers under an agent, in any order of events: nothing raises, and nothing is left behind."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ice.agent import Agent
from ice.config import IceConfig
from ice.events import GatheringCompleted, State
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.message import Message, MessageClass, Method
from tests.ice.builders import remote
from tests.ice.relay_stage import CONFIG, Stage
from tests.turn.fake_server import data_indication
from turn.errors import TurnUnreachableError

PROTOCOLS = st.sampled_from(list(TransportProtocol))
METHODS = st.sampled_from([Method.ALLOCATE, Method.CREATE_PERMISSION, Method.REFRESH, Method.CHANNEL_BIND])
CODES = st.sampled_from([300, 400, 401, 403, 437, 438, 486, 500])
NUMBERS = st.integers(1, 9)

STEPS = st.one_of(
    st.tuples(st.just("ask"), PROTOCOLS),
    st.tuples(st.just("refuse"), METHODS, CODES),
    st.tuples(st.just("mute"), st.booleans()),
    st.tuples(st.just("candidate"), NUMBERS),
    st.tuples(st.just("from peer"), NUMBERS, st.binary(max_size=40)),
    st.tuples(st.just("check"), NUMBERS),
    st.tuples(st.just("noise"), st.binary(max_size=60)),
    st.tuples(st.just("end of link"), st.booleans()),
    st.tuples(st.just("describe")),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 1.0, 6.0, 50.0, 700.0])),
)


class Play:
    """Carries out steps on a stage."""

    def __init__(self) -> None:
        self.stage = Stage(IceConfig(turn_servers=[CONFIG], max_relays=4))
        self.described = False

    @property
    def path(self) -> FiveTuple | None:
        return next(iter(self.stage.agent.relays.by_path), None)

    def do(self, step: tuple[object, ...]) -> None:
        stage, agent = self.stage, self.stage.agent
        match step:
            case ("ask", TransportProtocol() as protocol):
                stage.ask(protocol=protocol)
            case ("refuse", Method() as method, int(code)):
                stage.server.refuse(method, code)
            case ("mute", bool(mute)):
                stage.answers = not mute
            case ("candidate", int(number)):
                agent.add_remote_candidate(remote(number), stage.now)
            case ("from peer", int(number), bytes(data)):
                self._from_server(data_indication(TransportAddress(f"198.51.100.{number}", 2000), data))
            case ("check", int(number)):
                check = Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).serialize(fingerprint=True)
                self._from_server(data_indication(TransportAddress(f"198.51.100.{number}", 2000), check))
            case ("noise", bytes(data)):
                self._from_server(data)
            case ("end of link", bool(broken)) if self.path is not None:
                error = TurnUnreachableError("broken", server="x") if broken else None
                agent.relays.path_failed(self.path, error, stage.now)
            case ("describe",) if not self.described:
                self.described = True
                stage.describe()
            case ("wait", float(seconds)):
                stage.wait(seconds)
        stage.pump()

    def _from_server(self, data: bytes) -> None:
        if self.path is not None:
            self.stage.agent.receive_datagram(data, self.path, self.stage.now)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_any_order_of_events_leaves_nothing_behind(steps: list[tuple[object, ...]]) -> None:
    play = Play()
    for step in steps:
        play.do(step)
    stage, agent = play.stage, play.stage.agent
    relays = agent.stats().relays
    assert len(relays) <= 4
    assert len(stage.of_type(GatheringCompleted)) <= 1
    # Every relayed base belongs to a server that relays, and only hosts with its permission are paired with it.
    for base, _ in agent.relays.by_base:
        assert any(str(base) in relay.relayed for relay in relays)
    agent.close(stage.now)
    stage.pump()
    stage.wait(2.0)
    _assert_gone(agent, stage)


def _assert_gone(agent: Agent, stage: Stage) -> None:
    assert agent.state is State.CLOSED
    assert agent.relays.is_idle
    assert not agent.relays.by_base
    assert agent.next_timeout() is None
    assert agent.next_effect() is None
    assert Counter(stage.released) == Counter(list(stage.open)), "every link is released, once"
