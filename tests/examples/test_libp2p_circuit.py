"""The example libp2p_circuit.py runs as its first lines say."""

from __future__ import annotations

import signal
import subprocess

from tests.examples.program import EXAMPLES, PATIENCE, ROOT, STRICT, rest, start

EXAMPLE = "libp2p_circuit.py"
ANSWER = "answer: hello listener, this came through a relay that cannot read it"


def first_line(process: subprocess.Popen[str], before: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line.startswith(before), line
    return line.removeprefix(before)


def test_everything_in_one_process() -> None:
    run = subprocess.run(
        [*STRICT, str(EXAMPLES / EXAMPLE)], capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=True
    )
    assert run.stdout.splitlines() == ["limit: Limit(duration=120, data=131072)", ANSWER]
    assert run.stderr == ""


def test_each_part_in_its_own_process() -> None:
    with start(EXAMPLE, "relay") as relay:
        address = first_line(relay, "relay at ")
        with start(EXAMPLE, "listen", address) as listener:
            circuit = first_line(listener, "reachable at ")
            assert circuit.startswith(f"{address}/p2p-circuit/p2p/")
            with start(EXAMPLE, "call", circuit) as caller:
                output = rest(caller)
            assert ANSWER in output
            for process in (listener, relay):
                process.send_signal(signal.SIGINT)
            assert rest(listener) == ""
        assert rest(relay) == ""
    assert (caller.returncode, listener.returncode, relay.returncode) == (0, 0, 0)


def test_a_caller_without_a_relay_says_so() -> None:
    peer = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    with start(EXAMPLE, "call", f"/ip4/127.0.0.1/tcp/1/p2p/{peer}/p2p-circuit/p2p/{peer}") as caller:
        output = rest(caller)
    assert caller.returncode == 1
    assert output.startswith("no connection: ")
    assert "Traceback" not in output
