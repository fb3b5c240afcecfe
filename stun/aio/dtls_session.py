"""One DTLS session over datagrams: OpenSSL between two memory buffers, and the contexts that sessions are made of.

A session does no I/O: datagrams go in, datagrams come out of :meth:`DtlsSession.take`. Its owner runs the
retransmission timer of :meth:`DtlsSession.timeout`, which OpenSSL measures by the system's clock.
"""

from __future__ import annotations

import enum
import ssl
from collections.abc import Sequence

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from stun.address import is_ip_literal
from stun.aio.tls import WRONG_NAME, certificate_problem
from stun.aio.trust import trust_authorities

__all__ = ["DtlsSession", "Phase", "dtls_client_context", "dtls_server_context"]

_DTLS_1_2 = 0xFEFD
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""Forward secrecy and authenticated encryption only (RFC 8489 section 6.2.3)."""
_RECORD_LENGTH = 13
_READ = 65536


class Phase(enum.Enum):
    """How far a session is."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


def _context(method: int, alpn: Sequence[str]) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_max_proto_version(_DTLS_1_2)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    offered = [name.encode() for name in alpn]
    if not offered:
        return context
    if method == SSL.DTLS_CLIENT_METHOD:
        context.set_alpn_protos(offered)
    else:

        def choose(connection: SSL.Connection, theirs: list[bytes]) -> bytes:
            # A client that offers nothing we know is served all the same.
            return next((name for name in offered if name in theirs), SSL.NO_OVERLAPPING_PROTOCOLS)  # type: ignore

        context.set_alpn_select_callback(choose)
    return context


def dtls_client_context(trust: ssl.SSLContext | None = None, alpn: Sequence[str] = ()) -> SSL.Context:
    """Return a context that trusts the CA certificates of ``trust``, or what the system trusts; reads files."""
    context = _context(SSL.DTLS_CLIENT_METHOD, alpn)
    if trust is None or trust.verify_mode is not ssl.CERT_NONE:
        trust_authorities(context, trust)
    return context


def dtls_server_context(certificate: str, key: str | None = None, alpn: Sequence[str] = ()) -> SSL.Context:
    """Return a context for a listener; the arguments are those of :func:`stun.aio.tls.server_context`; reads files.

    Raises:
        OSError: a file cannot be read, or the two do not fit together.
    """
    context = _context(SSL.DTLS_SERVER_METHOD, alpn)
    try:
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key or certificate)
        context.check_privatekey()
    except SSL.Error as error:
        raise OSError(f"cannot use the certificate {certificate} and its key: {reason(error)}") from error
    # The ClientHello comes with a cookie that we checked ourselves; OpenSSL wants to be asked all the same.
    context.set_cookie_generate_callback(lambda connection: b"cookie")
    context.set_cookie_verify_callback(lambda connection, cookie: True)
    return context


def reason(error: SSL.Error) -> str:
    """Return what OpenSSL says of an error, for people."""
    details = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(detail[-1]) for detail in details) or str(error) or type(error).__name__


