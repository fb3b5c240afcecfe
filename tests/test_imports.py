"""What is loaded when: the libraries and rooms that few programs use, by the first that uses them, beside its loop.

Each test of that is a process of its own. What it loaded is read off ``sys.modules``.
"""

from __future__ import annotations

import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

from tests.stun.certificates import Authority

ROOT = Path(__file__).resolve().parent.parent
ALWAYS = frozenset({"pyee", "typing_extensions"})
"""What every session uses: the emitter of its events, and what that imports."""
ROOMS = frozenset(
    {
        "ice.aio.mux",
        "ice.aio.portmapping",
        "ice.aio.upnp",
        "ice.aio.upnp_service",
        "ice.portmap.client",
        "ice.portmap.probe",
        "stun.aio.behaviour",
        "stun.aio.dns_records",
        "stun.aio.dtls",
        "stun.aio.dtls_session",
        "stun.aio.server",
        "turn.aio.service",
    }
)
"""Our own that a session without servers has no use for."""
LAZY = ("stun", "stun.aio", "turn", "ice", "ice.aio", "ice.portmap", "webrtc_bridge", "lastresort")
"""The packages that look their names up when they are first used."""
OURS = frozenset({"stun", "turn", "ice", "signalling", "webrtc_bridge", "browser_demo", "lastresort"})

SESSIONS = """
import asyncio
import ice

async def main():
    one, two = ice.Session(ice.Role.CONTROLLING), ice.Session(ice.Role.CONTROLLED)
    await asyncio.gather(one.gather(), two.gather())
    for source, sink in ((one, two), (two, one)):
        sink.set_remote_description(source.local_description)
        for candidate in (*source.local_candidates, None):
            sink.add_remote_candidate(candidate)
    await asyncio.gather(one.connect(), two.connect())
    one.send(b"hi")
    assert await two.receive() == b"hi"
    await asyncio.gather(one.close(), two.close())

asyncio.run(main())
"""


def libraries() -> set[str]:
    """Return the modules of the libraries that the project declares, but for those of :data:`ALWAYS`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["upnp"]]
    wanted = {re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", each)[0]).lower() for each in required}
    homes = packages_distributions()
    found = {
        module
        for module, owners in homes.items()
        if {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & wanted
    }
    return (found - ALWAYS) | {"av", "aioice"}


def run(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def loaded(code: str) -> set[str]:
    """Return the modules that a new process has loaded after ``code``."""
    modules = json.loads(run(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))").splitlines()[-1])
    return set(modules)


@pytest.mark.parametrize(
    "code",
    ["from stun import *", "import stun.aio", "import turn.aio", "import ice; ice.Session; ice.connect", SESSIONS],
    ids=["stun", "stun.aio", "turn.aio", "ice", "two sessions that connect"],
)
def test_no_library_is_loaded_that_is_not_used(code: str) -> None:
    modules = loaded(code)
    assert {name.partition(".")[0] for name in modules} & libraries() == set()
    assert modules & ROOMS == set()


def test_the_cores_alone_load_no_asyncio() -> None:
    for code in ("from stun import *", "import turn; turn.TurnClient", "import ice, ice.agent"):
        assert "asyncio" not in loaded(code)


@pytest.mark.parametrize("package", ["lastresort", "webrtc_bridge"])
def test_a_package_of_late_names_loads_no_other_for_them(package: str) -> None:
    ours = {name for name in loaded(f"import {package}; dir({package})") if name.partition(".")[0] in OURS}
    assert ours <= {package, f"{package}.errors", "stun", "stun.late"}


@pytest.mark.parametrize(
    ("code", "library", "room"),
    [
        ("import stun.aio; stun.aio.serve_dtls", "OpenSSL", "stun.aio.dtls_session"),
        ("import stun.aio.dns_records", "dns", "stun.aio.dns_records"),
        ("import ice.aio.upnp_service", "aiohttp", "ice.aio.upnp"),
        ("import ice; ice.Mux", None, "ice.aio.mux"),
    ],
)
def test_what_is_used_is_loaded(code: str, library: str | None, room: str) -> None:
    modules = loaded(code)
    assert room in modules & ROOMS
    assert library is None or library in modules & libraries()


WATCH = """
import asyncio, importlib.abc, random, sys, threading
{imports}

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {library!r}:
            print("beside the loop" if threading.current_thread() is not threading.main_thread() else "in the loop")
            raise ImportError("not here")

sys.meta_path.insert(0, Watch())

async def main():
    try:
        await {use}
    except (ImportError, OSError) as error:
        assert "not here" in str(error), error
    else:
        raise AssertionError("it did without")

