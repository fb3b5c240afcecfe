"""The options about ICE servers, shared by the commands that connect."""

from __future__ import annotations

import argparse
import os

from ice import IceConfig, IceError, IceTransportPolicy
from ice.aio.gathering import stun_servers
from stun.errors import StunUriError
from turn import TurnServerConfig

__all__ = ["TURN_EPILOG", "USER_VARIABLE", "add_ice", "ice_config", "stun_server", "turn_url"]

USER_VARIABLE = "LASTRESORT_TURN_USER"

TURN_EPILOG = f"""TURN servers (turn:host, turn:host?transport=tcp, turns:host) carry what has no direct path.
Their user comes from --turn-user or, unseen by others on the machine, from the variable {USER_VARIABLE}.
"""


def add_ice(parser: argparse.ArgumentParser) -> None:
    """Add ``--stun``, ``--turn``, ``--turn-user`` and ``--relay-only``."""
    parser.add_argument(
        "--stun",
        action="append",
        type=stun_server,
        metavar="URI",
        help="STUN server, as stun:host:port; may be given often",
    )
    parser.add_argument(
        "--turn",
        action="append",
        type=turn_url,
        metavar="URI",
        help="TURN server, as turn:host:port or turns:host:port; may be given often",
    )
    parser.add_argument(
        "--turn-user",
        type=_user,
        metavar="NAME:PASSWORD",
        help=f"the user at the TURN servers (default: ${USER_VARIABLE})",
    )
    parser.add_argument(
        "--relay-only", action="store_true", help="go by the TURN servers alone and show the peer no other address"
    )


def stun_server(text: str) -> str:
    """Check a STUN server as ICE takes it, for ``argparse``."""
    try:
        stun_servers(IceConfig(stun_servers=(text,)))
    except StunUriError as error:
        raise argparse.ArgumentTypeError(f"{text} is no STUN server: {error}; try stun:stun.example.org") from None
    return text


def turn_url(text: str) -> str:
    """Check a TURN URI, for ``argparse``."""
    try:
        TurnServerConfig(url=text)
    except (StunUriError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no TURN server: {error}; try turn:turn.example.org") from None
    return text


def _user(text: str) -> tuple[str, str]:
    # REST credentials have a colon in the name (1700000000:alice), so the last one divides.
    name, colon, password = text.rpartition(":")
    if not (colon and name and password):
        raise argparse.ArgumentTypeError("a TURN user is NAME:PASSWORD")
    return name, password


def ice_config(options: argparse.Namespace) -> IceConfig:
    """Return the ICE settings that the options ask for.

    Raises:
        IceError: only relays are wanted, and no TURN server was given; or the variable holds no user.
    """
    user: tuple[str, str] | None = options.turn_user
    if user is None and options.turn and (given := os.environ.get(USER_VARIABLE)):
        try:
            user = _user(given)
        except argparse.ArgumentTypeError as error:
            raise IceError(f"{USER_VARIABLE}: {error}") from None
    if options.relay_only and not options.turn:
        raise IceError("--relay-only needs a TURN server: --turn turn:host")
    name, password = user or (None, None)
    servers = tuple(TurnServerConfig(url=url, username=name, password=password) for url in options.turn or ())
    policy = IceTransportPolicy.RELAY if options.relay_only else IceTransportPolicy.ALL
    return IceConfig(stun_servers=tuple(options.stun or ()), turn_servers=servers, transport_policy=policy)
