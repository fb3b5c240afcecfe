"""The tests of RFC 5780 section 4, each a script: a generator that asks for steps and gets what came of them.

A script does no I/O and knows no clock. :class:`~stun.behaviour_client.BehaviourClient` carries its steps out, and may
run several scripts at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from stun.address import TransportAddress
from stun.behaviour import (
    Filtering,
    Hairpin,
    Lifetime,
    NatTest,
    Sample,
    allocation_pattern,
    classify_mapping,
)
from stun.config import BehaviourClientConfig
from stun.values import ChangeRequest, ErrorCode

__all__ = ["Answer", "Ask", "ClosePort", "Findings", "OpenPort", "Script", "Together", "Wait", "examine"]


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Step: open a fresh local port; its address comes back, or None when there is none."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Step: do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Step: send a Binding request and wait; an :class:`Answer` comes back, or None when nothing did."""

    local: TransportAddress
    to: TransportAddress
    change: ChangeRequest | None = None
    response_port: int | None = None
    padding: int = 0


@dataclass(frozen=True, slots=True)
class ClosePort:
    """Step: give ``local`` up; nothing comes back."""

    local: TransportAddress


@dataclass(frozen=True, slots=True)
class Together:
    """Step: run several scripts at a time and wait for all."""

    scripts: tuple[Script, ...]