asyncio.run(main())
"""
HERE = "TransportAddress('127.0.0.1', 9)"


@pytest.mark.parametrize(
    ("library", "imports", "use"),
    [
        ("dns", "from stun.aio.resolve import ask_dns", "ask_dns('example.test', 'SRV', 1.0)"),
        (
            "OpenSSL",
            "from stun import TransportAddress, TransportProtocol\nfrom stun.aio import open_link",
            f"open_link({HERE}, TransportProtocol.DTLS, receiver=print, closed=print)",
        ),
        (
            "zeroconf",
            "from ice.aio.mdns import ZeroconfNames\nfrom stun.aio import UdpNetwork",
            "ZeroconfNames(UdpNetwork()).resolve('x.local', 1.0)",
        ),
        (
            "aiohttp",
            "from signalling.libp2p.aio.websocket import WebSocketTransport\n"
            "from signalling.libp2p.keys import PrivateKey\nfrom signalling.libp2p.multiaddr import Multiaddr",
            "WebSocketTransport(PrivateKey.generate()).dial(Multiaddr('/ip4/127.0.0.1/tcp/9/ws'), None)",
        ),
        (
            "aiohttp",
            "from types import SimpleNamespace\n"
            "from ice.aio.upnp import UpnpGateway\nfrom stun import TransportAddress\n"
            "class Answering(UpnpGateway):\n"
            "    async def _search(self):\n"
            f"        return SimpleNamespace(location='http://127.0.0.1:9/', gateway={HERE})",
            "Answering(None, '127.0.0.1', '127.0.0.1', None).map(None, 1, 1)",
        ),
        (
            "ice.aio.upnp",  # What port mapping imports and is never compiled: compiled rooms load each other unseen.
            "import random\nfrom ice import IceConfig, PortmapConfig, Role, Session\n"
            "settings = IceConfig(portmap=PortmapConfig(enabled=True))",
            "Session(Role.CONTROLLING)._driver_now().map_ports(settings, random.Random(1))",
        ),
        (
            "prometheus_client",
            "from argparse import Namespace\nfrom turn.__main__ import _serve\n"
            "from turn.service.settings import parse_settings\n"
            'text = \'realm = "example.org"\\n[listen]\\nudp = ["127.0.0.1:0"]\\n\'\n'
            "text += '[metrics]\\nlisten = \"127.0.0.1:0\"\\n'",
            "_serve(parse_settings(text), Namespace(json=False, verbose=False))",
        ),
    ],
    ids=["dns", "OpenSSL", "zeroconf", "a WebSocket", "UPnP", "port mapping", "metrics"],
)
def test_a_loop_goes_on_while_a_library_is_loaded(library: str, imports: str, use: str) -> None:
    assert run(WATCH.format(library=library, imports=imports, use=use)).split("\n")[0] == "beside the loop"


SERVE = """
from stun import TransportAddress, TransportProtocol
from stun.aio import SecureServing, serve
from turn.aio.service import serve as serve_turn
from turn.service.config import TurnServiceConfig
from turn.service.settings import Listener, ServiceSettings

address = TransportAddress("127.0.0.1", 0)
secure = SecureServing(certificate={certificate!r}, port=0)
settings = ServiceSettings(
    service=TurnServiceConfig(realm="example.org"),
    listeners=(Listener(protocol=TransportProtocol.DTLS, address=address),),
    certificate={certificate!r},
    users={{"user": "secret"}},
)
"""


@pytest.mark.parametrize("library", ["OpenSSL", "stun.aio.dtls_listener"])
@pytest.mark.parametrize("use", ["serve(['127.0.0.1'], 0, secure=secure)", "serve_turn(settings)"])
def test_a_loop_goes_on_while_what_serves_dtls_is_loaded(tmp_path: Path, library: str, use: str) -> None:
    imports = SERVE.format(certificate=Authority.make(tmp_path).issue("127.0.0.1"))
    assert run(WATCH.format(library=library, imports=imports, use=use)).split("\n")[0] == "beside the loop"


@pytest.mark.parametrize("package", LAZY)
def test_every_name_of_a_lazy_package_is_there(package: str) -> None:
    module = import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        taken: dict[str, object] = {}
        exec(f"from {package} import {name}", taken)
        assert not isinstance(taken[name], ModuleType)
        assert taken[name] is getattr(module, name)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        module.Nothing  # noqa: B018


@pytest.mark.parametrize("package", LAZY)
def test_no_room_is_called_like_a_name_that_is_looked_up(package: str) -> None:
    # The room would stand in the name's place once somebody had imported it.
    module = import_module(package)
    assert {room.name for room in pkgutil.iter_modules(module.__path__)} & set(module.__all__) == set()
