"""What a client's TLS and DTLS are told to check: the name of the server, and whose word counts for it."""

from __future__ import annotations

import contextlib
import re
import ssl
from typing import TYPE_CHECKING

from stun.address import is_ip_literal

if TYPE_CHECKING:
    from OpenSSL import SSL

__all__ = ["ascii_name", "lists_no_authority", "trust_authorities"]

_LABELS = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}", re.IGNORECASE)
_LONGEST = 253


def ascii_name(name: str) -> str:
    """Return a server's name as SNI and certificates have it, in ASCII (IDNA); IP literals stay as they are.

    Raises:
        ValueError: it is not a host name; says what it is.
    """
    if is_ip_literal(name):
        return name
    try:
        found = name.encode("idna").decode("ascii")
    except UnicodeError as error:  # An empty label, one of more than 63 bytes, a character that IDNA forbids.
        raise ValueError(f"{name!r} is not a host name") from error
    found = found.removesuffix(".")  # Which SNI and certificates do without (RFC 6066 section 3).
    if len(found) > _LONGEST or not _LABELS.fullmatch(found):
        raise ValueError(f"{name!r} is not a host name")
    return found


def lists_no_authority(trust: ssl.SSLContext | None) -> bool:
    """Whether DTLS would refuse every server, because a caller's context names nobody to trust.

    That is so of a context that has only a folder of certificates (``capath``): the ssl module reads it when it needs
    a certificate, and never says what is in it.
    """
    return trust is not None and trust.verify_mode is not ssl.CERT_NONE and not trust.cert_store_stats()["x509_ca"]


def trust_authorities(context: SSL.Context, trust: ssl.SSLContext | None) -> None:
    """Let ``context`` trust the CA certificates of ``trust``, or what the system trusts; reads files."""
    from OpenSSL import SSL, crypto  # Of DTLS alone, while what stands above is of TLS, too.

    if trust is None:
        # Its OpenSSL is not Python's and may look elsewhere. Python knows the files, and on Windows the system's store.
        context.set_default_verify_paths()
        paths = ssl.get_default_verify_paths()
        for file, folder in ((paths.cafile, None), (None, paths.capath)):
            if file or folder:
                with contextlib.suppress(SSL.Error):  # The ssl module passes over what it cannot read, too.
                    context.load_verify_locations(file, folder)
        trust = ssl.create_default_context()
    store = context.get_cert_store()
    if store is None:
        raise AssertionError("every context has a store")
    for der in trust.get_ca_certs(binary_form=True):
        # OpenSSL reads them: cryptography's own parser refuses some that systems do trust.
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