class DtlsSession:
    """One session, client or server."""

    def __init__(self, context: SSL.Context, mtu: int) -> None:
        """Args:
        context: of :func:`dtls_client_context` or :func:`dtls_server_context`.
        mtu: bytes of the largest datagram of a handshake.
        """
        self.phase = Phase.HANDSHAKE
        self.problem = ""
        """Why the session failed, for people."""
        self.certificate_problem = False
        """Whether the peer's certificate is why."""
        self._connection = SSL.Connection(context, None)
        self._connection.set_ciphertext_mtu(mtu)
        self._mtu = mtu
        self._name: str | None = None
        self._verify_result: tuple[int, str] | None = None

    # -- starting --

    def connect(self, server_name: str, verify: bool = True, check_name: bool = True) -> None:
        """Begin the handshake of a client.

        Args:
            server_name: a name in ASCII (:func:`stun.aio.trust.ascii_name`) or an IP literal, for which the certificate
            has to be.
            verify: whether the certificate has to be of a trusted issuer.
            check_name: whether it has to be for ``server_name``.
        """
        if verify:
            self._connection.set_verify(SSL.VERIFY_PEER, self._verified)
        self._name = server_name if verify and check_name else None
        if not is_ip_literal(server_name):
            self._connection.set_tlsext_host_name(server_name.encode("ascii"))
        self._connection.set_connect_state()
        self._advance()

    def accept(self, hello: bytes) -> None:
        """Begin the handshake of a server with a ClientHello whose cookie was checked."""
        self._connection.set_accept_state()
        try:
            self._connection.bio_write(hello)
            self._connection.DTLSv1_listen()
        except SSL.Error as error:
            self._fail(reason(error))
        else:
            self._advance()

    # -- running --

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take one datagram and return the application data in it. What is no record of this session is ignored."""
        if self.phase in (Phase.CLOSED, Phase.FAILED) or not datagram:
            return []
        self._connection.bio_write(datagram)
        if self.phase is Phase.HANDSHAKE:
            self._advance()
        found: list[bytes] = []
        while self.phase is Phase.OPEN:
            try:
                found.append(self._connection.recv(_READ))
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                self.phase = Phase.CLOSED
            except SSL.Error as error:
                self._fail(reason(error))
        return found

    def send(self, data: bytes) -> bool:
        """Encrypt one datagram; False when the session is not open or OpenSSL does not take it (too long)."""
        if self.phase is not Phase.OPEN:
            return False
        try:
            self._connection.send(data)
        except SSL.Error:
            return False
        return True

    def close(self) -> None:
        """Tell the peer that the session is over; harmless in every phase."""
        if self.phase is Phase.OPEN:
            try:
                self._connection.shutdown()
            except SSL.Error:
                pass  # It cannot be told, then.
        if self.phase is not Phase.FAILED:
            self.phase = Phase.CLOSED

    def take(self) -> list[bytes]:
        """Return the datagrams that are to be sent now."""
        records = bytearray()
        while True:
            try:
                records += self._connection.bio_read(_READ)
            except SSL.WantReadError:
                break
            except SSL.Error:
                break
        return _datagrams(bytes(records), self._mtu) if records else []

    def timeout(self) -> float | None:
        """Return in how many seconds :meth:`handle_timeout` is wanted, or None."""
        return self._connection.DTLSv1_get_timeout() if self.phase is Phase.HANDSHAKE else None

    def handle_timeout(self) -> None:
        """Send a lost flight of the handshake again, if that is due."""
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._fail(reason(error))

    @property
    def alpn(self) -> str | None:
        """What ALPN agreed on, or None."""
        return self._connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None

    # -- inside --

    def _advance(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            self._fail(reason(error))
            return
        self.phase = Phase.OPEN
        self._check_name()

    def _verified(self, connection: SSL.Connection, certificate: object, code: int, depth: int, ok: int) -> bool:
        if not ok and self._verify_result is None:
            self._verify_result = (code, "")
        return bool(ok)

    def _check_name(self) -> None:
        name = self._name
        if name is None:
            return
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        try:
            if certificate is None:
                raise CertificateError("no certificate")
            if is_ip_literal(name):
                verify_certificate_ip_address(certificate, name)
            else:
                verify_certificate_hostname(certificate, name)
        except (CertificateError, VerificationError, ValueError):
            self.close()
            self._verify_result = (WRONG_NAME, "")
            self._fail("")

    def _fail(self, problem: str) -> None:
        self.phase = Phase.FAILED
        self.problem = problem
        if self._verify_result is not None:
            self.certificate_problem = True
            code, message = self._verify_result
            self.problem = certificate_problem(
                code, message or f"OpenSSL's verification error {code}", self._name or ""
            )


def _datagrams(records: bytes, mtu: int) -> list[bytes]:
    """Pack records, none of them cut, into datagrams of at most ``mtu`` bytes (one record may be longer)."""
    found: list[bytes] = []
    start = position = 0
    while position < len(records):
        end = position + _RECORD_LENGTH + int.from_bytes(records[position + 11 : position + 13], "big")
        if end - start > mtu and position > start:
            found.append(records[start:position])
            start = position
        position = end
    found.append(records[start:])
    return found
