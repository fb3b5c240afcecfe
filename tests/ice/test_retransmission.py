from __future__ import annotations

from ice.retransmission import Retransmission, Step


def run(retransmission: Retransmission) -> tuple[list[float], float]:
    sends = []
    while True:
        at = retransmission.at
        match retransmission.advance(at):
            case Step.SEND:
                sends.append(at)
            case Step.FAIL:
                return sends, at
            case Step.NOTHING:
                raise AssertionError("nothing was due at the time that was named")


def test_the_schedule_of_rfc_8489() -> None:
    assert run(Retransmission(0.0, 0.5, 7, 16)) == ([0.5, 1.5, 3.5, 7.5, 15.5, 31.5], 39.5)


def test_a_single_send() -> None:
    assert run(Retransmission(10.0, 0.5, 1, 4)) == ([], 12.0)


def test_early_calls_do_nothing_and_late_ones_do_not_pile_up() -> None:
    retransmission = Retransmission(0.0, 0.5, 7, 16)
    assert retransmission.advance(0.49) is Step.NOTHING
    assert retransmission.advance(5.0) is Step.SEND
    assert retransmission.advance(5.0) is Step.NOTHING
    assert retransmission.at == 6.0
    assert retransmission.sends == 2
