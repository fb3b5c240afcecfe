"""One ICE agent of libnice that a test drives; runs under the system's Python, which has the bindings (python3-gi).

It takes the options of ``js/ice.mjs`` as JSON, and its commands and events are the same.
"""

import base64
import ctypes
import json
import os
import sys

import gi

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402

COMPONENT = 1
RELAY_TYPES = {"udp": Nice.RelayType.UDP, "tcp": Nice.RelayType.TCP, "tls": Nice.RelayType.TLS}
RECEIVE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p
)


def show(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class Peer:
    def __init__(self, options):
        self.loop = GLib.MainLoop()
        flags = Nice.AgentOption.ICE_TRICKLE | Nice.AgentOption.CONSENT_FRESHNESS
        if not options.get("aggressive"):
            flags |= Nice.AgentOption.REGULAR_NOMINATION
        self.agent = agent = Nice.Agent.new_full(self.loop.get_context(), Nice.Compatibility.RFC5245, flags)
        agent.set_property("controlling-mode", bool(options.get("controlling")))
        agent.set_property("upnp", False)
        agent.set_property("ice-udp", options.get("udp", True))
        agent.set_property("ice-tcp", options.get("tcp", False))
        agent.set_property("force-relay", options.get("relayOnly", False))
        if options.get("stun"):
            host, port = options["stun"]
            agent.set_property("stun-server", host)
            agent.set_property("stun-server-port", port)
        for host in options.get("hosts", []):
            address = Nice.Address()
            address.set_from_string(host)
            agent.add_local_address(address)
        agent.connect("new-candidate-full", self.found)
        agent.connect("candidate-gathering-done", lambda *_: self.gathered())
        agent.connect("component-state-changed", self.changed)
        agent.connect("new-selected-pair-full", self.selected_pair)
        self.stream = agent.add_stream(1)
        if turn := options.get("turn"):
            kind = RELAY_TYPES[turn.get("transport", "udp")]
            agent.set_relay_info(
                self.stream, COMPONENT, turn["host"], turn["port"], turn["username"], turn["password"], kind
            )
        # Callbacks for data are not in the bindings; a GObject's hash is its address.
        self.receiver = RECEIVE(self.received)
        library = ctypes.CDLL("libnice.so.10")
        library.nice_agent_attach_recv(ctypes.c_void_p(hash(agent)), self.stream, COMPONENT, None, self.receiver, None)
        self.pair = (None, None)
        self.waiting = {}

    def credentials(self):
        _, ufrag, pwd = self.agent.get_local_credentials(self.stream)
        return {"ufrag": ufrag, "pwd": pwd}

    # -- what the agent tells

    def found(self, agent, candidate):
        show({"event": "candidate", "sdp": self.text(candidate)})

    def text(self, candidate):
        return self.agent.generate_local_candidate_sdp(candidate).removeprefix("a=")

    def gathered(self):
        show({"event": "candidate", "sdp": None})
        candidates = [self.text(one) for one in self.agent.get_local_candidates(self.stream, COMPONENT)]
        self.answer("gather", candidates=candidates)

    def changed(self, agent, stream, component, state):
        name = Nice.component_state_to_string(state)
        show({"event": "state", "state": name})
        if name == "ready":
            self.answer("connect")
        elif name == "failed":
            self.answer("connect", error="ICE failed")

    def selected_pair(self, agent, stream, component, local, remote):
        self.pair = (self.text(local), self.text(remote))

    def received(self, agent, stream, component, size, data, user):
        show({"event": "data", "data": base64.b64encode(ctypes.string_at(data, size)).decode()})

    def answer(self, command, error=None, **members):
        number = self.waiting.pop(command, None)
        if number is not None:
            show({"id": number, "ok": error is None, "error": error, **members})

    # -- commands: None is "the answer comes later"

    def do_remote(self, ufrag, pwd, **_):
        assert self.agent.set_remote_credentials(self.stream, ufrag, pwd)
        return {}

    def do_gather(self):
        candidates = self.agent.get_local_candidates(self.stream, COMPONENT)
        if candidates:  # A restart keeps them, and tells none of them again.
            for candidate in candidates:
                self.found(self.agent, candidate)
            self.gathered()
            return
        assert self.agent.gather_candidates(self.stream)

    def do_candidate(self, sdp):
        if sdp is None:
            self.agent.peer_candidate_gathering_done(self.stream)
            return {}
        candidate = self.agent.parse_remote_candidate_sdp(self.stream, "a=candidate:" + sdp)
        taken = candidate is not None and self.agent.set_remote_candidates(self.stream, COMPONENT, [candidate])
        return {"taken": taken}

    def do_connect(self):
        if Nice.component_state_to_string(self.agent.get_component_state(self.stream, COMPONENT)) == "ready":
            return {}
        return None

    def do_send(self, data):
        decoded = base64.b64decode(data)
        library = ctypes.CDLL("libnice.so.10")
        sent = library.nice_agent_send(ctypes.c_void_p(hash(self.agent)), self.stream, COMPONENT, len(decoded), decoded)
        assert sent == len(decoded), sent
        return {}

    def do_selected(self):
        return {"local": self.pair[0], "remote": self.pair[1]}

    def do_role(self):
        return {"controlling": self.agent.get_property("controlling-mode")}

    def do_restart(self, controlling=None):
        if controlling is not None:
            self.agent.set_property("controlling-mode", controlling)
        assert self.agent.restart_stream(self.stream)
        return self.credentials()

    def do_close(self):
        self.agent.remove_stream(self.stream)
        return {}

    def run(self):
        show({"event": "ready", "version": os.environ.get("NICE_VERSION", ""), **self.credentials()})
        GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, self.readable)
        self.unread = b""
        self.loop.run()

    def readable(self, fd, condition):
        data = os.read(fd, 1 << 16)
        if not data:
            self.loop.quit()
            return False
        *lines, self.unread = (self.unread + data).split(b"\n")
        for line in lines:
            self.take(json.loads(line))
        return True

    def take(self, command):
        number, name = command.pop("id"), command.pop("cmd")
        self.waiting[name] = number
        try:
            result = getattr(self, f"do_{name}")(**command)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            self.answer(name, error=f"{type(error).__name__}: {error}")
        else:
            if result is not None:
                self.answer(name, **result)


Peer(json.loads(sys.argv[1])).run()
