"""DTLS for data: no SRTP is demanded, the role is what the descriptions say, and the names it stands on are there."""

from __future__ import annotations

import asyncio
import inspect

from aiortc import RTCCertificate, RTCDtlsTransport

from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.peers import connected_pair
from tests.webrtc_bridge.pipe import pipe
from webrtc_bridge.dtls import DtlsTransport, fingerprint_of
from webrtc_bridge.ice_transport import IceTransport
from webrtc_bridge.sdp import Setup


def test_the_fingerprint_is_the_sha_256_of_the_certificate() -> None:
    found = fingerprint_of(RTCCertificate.generateCertificate())
    assert found.algorithm == "sha-256"
    assert len(found.value.split(":")) == 32


@virtual_time
async def test_it_is_as_aiortc_without_srtp() -> None:
    async with connected_pair() as pair:
        assert pair.offerer._dtls.state == pair.answerer._dtls.state == "connected"
        assert pair.offerer._dtls._rx_srtp is None
        pair.below_answerer.deliver(b"\x80" + bytes(40))  # what looks like SRTP is dropped
        await asyncio.sleep(1)
        assert pair.answerer._dtls.state == "connected"


@virtual_time
async def test_the_role_follows_the_descriptions() -> None:
    one, _ = pipe()
    dtls = DtlsTransport(IceTransport(one), RTCCertificate.generateCertificate())  # type: ignore[arg-type]
    assert dtls.transport.role == "controlling"
    dtls.choose_role(Setup.ACTIVE)
    assert dtls._role == "client"
    dtls.choose_role(Setup.PASSIVE)
    assert dtls._role == "server"
    await dtls.shut_down()
    await dtls.shut_down()


def test_the_private_names_of_aiortc_are_there() -> None:
    assert not inspect.iscoroutinefunction(RTCDtlsTransport._setup_srtp)
    assert list(inspect.signature(RTCDtlsTransport._setup_srtp).parameters) == ["self"]
    assert list(inspect.signature(RTCDtlsTransport._validate_peer_identity).parameters) == ["self", "remoteParameters"]
    assert list(inspect.signature(RTCDtlsTransport._set_role).parameters) == ["self", "role"]
    used = inspect.getsource(RTCDtlsTransport)
    assert "self._task = asyncio.ensure_future(self.__run())" in used
    assert "self.transport._recv()" in used
    assert "self.transport._send(data)" in used