Step = OpenPort | Wait | Ask | ClosePort | Together
Script = Generator[Step, Any, None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request."""

    arrived_at: TransportAddress
    """Our address that it came to."""
    came_from: TransportAddress
    mapped: TransportAddress | None = None
    """XOR-MAPPED-ADDRESS."""
    plain_mapped: TransportAddress | None = None
    """MAPPED-ADDRESS."""
    other: TransportAddress | None = None
    """OTHER-ADDRESS."""
    padding: int = 0
    """Bytes of PADDING."""
    error: ErrorCode | None = None
    looped: bool = False
    """Whether it is our own request, which was turned round."""


@dataclass(slots=True)
class Findings:
    """What the scripts write into; the fields are those of :class:`~stun.behaviour.NatReport`."""

    server: TransportAddress
    second: TransportAddress | None = None
    """A server with another address that is asked when the first one has no OTHER-ADDRESS."""
    found: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    untold: list[tuple[NatTest, str]] = field(default_factory=list)

    def cannot_tell(self, test: NatTest, why: str) -> None:
        """Note that ``test`` has no result."""
        self.untold.append((test, why))


_LITTLE_PADDING = 32
NO_PORT = "no local port could be opened"
NO_ANSWER = "the server does not answer"
NO_SECOND_ADDRESS = "the server has no second address, and no second server was given"


def examine(findings: Findings, tests: frozenset[NatTest], config: BehaviourClientConfig) -> Script:
    """Run ``tests``: what makes mappings first and alone, then together what only waits."""
    local = yield OpenPort()
    if local is None:
        _skip(findings, tests, NO_PORT)
        return
    first = yield Ask(local, findings.server)
    if first is None or first.mapped is None:
        _skip(findings, tests, _no_mapping(first))
        return
    findings.found["mapped"] = first.mapped
    if first.plain_mapped is not None:
        findings.found["rewrites_payload"] = first.plain_mapped != first.mapped
    findings.samples.append(Sample(local, findings.server, first.mapped))
    other: TransportAddress | None = first.other
    has_other = other is not None and other.host != findings.server.host
    if not has_other and findings.second is not None:
        findings.found["other_address"] = findings.second
    else:
        findings.found["other_address"] = other
    if NatTest.MAPPING in tests:
        yield from _mapping(findings, local, first.mapped, other)
    if NatTest.ALLOCATION in tests:
        yield from _allocation(findings, config)
    together: list[Script] = []
    if NatTest.FILTERING in tests:
        together.append(_filtering(findings, other))
    if NatTest.HAIRPIN in tests:
        together.append(_hairpin(findings))
    if NatTest.FRAGMENTS in tests:
        together.append(_fragments(findings, config.padding))
    yield Together(tuple(together))
    if NatTest.LIFETIME in tests:
        yield from _lifetime(findings, config)


def _no_mapping(answer: Answer | None) -> str:
    if answer is None:
        return NO_ANSWER
    return "the server's answer has no address" if answer.error is None else f"the server answers {answer.error}"


def _skip(findings: Findings, tests: frozenset[NatTest], why: str) -> None:
    for test in NatTest:
        if test in tests:
            findings.cannot_tell(test, why)


# -- mapping (section 4.3) --


def _mapping(
    findings: Findings, local: TransportAddress, mapped: TransportAddress, other: TransportAddress | None
) -> Script:
    # Test II goes to the other address and the primary port; a second server stands in with what it has.
    server, second = findings.server, findings.second
    hosts_differ = other is not None and other.host != server.host
    there = TransportAddress(other.host, server.port) if other is not None and hosts_differ else second
    if there is None:
        yield from _mapping_of_ports(findings, local, mapped, other)
        return
    answer = yield Ask(local, there)
    if answer is None or answer.mapped is None:
        findings.cannot_tell(NatTest.MAPPING, f"{there} does not answer")
        return
    findings.samples.append(Sample(local, there, answer.mapped))
    last: TransportAddress | None = other if hosts_differ else answer.other
    third = None
    if answer.mapped != mapped and last is not None:
        both = TransportAddress(there.host, last.port)
        if both != there and (deeper := (yield Ask(local, both))) is not None and deeper.mapped is not None:
            third = deeper.mapped
            findings.samples.append(Sample(local, both, third))
    findings.found["mapping"] = classify_mapping(mapped, answer.mapped, third)


def _mapping_of_ports(
    findings: Findings, local: TransportAddress, mapped: TransportAddress, other: TransportAddress | None
) -> Script:
    """One address with two ports shows whether the mapping depends on the port, and nothing else."""
    answer = None if other is None else (yield Ask(local, other))
    if answer is None or answer.mapped is None:
        findings.cannot_tell(NatTest.MAPPING, NO_SECOND_ADDRESS)
        return
    findings.samples.append(Sample(local, answer.came_from, answer.mapped))
    if answer.mapped != mapped:
        findings.found["mapping"] = classify_mapping(mapped, answer.mapped, mapped)
    else:
        findings.cannot_tell(NatTest.MAPPING, f"{NO_SECOND_ADDRESS}; it does not depend on the port")


# -- allocation --


def _allocation(findings: Findings, config: BehaviourClientConfig) -> Script:
    other = findings.found.get("other_address")
    destinations = [findings.server]
    if other is not None:
        same_server = other.host != findings.server.host and other != findings.second
        destinations.append(TransportAddress(other.host, findings.server.port) if same_server else other)
    fresh: list[Sample] = []
    for _ in range(config.ports):
        local = yield OpenPort()
        if local is None:
            break
        for number, destination in enumerate(destinations):
            answer = yield Ask(local, destination)
            if answer is not None and answer.mapped is not None:
                sample = Sample(local, destination, answer.mapped)
                findings.samples.append(sample)
                if number == 0:
                    fresh.append(sample)
        yield ClosePort(local)
    if not fresh:
        findings.cannot_tell(NatTest.ALLOCATION, NO_ANSWER)
        return
    findings.found["preserves_port"] = all(sample.mapped.port == sample.local.port for sample in fresh)
    allocation, delta = allocation_pattern(findings.samples)
    findings.found["allocation"] = allocation
    findings.found["delta"] = delta
    if allocation is None:
        findings.cannot_tell(NatTest.ALLOCATION, "too few mappings were seen")


# -- filtering (section 4.4) --


def _filtering(findings: Findings, other: TransportAddress | None) -> Script:
    if other is None:
        findings.cannot_tell(NatTest.FILTERING, "the server has no second address to answer from (no OTHER-ADDRESS)")
        return
    results: dict[ChangeRequest, Answer | None] = {}
    only_port = other.host == findings.server.host
    changes = [ChangeRequest(port=True)] if only_port else [ChangeRequest(True, True), ChangeRequest(port=True)]
    yield Together(tuple(_answer_from_elsewhere(findings, change, results) for change in changes))
    if len(results) < len(changes):
        findings.cannot_tell(NatTest.FILTERING, NO_ANSWER)
        return
    if refusal := next((answer.error for answer in results.values() if answer is not None and answer.error), None):
        findings.cannot_tell(NatTest.FILTERING, f"the server answers {refusal}")
        return
    for change, answer in results.items():
        # One from where the request went passes every filter: the server has not done what it was asked.
        wanted = other if change.address else TransportAddress(findings.server.host, other.port)
        if answer is not None and answer.came_from != wanted:
            why = f"asked to answer from {wanted}, the server answers from {answer.came_from}"
            findings.cannot_tell(NatTest.FILTERING, why)
            return
    if not only_port and results[ChangeRequest(True, True)] is not None:
        findings.found["filtering"] = Filtering.ENDPOINT_INDEPENDENT
    elif results[ChangeRequest(port=True)] is None:
        findings.found["filtering"] = Filtering.ADDRESS_AND_PORT_DEPENDENT
    else:
        findings.found["filtering"] = Filtering.NOT_PORT_DEPENDENT if only_port else Filtering.ADDRESS_DEPENDENT


def _answer_from_elsewhere(
    findings: Findings, change: ChangeRequest, results: dict[ChangeRequest, Answer | None]
) -> Script:
    # A fresh port: one that has sent to the server's other address lets its answers in (section 4.5).
    local = yield OpenPort()
    if local is None or (yield Ask(local, findings.server)) is None:
        return
    results[change] = yield Ask(local, findings.server, change=change)
    yield ClosePort(local)


# -- hairpin (section 3.4), fragments (3.5) --


def _hairpin(findings: Findings) -> Script:
    local = yield OpenPort()
    first = None if local is None else (yield Ask(local, findings.server))
    if first is None or first.mapped is None:
        findings.cannot_tell(NatTest.HAIRPIN, NO_ANSWER)
        return
    if first.mapped == local:
        findings.cannot_tell(NatTest.HAIRPIN, "there is no NAT to turn packets round")
        return
    answer = yield Ask(local, first.mapped)
    if answer is None or not answer.looped:
        findings.found["hairpin"] = Hairpin.NONE
    elif answer.came_from.host == first.mapped.host:
        findings.found["hairpin"] = Hairpin.EXTERNAL_SOURCE
    else:
        findings.found["hairpin"] = Hairpin.INTERNAL_SOURCE
    yield ClosePort(local)


def _fragments(findings: Findings, padding: int) -> Script:
    local = yield OpenPort()
    if local is None or (yield Ask(local, findings.server)) is None:
        findings.cannot_tell(NatTest.FRAGMENTS, NO_ANSWER)
        return
    # A little of it first: silence on a lot of it tells nothing of a server that does not know PADDING.
    little = yield Ask(local, findings.server, padding=_LITTLE_PADDING)
    if little is None or little.error is not None or little.padding < _LITTLE_PADDING:
        error = None if little is None else little.error
        findings.cannot_tell(NatTest.FRAGMENTS, f"the server answers {error}" if error else "it does not pad answers")
    else:
        much = yield Ask(local, findings.server, padding=padding)
        findings.found["fragments"] = much is not None and much.padding >= padding - 3
    yield ClosePort(local)


# -- binding lifetime (section 4.6) --


def _lifetime(findings: Findings, config: BehaviourClientConfig) -> Script:
    if findings.found["mapped"] == findings.samples[0].local:
        findings.cannot_tell(NatTest.LIFETIME, "there is no NAT whose mappings could end")
        return
    alive, dead = 0.0, None
    silences = list(_doubling(config))
    while silences:
        results: dict[float, bool | str] = {}
        yield Together(tuple(_survives(findings, silence, results) for silence in silences))
        if refusal := next((result for result in results.values() if isinstance(result, str)), None):
            findings.cannot_tell(NatTest.LIFETIME, refusal)
            return
        survived = [silence for silence, result in results.items() if result is True]
        lost = [silence for silence, result in results.items() if result is False]
        dead = min([silence for silence in lost if silence > alive], default=dead)
        alive = max([silence for silence in survived if dead is None or silence < dead], default=alive)
        if dead is None or dead - alive <= config.lifetime_precision or not results:
            break
        step = max((dead - alive) / (config.lifetime_probes + 1), config.lifetime_precision / 2)
        count = min(config.lifetime_probes, int((dead - alive) / step))
        silences = [alive + step * number for number in range(1, count + 1) if alive + step * number < dead]
    findings.found["lifetime"] = Lifetime(alive, dead)


def _doubling(config: BehaviourClientConfig) -> Iterator[float]:
    silence = config.lifetime_first
    while silence < config.lifetime_limit:
        yield silence
        silence *= 2
    yield config.lifetime_limit


def _survives(findings: Findings, silence: float, results: dict[float, bool | str]) -> Script:
    quiet, asking = (yield OpenPort()), (yield OpenPort())
    if quiet is None or asking is None:
        return
    first = yield Ask(quiet, findings.server)
    if first is None or first.mapped is None:
        return
    yield Wait(silence)
    # The answer goes to the port that has been silent; nothing was sent from it in the meantime.
    answer = yield Ask(asking, findings.server, response_port=first.mapped.port)
    if answer is not None and answer.error is not None:
        results[silence] = f"the server answers {answer.error} to RESPONSE-PORT"
    elif answer is not None and answer.mapped is not None and answer.mapped.host != first.mapped.host:
        results[silence] = "the NAT uses several addresses, so that no answer can be sent to a silent port"
    else:
        results[silence] = answer is not None and answer.arrived_at == quiet
    yield ClosePort(quiet)
    yield ClosePort(asking)
