"""aiortc's DTLS for a peer that has only data (quarantine: the private names of ``RTCDtlsTransport``)."""

from __future__ import annotations

from aiortc import RTCCertificate, RTCDtlsTransport
from aiortc.rtcdtlstransport import RTCDtlsParameters

from webrtc_bridge.ending import end_tasks
from webrtc_bridge.ice_transport import IceTransport
from webrtc_bridge.sdp import DIGEST_BYTES, Fingerprint, Setup

__all__ = ["DtlsTransport", "fingerprint_of"]


class DtlsTransport(RTCDtlsTransport):
    """DTLS for data channels: SRTP is neither needed nor demanded.

    aiortc fails a handshake that agrees on no SRTP profile. libdatachannel (js-libp2p on Node) offers none when a
    description has no media, which is RFC 8827's right: ``use_srtp`` is for media.
    """

    def __init__(self, transport: IceTransport, certificate: RTCCertificate) -> None:
        super().__init__(transport, [certificate])  # type: ignore[arg-type]  # four names of it are all that is used
        self.failure = "the handshake failed"
        """Why :meth:`start` ended in the state ``"failed"``."""

    def _setup_srtp(self) -> None:
        """Export no SRTP keys: whatever looks like SRTP is then dropped."""

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        super()._validate_peer_identity(remoteParameters)
        if self.state == "failed":
            self.failure = "the peer's certificate does not match the fingerprint in its description"

    def choose_role(self, local: Setup) -> None:
        """Take the DTLS role that the descriptions agreed on (RFC 8842 section 5.2), whatever the ICE role is."""
        self._set_role("client" if local is Setup.ACTIVE else "server")

    async def shut_down(self) -> None:
        """Say goodbye to the peer (close_notify) and end the reading task; harmless in any state, and twice."""
        task = self._task
        await self.stop()
        await end_tasks(task)  # aiortc has logged what it did not expect


def fingerprint_of(certificate: RTCCertificate) -> Fingerprint:
    """Return the SHA-256 fingerprint of ``certificate`` (RFC 8122 section 5)."""
    found = next(item for item in certificate.getFingerprints() if item.algorithm == next(iter(DIGEST_BYTES)))
    return Fingerprint(found.algorithm, found.value)
