"""The errors: each a class of its own, naming the server."""

from __future__ import annotations

import pytest

from stun.address import TransportAddress
from turn import errors
from turn.errors import TurnError, error_of_code


def test_the_text_names_server_meaning_and_what_the_server_said() -> None:
    error = error_of_code(486, "Allocation Quota Reached\0\0", "turn:h (192.0.2.1:3478)")
    assert type(error) is errors.TurnQuotaError
    assert str(error) == (
        "turn:h (192.0.2.1:3478): the user's quota of allocations is used up (486 Allocation Quota Reached)"
    )
    assert (error.server, error.code, error.retry_after) == ("turn:h (192.0.2.1:3478)", 486, 60.0)
    assert type(error_of_code(599, "", "turn:h")) is errors.TurnServerError


def test_every_error_is_a_turn_error_and_its_built_in_kind() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name.startswith("Turn")]
    assert all(issubclass(kind, TurnError) for kind in kinds)
    assert issubclass(errors.TurnTimeoutError, TimeoutError)
    assert issubclass(errors.TurnUnreachableError, ConnectionError)
    assert issubclass(errors.TurnTlsError, ConnectionError)
    assert issubclass(errors.TurnResolveError, OSError)


@pytest.mark.parametrize("kind", [errors.TurnTimeoutError, errors.TurnResolveError, errors.TurnRedirectError])
def test_an_error_can_be_raised_again_without_the_trail_of_the_first(kind: type[TurnError]) -> None:
    first = kind("no", server="turn:h", code=300, retry_after=1.0)
    if isinstance(first, errors.TurnRedirectError):
        first.alternates = (TransportAddress("192.0.2.1", 1),)
    with pytest.raises(kind) as caught:
        raise first
    again = caught.value.again()
    assert type(again) is kind
    assert again is not first
    assert str(again) == "turn:h: no"
    assert vars(again) == vars(first)
    assert again.__traceback__ is None
