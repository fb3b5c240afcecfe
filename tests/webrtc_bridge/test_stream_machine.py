"""The state of a data-channel stream: every flag in every state, and the timeouts, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from webrtc_bridge.config import StreamConfig
from webrtc_bridge.framing import Flag, encode_frame
from webrtc_bridge.stream_machine import (
    CloseChannel,
    DataReceived,
    ReadFinished,
    ReadState,
    SendMessage,
    StreamMachine,
    WasReset,
    WriteFinished,
    WriteLost,
    WriteState,
    WriteStopped,
)

FIN, FIN_ACK = SendMessage(encode_frame(flag=Flag.FIN)), SendMessage(encode_frame(flag=Flag.FIN_ACK))
STOP, RESET = SendMessage(encode_frame(flag=Flag.STOP_SENDING)), SendMessage(encode_frame(flag=Flag.RESET))


def effects(machine: StreamMachine) -> list[object]:
    return list(iter(machine.next_effect, None))


def events(machine: StreamMachine) -> list[object]:
    return list(iter(machine.next_event, None))


def flag(machine: StreamMachine, value: Flag, now: float = 0.0) -> None:
    machine.receive_data(encode_frame(flag=value), now)


def test_data_goes_out_in_one_message_a_frame() -> None:
    machine = StreamMachine()
    machine.send(b"hi")
    machine.send(b"")
    assert effects(machine) == [SendMessage(b"\x04\x12\x02hi")]


def test_data_comes_in() -> None:
    machine = StreamMachine()
    machine.receive_data(b"\x04\x12", 0.0)
    assert machine.buffered == 2
    machine.receive_data(b"\x02hi", 0.0)
    assert events(machine) == [DataReceived(b"hi")]
    assert machine.buffered == 0


def test_a_graceful_close_from_our_side() -> None:
    machine = StreamMachine()
    machine.close_write(0.0)
    machine.close_write(0.0)
    assert effects(machine) == [FIN]
    flag(machine, Flag.FIN_ACK)
    assert machine.write_state is WriteState.FINISHED
    assert not machine.done
    flag(machine, Flag.FIN)
    assert effects(machine) == [FIN_ACK, CloseChannel()]
    assert events(machine) == [WriteFinished(True), ReadFinished()]
    assert machine.done
    assert machine.next_timeout() is None


def test_a_graceful_close_from_the_peers_side() -> None:
    machine = StreamMachine()
    machine.receive_data(encode_frame(b"last", Flag.FIN), 0.0)
    assert events(machine) == [DataReceived(b"last"), ReadFinished()]
    assert effects(machine) == [FIN_ACK]
    machine.send(b"answer")
    machine.close_write(1.0)
    flag(machine, Flag.FIN_ACK, 1.1)
    assert effects(machine) == [SendMessage(encode_frame(b"answer")), FIN, CloseChannel()]


def test_a_repeated_fin_is_acknowledged_again_and_told_once() -> None:
    machine = StreamMachine()
    flag(machine, Flag.FIN)
    flag(machine, Flag.FIN)
    assert effects(machine) == [FIN_ACK, FIN_ACK]
    assert events(machine) == [ReadFinished()]


def test_stop_sending_closes_our_writing_half_with_a_fin() -> None:
    machine = StreamMachine()
    flag(machine, Flag.STOP_SENDING)
    assert effects(machine) == [FIN]
    assert events(machine) == [WriteStopped()]
    with pytest.raises(RuntimeError, match="not open"):
        machine.send(b"x")
    flag(machine, Flag.FIN_ACK)
    assert events(machine) == [WriteFinished(True)]
    assert machine.read_state is ReadState.OPEN


def test_flags_go_on_after_we_stopped_reading_but_data_is_dropped() -> None:
    machine = StreamMachine()
    machine.close_read(0.0)
    machine.close_read(0.0)
    machine.receive_data(encode_frame(b"ignored"), 0.1)
    machine.close_write(0.2)
    flag(machine, Flag.FIN_ACK, 0.3)
    flag(machine, Flag.FIN, 0.4)
    assert effects(machine) == [STOP, FIN, FIN_ACK, CloseChannel()]
    assert events(machine) == [WriteFinished(True)]
    assert machine.counters["data after the end"] == 1


def test_a_missing_fin_ack_is_given_up() -> None:
    machine = StreamMachine(StreamConfig(fin_ack_timeout=10.0))
    flag(machine, Flag.FIN)
    machine.close_write(5.0)
    deadline = machine.next_timeout()
    assert deadline is not None
    assert deadline.at == 15.0
    machine.handle_timeout(14.9)
    assert not machine.done
    machine.handle_timeout(15.0)
    assert events(machine) == [ReadFinished(), WriteFinished(False)]
    assert effects(machine) == [FIN_ACK, FIN, CloseChannel()]


def test_a_peer_that_never_answers_stop_sending_is_given_up() -> None:
    machine = StreamMachine(StreamConfig(fin_ack_timeout=10.0))
    machine.close_write(0.0)
    machine.close_read(1.0)
    flag(machine, Flag.FIN_ACK, 2.0)
    deadline = machine.next_timeout()
    assert deadline is not None
    assert deadline.at == 11.0
    machine.handle_timeout(11.0)
    assert effects(machine) == [FIN, STOP, CloseChannel()]


def test_our_reset() -> None:
    machine = StreamMachine()
    machine.reset("enough")
    machine.reset("again")
    assert effects(machine) == [RESET, CloseChannel(at_once=True)]
    assert events(machine) == [WasReset("enough")]
    machine.receive_data(encode_frame(b"late"), 1.0)
    assert events(machine) == []


def test_the_peers_reset() -> None:
    machine = StreamMachine()
    machine.receive_data(encode_frame(b"a") + encode_frame(flag=Flag.RESET) + encode_frame(b"b"), 0.0)
    assert events(machine) == [DataReceived(b"a"), WasReset("reset by the peer")]
    assert effects(machine) == [CloseChannel(at_once=True)]


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda machine: None, [WasReset("the channel was closed")]),
        (lambda machine: flag(machine, Flag.FIN), [ReadFinished(), WriteLost("the channel was closed")]),
        (lambda machine: machine.close_write(0.0), [WasReset("the channel was closed")]),
        (
            lambda machine: (flag(machine, Flag.FIN), machine.close_write(0.0)),
            [ReadFinished(), WriteFinished(False)],
        ),
    ],
)
def test_the_channel_closes_early(prepare: Callable[[StreamMachine], object], told: list[object]) -> None:
    machine = StreamMachine()
    prepare(machine)
    machine.channel_closed()
    machine.channel_closed()
    assert events(machine) == told
    assert machine.done


def test_broken_framing_resets_the_stream() -> None:
    machine = StreamMachine()
    machine.receive_data(b"\xff" * 20, 0.0)
    assert effects(machine) == [RESET, CloseChannel(at_once=True)]
    (event,) = events(machine)
    assert isinstance(event, WasReset)
    assert "framing" in event.reason


def test_too_much_for_one_frame_is_a_callers_mistake() -> None:
    machine = StreamMachine()
    with pytest.raises(RuntimeError, match="do not fit"):
        machine.send(bytes(machine.max_payload + 1))


def test_a_stray_fin_ack_means_nothing() -> None:
    machine = StreamMachine()
    flag(machine, Flag.FIN_ACK)
    assert machine.write_state is WriteState.OPEN
    assert events(machine) == []
