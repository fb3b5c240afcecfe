"""What TLS and DTLS are told to check and to agree to."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from OpenSSL import SSL

from stun.aio.dtls_session import dtls_client_context, dtls_server_context
from stun.aio.tls import client_context, server_context
from stun.aio.trust import ascii_name, lists_no_authority
from tests.stun.certificates import Authority

OF_RFC_8489 = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"}


def test_every_cipher_suite_has_forward_secrecy(tmp_path: Path) -> None:
    """Section 6.2.3: these at least, TLS 1.3's, and nothing that a recorded session could be opened with later."""
    certificate = Authority.make(tmp_path / "authority").issue("turn.test")
    for tls in (client_context(), server_context(certificate)):
        offered = {cipher["name"]: cipher["kea"] for cipher in tls.get_ciphers()}
        assert set(offered) >= OF_RFC_8489 | {"TLS_AES_128_GCM_SHA256"}
        assert set(offered.values()) <= {"kx-ecdhe", "kx-dhe", "kx-any"}
        assert not any(weak in name for name in offered for weak in ("DES", "RC4", "NULL", "MD5"))
        assert tls.options & ssl.OP_NO_COMPRESSION
        assert tls.minimum_version is ssl.TLSVersion.TLSv1_2
    for dtls in (dtls_client_context(), dtls_server_context(certificate)):
        names = set(SSL.Connection(dtls, None).get_cipher_list())
        assert names >= OF_RFC_8489
        assert {name.split("-")[0] for name in names if not name.startswith("TLS_")} == {"ECDHE", "DHE"}
        assert all("GCM" in name or "CHACHA20" in name for name in names)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("turn.example.org", "turn.example.org"),
        ("turn.example.org.", "turn.example.org"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_names_in_ascii(name: str, found: str) -> None:
    assert ascii_name(name) == found


def test_who_lists_an_authority(tmp_path: Path) -> None:
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    authority = Authority.make(tmp_path / "authority").context
    assert [lists_no_authority(trust) for trust in (None, nobody, careless, authority)] == [False, True, False, False]
