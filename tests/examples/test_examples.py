"""Every example runs as its first lines say."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from tests.examples.program import EXAMPLES, rest, start


def test_ice_connect_between_two_processes() -> None:
    with start("ice_connect.py", "listen", "--loopback") as listener:
        assert listener.stdout is not None
        announced = re.fullmatch(r"signalling on TCP port (\d+)\n", listener.stdout.readline())
        assert announced is not None
        with start("ice_connect.py", "connect", "localhost", announced[1], "--loopback") as caller:
            heard_by_caller = rest(caller)
        heard_by_listener = rest(listener)
    assert caller.returncode == listener.returncode == 0, heard_by_caller + heard_by_listener
    for output, peer in ((heard_by_caller, "listener"), (heard_by_listener, "caller")):
        assert output.startswith("direct path: ")
        assert [f"received: hello {number} from the {peer}" for number in range(3)] == output.splitlines()[1:]


def test_ice_connect_says_why_it_cannot_connect() -> None:
    with start("ice_connect.py", "connect", "127.0.0.1", "1") as caller:
        output = rest(caller)
    assert caller.returncode == 1
    assert output.startswith("no path: ")
    assert "Traceback" not in output


def test_peers_share_the_port_of_ice_mux_server() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(start("ice_mux_server.py", "--loopback"))
        assert server.stdout is not None
        announced = re.fullmatch(r"signalling on TCP port (\d+)\n", server.stdout.readline())
        assert announced is not None
        command = ("ice_connect.py", "connect", "localhost", announced[1], "--loopback")
        callers = [stack.enter_context(start(*command)) for _ in range(3)]
        heard = [rest(caller) for caller in callers]
        ports = {re.fullmatch(r"a peer is there: \d at port (\d+)\n", server.stdout.readline())[1] for _ in heard}
    assert len(ports) == 1
    for caller, output in zip(callers, heard, strict=True):
        assert caller.returncode == 0, output
        assert f":{next(iter(ports))} (host)" in output.splitlines()[0]
        assert [f"received: hello {number} from the listener" for number in range(3)] == output.splitlines()[1:]


def test_every_example_has_a_test() -> None:
    tested = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    untested = [path.name for path in EXAMPLES.glob("*.py") if path.name not in tested]
    assert not untested, f"no test names {untested}"
