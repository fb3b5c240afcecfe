"""``python -m stun host[:port]`` prints our mapped address; ``python -m stun serve`` runs a server."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import signal
import ssl
import sys
from collections.abc import Sequence
from dataclasses import replace

from stun.aio import BehaviourServing, SecureServing, StunServer, UdpNetwork, ask_any, locate, serve
from stun.aio.client import NAT_DISCOVERY
from stun.auth import LongTermClient
from stun.binding import Mapped
from stun.config import BindingClientConfig, BindingServerConfig, TransactionConfig
from stun.errors import StunError, StunUriError
from stun.uri import ServerUri

EPILOG = """examples:
  python -m stun stun.example.org            the address that the world sees of us, over UDP
  python -m stun 192.0.2.1:3478 --tcp        over TCP
  python -m stun stuns:stun.example.org      over TLS; with --dtls over DTLS
  python -m stun '[2001:db8::1]:3478' --json one line of JSON for scripts
  python -m stun serve                       a server for this machine only, port 3478, UDP and TCP
  python -m stun serve --host 0.0.0.0 --host ::    a server on every address of this machine
  python -m stun serve --host 198.51.100.1 --other-host 198.51.100.2    also tells what a NAT does (RFC 5780)
  python -m stun serve --cert full-chain.pem --key key.pem    also over TLS and DTLS, port 5349
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 when no address came back, 2 for wrong usage, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    serving = given[:1] == ["serve"]
    parser = _server_parser() if serving else _client_parser()
    options = parser.parse_args(given[1:] if serving else given)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        return asyncio.run(_serve(options) if serving else _query(options, parser))
    except KeyboardInterrupt:
        return 130


def _client_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stun",
        usage="python -m stun [options] HOST[:PORT]\n"
        "       python -m stun serve [options]   (help: python -m stun serve -h)",
        description="Ask a STUN server (RFC 8489) which address it sees us at.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("server", metavar="HOST[:PORT]", help="a name, an address, [IPv6]:port, a stun: or stuns: URI")
    transport = parser.add_mutually_exclusive_group()
    transport.add_argument("--tcp", action="store_true", help="ask over TCP instead of UDP")
    transport.add_argument("--dtls", action="store_true", help="ask a stuns: server over DTLS instead of TLS")
    parser.add_argument("--ca", metavar="FILE", help="trust these CA certificates (PEM) instead of the system's")
    family = parser.add_mutually_exclusive_group()
    family.add_argument("--ipv4", "-4", action="store_const", dest="family", const=4, help="only IPv4")
    family.add_argument("--ipv6", "-6", action="store_const", dest="family", const=6, help="only IPv6")
    parser.add_argument("--user", metavar="NAME:PASSWORD", help="long-term credentials, for servers that ask for them")
    parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="S", help="give up after S seconds (10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _server_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stun serve", description="Run a STUN server.")
    parser.add_argument(
        "--host",
        action="append",
        metavar="ADDRESS",
        help="an address to serve, or 0.0.0.0 or :: for all; may be given often (default: 127.0.0.1 and ::1)",
    )
    parser.add_argument("--port", type=_port, default=3478, help="port for UDP and TCP, 0 picks one (3478)")
    parser.add_argument("--cert", metavar="FILE", help="serve TLS and DTLS with this certificate chain (PEM)")
    parser.add_argument("--key", metavar="FILE", help="the key of --cert (PEM), when it is not in the same file")
    parser.add_argument("--tls-port", type=_port, default=5349, help="port for TLS and DTLS, 0 picks one (5349)")
    parser.add_argument(
        "--other-host",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a second IP address, for NAT behaviour discovery (RFC 5780); may be given once a family",
    )
    parser.add_argument(
        "--other-port", type=_port, metavar="PORT", help="the second port, which alone serves part of RFC 5780 (3479)"
    )
    parser.add_argument("--software", metavar="TEXT", help="name to tell clients (none)")
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON object")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return value


