"""Two agents on one wire with signalling between them: what restarts, late candidates and moves need."""

from __future__ import annotations

from ice.events import GatheringCompleted, LocalCandidateFound, PairSelected, Restarted
from stun.address import FiveTuple
from tests.ice.stepper import Side, Wire


class SignalledWire(Wire):
    """Tells each side what the other one says, in order and once, ``signalling`` seconds later."""

    def __init__(self, a: Side, b: Side, *, delay: float = 0.01, signalling: float = 0.02) -> None:
        super().__init__(a, b, delay=delay)
        self.signalling = signalling
        self.duplicates = 1
        self._told = {id(a): 0, id(b): 0}
        self._spoken: list[tuple[float, Side, object]] = []
        for side, other in ((a, b), (b, a)):
            self._spoken.append((0.0, other, side.agent.local_description))

    def flush(self) -> None:
        super().flush()
        for side, other in (self.sides, self.sides[::-1]):
            for event in side.events[self._told[id(side)] :]:
                if isinstance(event, Restarted):
                    self._spoken.append((self.now + self.signalling, other, event.description))
                elif isinstance(event, LocalCandidateFound):
                    self._spoken.append((self.now + self.signalling, other, event.candidate))
                elif isinstance(event, GatheringCompleted):
                    self._spoken.append((self.now + self.signalling, other, event))
            self._told[id(side)] = len(side.events)

    def _next_time(self) -> float | None:
        times = [at for at, *_ in self._spoken]
        if (at := super()._next_time()) is not None:
            times.append(at)
        return min(times, default=None)

    def step(self) -> bool:
        self.flush()
        at = self._next_time()
        due = [item for item in self._spoken if item[0] == at]
        if not due:
            return super().step()
        self.now = max(self.now, due[0][0])
        item = due[0]
        self._spoken.remove(item)
        for _ in range(self.duplicates):
            self._hear(item[1], item[2])
        self.flush()
        return True

    def _hear(self, side: Side, item: object) -> None:
        if isinstance(item, GatheringCompleted):
            side.agent.end_of_remote_candidates(self.now, item.ufrag)
        elif hasattr(item, "pwd"):
            side.agent.set_remote_description(item, self.now)  # type: ignore[arg-type]
        else:
            side.agent.add_remote_candidate(item, self.now)  # type: ignore[arg-type]

    @property
    def agrees(self) -> bool:
        """Whether both sides are on one path and one pair of descriptions."""
        a, b = (side.agent for side in self.sides)
        if a.selected_path is None or b.selected_path is None:
            return False
        return a.selected_path == FiveTuple(b.selected_path.remote, b.selected_path.local)

    @property
    def is_one_generation(self) -> bool:
        """Whether both sides mean the same two descriptions."""
        a, b = (side.agent for side in self.sides)
        return a.remote_description == b.local_description and b.remote_description == a.local_description


def selections(side: Side) -> int:
    return len(side.of_type(PairSelected))
