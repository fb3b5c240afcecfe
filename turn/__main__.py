"""``python -m turn serve`` runs a TURN server; ``python -m turn credentials`` makes users of limited time for it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from stun.address import TransportAddress, TransportProtocol
from turn.aio.service import TurnService, serve
from turn.aio.service.log import JsonFormatter, KeyValueFormatter
from turn.credentials import rest_credentials
from turn.errors import TurnConfigError
from turn.service.config import TurnServiceConfig
from turn.service.settings import ServiceSettings, parse_settings

__all__ = ["main"]

logger = logging.getLogger("turn")

SECRET_VARIABLE = "TURN_SHARED_SECRET"

SERVE_EPILOG = """examples:
  lastresort turn serve --user alice:secret       this machine only, port 3478, UDP and TCP
  lastresort turn serve --config turn.toml        as the file says (docs/turn.md lists every setting)
  lastresort turn serve --config turn.toml --check  read the file, say what is wrong with it, and stop

a file to start from:
  realm = "example.org"
  [listen]
  udp = ["0.0.0.0:3478", "[::]:3478"]
  tcp = ["0.0.0.0:3478", "[::]:3478"]
  tls = ["0.0.0.0:5349"]
  [tls]
  certificate = "/etc/ssl/example.org.pem"
  private_key = "/etc/ssl/example.org.key"
  [credentials]
  shared_secrets = ["the secret that the web service makes credentials with"]

SIGTERM and Ctrl-C drain: no new allocations, and the server ends when the last one has, or after drain_seconds.
A second Ctrl-C ends it at once.
"""

CREDENTIALS_EPILOG = f"""examples:
  lastresort turn credentials --config turn.toml --name alice
  {SECRET_VARIABLE}=... lastresort turn credentials --name alice --lifetime 3600 --json

The secret comes from the file, or from the variable {SECRET_VARIABLE}; a command line can be read by others.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 when it failed, 2 for wrong usage, 130 after a second Ctrl-C."""
    options = _parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = _settings(options)
        if options.command == "credentials":
            return _credentials(options, settings)
        if options.check:
            print("the settings are good")
            return 0
        return asyncio.run(_serve(settings, options))
    except (TurnConfigError, OSError, ValueError) as error:
        print(f"turn: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lastresort turn", description="A TURN and STUN server, and its users.")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    shape = argparse.RawDescriptionHelpFormatter
    server = commands.add_parser(
        "serve", help="run a TURN server", description="Run a TURN server.", epilog=SERVE_EPILOG, formatter_class=shape
    )
    server.add_argument("--config", type=Path, metavar="FILE", help="the settings, in TOML")
    server.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD", help="a user beside the file's")
    server.add_argument("--realm", metavar="TEXT", help="the realm, when there is no file (localhost)")
    server.add_argument("--check", action="store_true", help="only read the settings")
    server.add_argument("--json", action="store_true", help="print the addresses as JSON, and log JSON lines")
    server.add_argument("--verbose", "-v", action="store_true", help="log every allocation")
    users = commands.add_parser(
        "credentials",
        help="make a user of limited time",
        description="Make a user name and password that are good for some time, from the shared secret.",
        epilog=CREDENTIALS_EPILOG,
        formatter_class=shape,
    )
    users.add_argument("--config", type=Path, metavar="FILE", help="the server's settings, which hold the secret")
    users.add_argument("--name", default="", metavar="TEXT", help="who it is for; quotas go by this name")
    users.add_argument("--lifetime", type=float, default=86400.0, metavar="S", help="seconds (86400)")
    users.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _settings(options: argparse.Namespace) -> ServiceSettings:
    if options.config is not None:
        settings = parse_settings(options.config.read_text(encoding="utf-8"))
    else:
        realm = getattr(options, "realm", None) or "localhost"
        settings = ServiceSettings(service=TurnServiceConfig(realm=realm))
    given = dict(text.split(":", 1) for text in getattr(options, "user", []) if ":" in text)
    if len(given) != len(getattr(options, "user", [])):
        raise TurnConfigError("--user needs NAME:PASSWORD, and every name once")
    return replace(settings, users={**settings.users, **given})


def _credentials(options: argparse.Namespace, settings: ServiceSettings) -> int:
    secret = next(iter(settings.shared_secrets), os.environ.get(SECRET_VARIABLE, ""))
    if not secret:
        raise TurnConfigError(f"no shared secret: give --config with credentials.shared_secrets, or {SECRET_VARIABLE}")
    username, password = rest_credentials(secret, options.name, options.lifetime, time.time())
    if options.json:
        print(json.dumps({"username": username, "password": password, "ttl": int(options.lifetime)}))
    else:
        print(f"username {username}\npassword {password}")
    return 0


def _set_up_logging(as_json: bool, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else KeyValueFormatter())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])


async def _serve(settings: ServiceSettings, options: argparse.Namespace) -> int:
    _set_up_logging(options.json or settings.log_format == "json", options.verbose)
    made_up = not settings.users and not settings.shared_secrets and settings.service.tokens is None
    if made_up:
        settings = replace(settings, users={"user": secrets.token_urlsafe(16)})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(await serve(settings))
        metrics: TransportAddress | None = None
        if settings.metrics is not None:
            await asyncio.to_thread(_load_metrics)
            from turn.aio.service.metrics import serve_metrics

            answering = await serve_metrics(service, settings.metrics.address)
            stack.callback(answering.close)
            metrics = answering.address
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, stop, loop)
        _announce(service, metrics, settings.users if made_up else {}, options.json)
        await stop.wait()
        logger.info("draining")
        if not await service.drain(settings.drain_seconds):
            logger.warning("%d allocations are cut off", service.snapshot().allocations)
    return 0


def _load_metrics() -> None:
    """Load the library that only this needs: in a thread, because clients are served already."""
    import turn.aio.service.metrics  # noqa: F401


def _stop(stop: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    stop.set()
    loop.remove_signal_handler(signal.SIGINT)  # the next Ctrl-C interrupts


def _announce(service: TurnService, metrics: TransportAddress | None, users: Mapping[str, str], as_json: bool) -> None:
    found = {str(protocol): [str(one) for one in service.addresses(protocol)] for protocol in TransportProtocol}
    found = {protocol: addresses for protocol, addresses in found.items() if addresses}
    where = f"http://{metrics}/metrics" if metrics is not None else None
    if as_json:
        print(json.dumps({**found, "metrics": where, "users": dict(users)}), flush=True)
        return
    for protocol, addresses in found.items():
        print(f"TURN over {protocol.upper()} at {', '.join(addresses)}")
    if where is not None:
        print(f"metrics at {where}")
    for name, password in users.items():
        print(f"nobody was named, so there is one user: {name} with the password {password}")
    print("Ctrl-C drains and stops", flush=True)


if __name__ == "__main__":
    sys.exit(main())