async def _query(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    try:
        uri = _server_uri(options.server, options.tcp, options.dtls)
    except StunUriError as error:
        parser.error(str(error))
    user, _, password = (options.user or "").partition(":")
    if options.user is not None and not (user and password):
        parser.error("--user needs NAME:PASSWORD")
    config = BindingClientConfig(transaction=TransactionConfig(stream_timeout=options.timeout))
    if options.dtls and not uri.scheme.is_secure:
        parser.error("--dtls needs a stuns: URI")
    try:
        link = replace(NAT_DISCOVERY, server_name=uri.host, ssl_context=_trust(options.ca))
        async with asyncio.timeout(options.timeout):
            servers = await locate(uri, UdpNetwork(), random.SystemRandom())
            wanted = [server for server in servers if options.family in (None, server.family)]
            if not wanted:
                return _complain(options, f"{uri.host} has no IPv{options.family} address")
            credentials = (lambda: LongTermClient(user, password)) if options.user else None
            mapped = await ask_any(
                wanted, protocol=uri.protocol, config=config, authenticator=credentials, options=link
            )
    except TimeoutError:
        return _complain(options, f"{options.server} did not answer within {options.timeout:g} s")
    except (StunError, OSError) as error:
        return _complain(options, str(error))
    print(json.dumps(_as_json(mapped)) if options.json else str(mapped.address))
    return 0


def _server_uri(text: str, tcp: bool, dtls: bool) -> ServerUri:
    if text.count(":") > 1 and "[" not in text and not text.lower().startswith("stun"):
        text = f"[{text}]"
    uri = ServerUri.parse(text if ":" in text and text.split(":")[0].lower() in ("stun", "stuns") else f"stun:{text}")
    # STUN URIs name no transport, but the SRV name to look up depends on it.
    if uri.scheme.is_secure:
        return replace(uri, transport="udp" if dtls else "tcp")
    return ServerUri(uri.scheme, uri.host, uri.port, "tcp" if tcp else None)


def _trust(ca: str | None) -> ssl.SSLContext | None:
    return None if ca is None else ssl.create_default_context(cafile=ca)


def _as_json(mapped: Mapped) -> dict[str, object]:
    return {
        "address": mapped.address.host,
        "port": mapped.address.port,
        "server": str(mapped.path.remote),
        "protocol": str(mapped.path.protocol),
        "round_trip_ms": round(mapped.round_trip * 1000, 3),
        "software": mapped.software,
    }


def _complain(options: argparse.Namespace, problem: str) -> int:
    print(json.dumps({"error": problem}) if options.json else f"stun: {problem}", file=sys.stderr)
    return 1


async def _serve(options: argparse.Namespace) -> int:
    hosts = options.host or ("127.0.0.1", "::1")
    secure = None
    if options.cert is not None:
        secure = SecureServing(certificate=options.cert, key=options.key, port=options.tls_port)
    behaviour = None
    if options.other_host or options.other_port is not None:
        port = 3479 if options.other_port is None else options.other_port
        behaviour = BehaviourServing(other_hosts=options.other_host, port=port, only_ports=not options.other_host)
    config = BindingServerConfig(software=options.software)
    try:
        server = await serve(hosts, options.port, config=config, secure=secure, behaviour=behaviour)
    except (OSError, ValueError) as error:
        return _complain(options, f"cannot serve: {error}")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        _announce(server, options.json)
        await stop.wait()
    return 0


def _announce(server: StunServer, as_json: bool) -> None:
    plain, secure = ([str(address) for address in addresses] for addresses in (server.udp, server.tls))
    if as_json:
        print(
            json.dumps({"udp": plain, "tcp": plain} | ({"tls": secure, "dtls": secure} if secure else {})), flush=True
        )
        return
    also = f"; on TLS and DTLS at {', '.join(secure)}" if secure else ""
    print(f"STUN on UDP and TCP at {', '.join(plain)}{also} (Ctrl-C stops)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
