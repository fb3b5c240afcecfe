"""A client's link over DTLS on UDP (RFC 7350), and what moves the records of a session."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.dtls_session import DtlsSession, Phase, dtls_client_context
from stun.config import DtlsConfig
from stun.errors import StunCertificateError, StunHandshakeError, StunLinkError

__all__ = ["DtlsClient", "RecordPump"]

_NOWHERE = FiveTuple(TransportAddress("0.0.0.0", 0), TransportAddress("0.0.0.0", 0), TransportProtocol.DTLS)


class _Carrier(Protocol):
    """What carries the records: a UDP link."""

    @property
    def path(self) -> FiveTuple: ...

    def send(self, data: bytes) -> bool: ...

    def close(self) -> None: ...


class RecordPump:
    """Moves the records of one session, and runs its retransmission timer."""

    def __init__(self, session: DtlsSession, send: Callable[[bytes], bool]) -> None:
        self.session = session
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def flush(self) -> bool:
        """Send what the session has to send, and re-arm the timer; False when a datagram was not taken."""
        taken = True
        for datagram in self.session.take():
            taken = self._send(datagram) and taken
        if self._timer is not None or self.session.phase is Phase.HANDSHAKE:
            self._arm()
        return taken

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.stop()
        delay = self.session.timeout()
        if delay is not None:
            self._timer = self._loop.call_later(delay, self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        self.session.handle_timeout()
        self.flush()


class DtlsClient:
    """A DTLS session with a server (:class:`stun.aio.link.ServerLink`); :func:`stun.aio.link.open_link` opens one."""

    is_stream = False

    def __init__(
        self,
        server_name: str,
        trust: ssl.SSLContext | None,
        alpn: Sequence[str],
        receiver: Callable[[bytes], None],
        closed: Callable[[Exception | None], None],
        config: DtlsConfig,
    ) -> None:
        """Args: as of :class:`stun.aio.link.LinkOptions`; ``attach`` and ``handshake`` come next."""
        self.path = _NOWHERE
        """Both ends, once attached."""
        self._name = server_name
        self._trust = trust
        self._alpn = alpn
        self._receiver = receiver
        self._closed: Callable[[Exception | None], None] | None = closed
        self._config = config
        self._carrier: _Carrier | None = None
        self._pump: RecordPump | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def attach(self, carrier: _Carrier) -> None:
        """Take the UDP link that carries the records; it delivers to :meth:`receive_datagram`."""
        self._carrier = carrier
        self.path = carrier.path._replace(protocol=TransportProtocol.DTLS)

    async def handshake(self, server: str) -> None:
        """Do the handshake with what errors call ``server``.

        Raises:
            StunCertificateError: the certificate is not trusted.
            StunHandshakeError: the handshake failed otherwise.
            StunLinkError: the server does not answer in time.
        """
        carrier = self._carrier
        if carrier is None:
            raise ValueError("not attached")
        try:
            context = await asyncio.to_thread(dtls_client_context, self._trust, self._alpn)
            session = DtlsSession(context, self._config.mtu)
            self._pump = RecordPump(session, carrier.send)
            verify = self._trust is None or self._trust.verify_mode is not ssl.CERT_NONE
            session.connect(self._name, verify, self._trust is None or self._trust.check_hostname)
            self._pump.flush()
            async with asyncio.timeout(self._config.handshake_timeout):
                await self._done
        except TimeoutError as error:
            self.close()
            problem = f"no DTLS handshake within {self._config.handshake_timeout:g} s"
            raise StunLinkError(server, problem) from error
        except BaseException:
            self.close()
            raise
        if session.phase is not Phase.OPEN:
            self.close()
            if session.certificate_problem:
                raise StunCertificateError(server, session.problem)
            raise StunHandshakeError(server, f"the DTLS handshake failed: {session.problem or 'closed'}")

    @property
    def alpn(self) -> str | None:
        """What ALPN agreed on, or None."""
        return self._pump.session.alpn if self._pump is not None else None

    def receive_datagram(self, data: bytes) -> None:
        """Take what arrived on the UDP link."""
        pump = self._pump
        if pump is None or self._closed is None:
            return
        found = pump.session.receive(data)
        pump.flush()
        if pump.session.phase is not Phase.HANDSHAKE and not self._done.done():
            self._done.set_result(None)
            if pump.session.phase is not Phase.OPEN:
                return  # :meth:`handshake` tells it.
        for message in found:
            self._receiver(message)
        if pump.session.phase in (Phase.CLOSED, Phase.FAILED) and self._closed is not None:
            closed = self._closed
            self.close()
            closed(ConnectionError(pump.session.problem) if pump.session.phase is Phase.FAILED else None)

    def send(self, data: bytes) -> bool:
        """As of :class:`stun.aio.link.ServerLink`; a datagram longer than a record is dropped."""
        pump = self._pump
        if pump is None or len(data) > self._config.max_datagram or not pump.session.send(data):
            return False
        return pump.flush()

    def close(self) -> None:
        """As of :class:`stun.aio.link.ServerLink`."""
        self._closed = None
        if self._pump is not None:
            self._pump.session.close()
            self._pump.flush()
            self._pump.stop()
        if self._carrier is not None:
            self._carrier.close()
