"""A queue that is small while it is empty does what a deque does."""

from __future__ import annotations

import sys
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.lazy_queue import LazyQueue


@given(st.lists(st.one_of(st.integers(), st.sampled_from(["pop", "clear", "extend"]))))
def test_it_behaves_as_a_deque(steps: list[int | str]) -> None:
    queue: LazyQueue[int | str] = LazyQueue()
    model: deque[int | str] = deque()
    for step in steps:
        if step == "clear":
            queue.clear()
            model.clear()
        elif step == "extend":
            queue.extend(["a", "b"])
            model.extend(["a", "b"])
        elif step != "pop":
            queue.append(step)
            model.append(step)
        elif model:
            assert queue.popleft() == model.popleft()
        else:
            with pytest.raises(IndexError):
                queue.popleft()
        assert list(queue) == list(model)
        assert len(queue) == len(model)
        assert bool(queue) == bool(model)


def test_it_begins_with_what_it_is_given() -> None:
    assert list(LazyQueue([1, 2])) == [1, 2]
    assert not LazyQueue([])


def test_an_empty_one_is_small_also_after_use() -> None:
    queue = LazyQueue([1])
    queue.popleft()
    assert sys.getsizeof(queue) <= 64
