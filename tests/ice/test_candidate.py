from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ice.candidate import Base, Candidate, CandidateType, NamedAddress, TcpType
from ice.errors import CandidateError, IceError
from ice.sources import AcceptedSources
from stun.address import FiveTuple, TransportAddress, TransportProtocol

CANDIDATES = (Path(__file__).parents[1] / "vectors" / "ice" / "candidates.txt").read_text().splitlines()
HOST = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"
SRFLX = "candidate:2 1 udp 1694498815 198.51.100.1 6000 typ srflx raddr 192.0.2.1 rport 5000"


@pytest.mark.parametrize("prefix", ["", "candidate:", "a=candidate:", "  a=candidate:"])
def test_prefixes_are_optional(prefix: str) -> None:
    candidate = Candidate.from_sdp(prefix + HOST.removeprefix("candidate:") + "\r\n")
    assert candidate == Candidate(
        foundation="1",
        component=1,
        transport="udp",
        priority=2130706431,
        address=TransportAddress("192.0.2.1", 5000),
        type=CandidateType.HOST,
    )


@pytest.mark.parametrize(
    "text",
    [
        HOST,
        SRFLX,
        "candidate:3 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
        "candidate:842163049 1 udp 1677729535 198.51.100.1 6000 typ srflx raddr 0.0.0.0 rport 0"
        " generation 0 ufrag abcd network-cost 999",
        "candidate:x 1 udp 2113937151 0f7e8e1c-5f3a-4f5e-9d1e-2f1e5d7c9a00.local 54000 typ host generation 0",
        "candidate:4 256 udp 1 203.0.113.9 1 typ relay raddr 198.51.100.1 rport 6000",
    ],
)
def test_text_survives_a_round_trip(text: str) -> None:
    assert Candidate.from_sdp(text).to_sdp() == text


@pytest.mark.parametrize("text", CANDIDATES)
def test_what_browsers_write_is_read(text: str) -> None:
    assert Candidate.from_sdp("a=" + text).to_sdp().lower() == text.lower()


def test_case_does_not_matter_where_the_grammar_says_so() -> None:
    candidate = Candidate.from_sdp("candidate:1 1 UDP 5 192.0.2.1 5000 TYP HOST")
    assert (candidate.transport, candidate.type) == ("udp", CandidateType.HOST)


def test_unknown_extensions_are_kept_in_order_and_tcptype_is_understood() -> None:
    candidate = Candidate.from_sdp(HOST + " generation 0 tcptype so ufrag EsAw foo bar odd")
    assert candidate.extensions == (("generation", "0"), ("ufrag", "EsAw"), ("foo", "bar"))
    assert candidate.tcp_type is TcpType.SIMULTANEOUS_OPEN
    assert candidate.ufrag == "EsAw"


def test_names_are_kept_as_text_and_addresses_made_canonical() -> None:
    named = Candidate.from_sdp("1 1 udp 1 Some-Name.LOCAL 5000 typ host")
    assert named.address == NamedAddress("some-name.local", 5000)
    assert not isinstance(named.address, TransportAddress)
    numbered = Candidate.from_sdp("1 1 udp 1 2001:DB8:0:0::1 5000 typ host")
    assert numbered.address == TransportAddress("2001:db8::1", 5000)


def test_a_broken_related_address_does_not_cost_the_candidate() -> None:
    assert Candidate.from_sdp(HOST + " raddr ?? rport 5").related_address is None
    assert Candidate.from_sdp(HOST + " raddr 192.0.2.1").related_address is None
    assert Candidate.from_sdp(HOST + " tcptype sideways").tcp_type is None


def test_a_zone_is_not_told() -> None:
    candidate = Candidate("1", 1, "udp", 5, TransportAddress("fe80::1%eth0", 7), CandidateType.HOST)
    assert "%" not in candidate.to_sdp()


def test_the_base_is_not_part_of_equality() -> None:
    plain = Candidate.from_sdp(HOST)
    based = Candidate("1", 1, "udp", 2130706431, plain.address, CandidateType.HOST, base=TransportAddress("::", 1))
    assert plain == based
    assert hash(plain) == hash(based)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        "hello",
        "candidate:1 1 udp 5 192.0.2.1 5000 host typ",
        "candidate:1 0 udp 5 192.0.2.1 5000 typ host",
        "candidate:1 257 udp 5 192.0.2.1 5000 typ host",
        "candidate:1 1 udp 0 192.0.2.1 5000 typ host",
        "candidate:1 1 udp -5 192.0.2.1 5000 typ host",
        "candidate:1 1 udp 4294967296 192.0.2.1 5000 typ host",
        "candidate:1 1 udp 5 192.0.2.1 65536 typ host",
        "candidate:1 1 udp 5 192.0.2.1 ٣ typ host",
        "candidate:1 1 udp 5 1<2 5000 typ host",
        "candidate:1 1 udp 5 192.0.2.1 5000 typ carrier-pigeon",
        "candidate:" + "f" * 33 + " 1 udp 5 192.0.2.1 5000 typ host",
        "candidate:1 1 udp 5 192.0.2.1 5000 typ host " + "x y " * 2000,
    ],
)
def test_what_is_not_a_candidate_raises_the_one_error(text: str) -> None:
    with pytest.raises(CandidateError):
        Candidate.from_sdp(text)


def test_the_error_is_what_applications_catch() -> None:
    assert issubclass(CandidateError, IceError)
    assert issubclass(CandidateError, ConnectionError)
    assert issubclass(CandidateError, ValueError)


def test_a_base_is_an_address_and_a_transport() -> None:
    here, there = TransportAddress("192.0.2.1", 1000), TransportAddress("198.51.100.1", 2000)
    udp, tcp = FiveTuple(here, there), FiveTuple(here, there, TransportProtocol.TCP)
    sources = AcceptedSources()
    sources.add_base(Base.of(udp))
    sources.add_base(Base.of(tcp))
    sources.accept(tcp)
    assert not sources.of(Base(here))
    assert sources.of(Base(here, TransportProtocol.TCP)) == {there}


def test_a_candidate_of_ours_knows_its_base() -> None:
    line = "candidate:1 1 tcp 5 192.0.2.1 9 typ host tcptype active"
    active = replace(Candidate.from_sdp(line), base=TransportAddress("192.0.2.1", 9))
    assert active.base_key == Base(TransportAddress("192.0.2.1", 9), TransportProtocol.TCP)
    assert Candidate.from_sdp(line).base_key is None


def test_candidates_of_one_generation_share_what_they_say_of_it() -> None:
    one, two = (
        Candidate.from_sdp(f"{number} 1 udp {number} 198.51.100.1 {number} typ host ufrag abcd x y")
        for number in (1, 2)
    )
    assert one.extensions == (("ufrag", "abcd"), ("x", "y"))
    assert one.extensions is two.extensions
    assert one.told("efgh").extensions == (*one.extensions, ("ufrag", "efgh"))
    assert one.told("efgh").extensions is two.told("efgh").extensions
