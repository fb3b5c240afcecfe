"""Fuzz targets of floors 0 and 1: one a parser, one a machine. An exception that leaves one of them is a fault."""

from __future__ import annotations

import random

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.auth import LongTermClient, ShortTermClient
from stun.auth_server import LongTermServer, LongTermServerConfig, Refused, ShortTermServer, StaticCredentials
from stun.binding import BindingClient
from stun.binding_server import BindingServer
from stun.config import BindingServerConfig
from stun.demux import classify, is_stun
from stun.errors import StunFramingError, StunParseError, StunUriError
from stun.framing import FrameDecoder, StunStreamDecoder
from stun.integrity import Integrity, opaque_string
from stun.machine import Machine, Transmit
from stun.message import Message, MessageClass, Method, parse, parse_classic
from stun.nonce import NonceFactory, SecurityFeature, features_of
from stun.uri import ServerUri
from turn.errors import TurnFramingError, TurnParseError
from turn.framing import TurnStreamDecoder, parse_channel_data

UDP = FiveTuple(TransportAddress("198.51.100.1", 3478), TransportAddress("192.0.2.1", 1000))
TCP = UDP._replace(protocol=TransportProtocol.TCP)
LIMIT = 4096


def fuzz_stun_message(data: bytes) -> None:
    """Any bytes are a message or a StunParseError; a message is written and read again the same."""
    for read in (parse, parse_classic):
        try:
            message = read(data)
        except StunParseError:
            continue
        for integrity in (None, *Integrity):
            message.verify_integrity(b"key", integrity, 16)
        message.unknown_required()
        try:
            again = message.serialize(b"key", fingerprint=True, integrity=Integrity.BOTH)
        except ValueError:
            continue  # what may be received but not be sent, such as a USERNAME of 600 bytes
        assert read(again) == message
        assert read(again).verify_integrity(b"key", Integrity.BOTH)


def fuzz_stun_demux(data: bytes) -> None:
    """The first byte always has a kind."""
    is_stun(data)
    for byte in data[:1]:
        classify(byte)


def fuzz_stun_stream(data: bytes) -> None:
    """Streams are cut alike however they arrive, and never buffer more than the limit."""
    for decoder in (StunStreamDecoder, FrameDecoder):
        whole, pieces = decoder(LIMIT), decoder(LIMIT)
        try:
            expected = whole.receive(data)
        except StunFramingError:
            expected = None
        found: list[bytes] = []
        try:
            for start in range(0, len(data), 7):
                found += pieces.receive(data[start : start + 7])
        except StunFramingError:
            assert expected is None
        else:
            assert found == expected
        assert expected is None or whole.pending <= LIMIT + 2


def fuzz_turn_channel_data(data: bytes) -> None:
    """Any bytes are ChannelData or a TurnParseError."""
    try:
        channel, payload = parse_channel_data(data)
    except TurnParseError:
        return
    assert 0x4000 <= channel <= 0x4FFF
    assert payload == data[4 : 4 + len(payload)]


def fuzz_turn_stream(data: bytes) -> None:
    """A stream of STUN and ChannelData is cut or refused, and never buffers more than the limit."""
    decoder = TurnStreamDecoder(LIMIT)
    try:
        messages = decoder.receive(data)
    except TurnFramingError:
        return
    assert b"".join(messages) == data[: len(data) - decoder.pending]
    assert decoder.pending <= LIMIT


def fuzz_stun_uri(data: bytes) -> None:
    """Any text is a server or a StunUriError, and what is a server is written and read again the same."""
    try:
        uri = ServerUri.parse(data.decode("utf-8", "replace"))
    except StunUriError:
        return
    assert ServerUri.parse(str(uri)) == uri


def fuzz_stun_strings(data: bytes) -> None:
    """OpaqueString takes or refuses any text, and what it took it takes again unchanged."""
    try:
        prepared = opaque_string(data.decode("utf-8", "surrogatepass"))
    except ValueError:
        return
    assert opaque_string(prepared) == prepared


def fuzz_stun_nonce(data: bytes) -> None:
    """No bytes upset the nonce factory, and none that it did not make are fresh."""
    features_of(data)
    factory = NonceFactory(b"secret of the fuzzer", SecurityFeature.PASSWORD_ALGORITHMS, 60.0)
    assert not factory.is_fresh(data, UDP.remote, 1.0)


def fuzz_stun_binding_server(data: bytes) -> None:
    """The server answers or drops; a response over UDP is never much longer than its request."""
    config = BindingServerConfig(software="fuzzed")
    server = BindingServer(config)
    server.receive_datagram(data, UDP, 1.0)
    for effect in drained(server):
        assert len(effect) <= max(config.free_response, config.max_amplification * len(data))
    server.path_opened(TCP, 1.0)
    server.receive_data(data, TCP, 1.0)
    server.receive_data(data[::-1], TCP, 1.0)
    server.handle_timeout(1000.0)
    drained(server)
    assert server.open_connections == 0


def fuzz_stun_binding_client(data: bytes) -> None:
    """The client takes anything, also as the response to its own request."""
    for authenticator in (None, ShortTermClient("user", "password"), LongTermClient("user", "password")):
        client = BindingClient(random.Random(1), authenticator=authenticator)
        client.path_opened(TCP, 1.0)
        for path in (UDP, TCP):
            client.request(path, 1.0)
        (request, *_) = drained(client)
        client.receive_datagram(data, UDP, 1.0)
        client.receive_datagram(data[:8] + request[8:20] + data[20:], UDP, 1.0)
        client.receive_data(data, TCP, 1.0)
        client.path_closed(TCP, 1.0)
        client.handle_timeout(100.0)
        drained(client)


def fuzz_stun_challenge(data: bytes) -> None:
    """Whatever attributes a 401 or a 438 has, a client neither raises nor sends what cannot be read or is huge."""
    client = BindingClient(random.Random(1), authenticator=LongTermClient("user", "password"))
    client.request(UDP, 1.0)
    body = data[1:] + bytes(-len(data[1:]) % 4)
    code = b"\0\x09\0\4\0\0\4" + (b"\1" if not data or data[0] & 1 else b"\x26")
    for _ in range(10):
        requests = drained(client)
        if not requests:
            return
        (request,) = requests
        assert parse(request).message_class is MessageClass.REQUEST
        assert len(request) <= 2200
        length = (len(code + body) & 0xFFFF).to_bytes(2, "big")
        client.receive_datagram(b"\1\x11" + length + request[4:20] + code + body, UDP, 1.0)
    assert not drained(client)


def fuzz_stun_authentication(data: bytes) -> None:
    """Servers judge any message."""
    try:
        message = parse(data)
    except StunParseError:
        return
    config = LongTermServerConfig(realm="realm")
    server = LongTermServer(config, StaticCredentials("realm", {"user": "password"}), random.Random(1))
    verdicts = [server.check(message, UDP.remote, 1.0), ShortTermServer(lambda name: b"key").check(message)]
    for verdict in verdicts:
        if isinstance(verdict, Refused):
            if verdict.response is not None:
                parse(verdict.response.serialize())
        else:
            reply = Message(Method.BINDING, MessageClass.SUCCESS, message.transaction_id)
            assert parse(verdict.sign(reply)).verify_integrity(verdict.key)


def drained(machine: Machine[object, object]) -> list[bytes]:
    """Take everything out of a machine and return what it wanted to send."""
    sent = []
    while (effect := machine.next_effect()) is not None:
        if isinstance(effect, Transmit):
            sent.append(effect.data)
    while machine.next_event() is not None:
        pass
    machine.next_timeout()
    return sent
