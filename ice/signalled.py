"""An agent's other side: what signalling tells of the peer, and restarts of either (RFC 8445 section 9, RFC 8838)."""

from __future__ import annotations

from ice.announcing import AgentCandidates
from ice.candidate import Candidate
from ice.description import Description, EndOfCandidates
from ice.errors import IceError
from ice.events import Restarted
from ice.generation import Generation
from ice.lite import role_towards
from ice.remote import Rejection
from ice.roles import Role

__all__ = ["AgentSignalled"]


class AgentSignalled(AgentCandidates):
    """The inputs that make generations, and candidates of the peer in them."""

    __slots__ = ()

    @property
    def role(self) -> Role:
        """Our role; settable until the peer's description is known."""
        return self._roles.role

    @role.setter
    def role(self, role: Role) -> None:
        if role is self._roles.role:
            return
        if self.remote_description is not None:
            raise IceError("the role is fixed once the peer's description is known")
        self._roles.role = role
        self._generations.current.checking.role_changed()

    def set_remote_description(self, description: Description, now: float) -> None:
        """Take the peer's credentials; checks begin, those that came early are processed.

        Another description than the last is the peer's ICE restart (RFC 8445 section 9), or its answer to ours. If it
        is the peer's, a :class:`~ice.events.Restarted` has our answer.
        """
        if self.state.is_over or self._generations.knows(description):
            return
        if self._generations.current.remote is not None:
            self._begin_generation(by_peer=True, now=now)
        generation = self._generations.current
        generation.attach(description)
        if role_towards(generation.local, description, self._roles.role) is not self._roles.role:
            self._roles.switch()
        self._emit(self._lifecycle.start(now))
        ended, generation.remotes.ended = generation.remotes.ended, False  # Not for those that came before the end.
        for item in self._generations.early.take(description.ufrag):
            if isinstance(item, EndOfCandidates):
                ended = True
            else:
                self._take_candidate(generation, item, now)
        generation.remotes.ended = ended
        for check in self._generations.early_checks(description.ufrag):
            generation.checking.receive_check(check, now)
        self._owed = now

    def restart(self, now: float) -> Description:
        """Restart ICE (RFC 8445 section 9) and return the new description; :class:`~ice.events.Restarted` tells it too.

        Data stays on the pair in use until the new checks have found one. While the peer has not answered a description
        there is nothing to restart: that one is returned again, until :meth:`roll_back` gives it up.

        Raises:
            IceError: the session is over.
        """
        if self.state.is_over:
            raise IceError("the session is over", self.failure_reason)
        if self._generations.current.remote is not None:
            self._begin_generation(by_peer=False, now=now)
            self._settle(now)
        return self.local_description

    def roll_back(self, now: float) -> None:
        """Give up a description that the peer has not answered: the one before is ours again (RFC 8829 4.1.10.2).

        The next restart, of either side, has another. The peer may have answered and gone over to it all the same: its
        checks for it are answered as long as it sends them. Where nothing waits for an answer nothing changes.
        """
        if not self.state.is_over and self._generations.roll_back(now):
            if self._generations.carrying is not None:
                self._lifecycle.start(now)
            self._settle(now)

    def _begin_generation(self, *, by_peer: bool, now: float) -> None:
        generation = self._generations.begin(self._make_generation())
        self.relays.retain(self._generations.peers, now)
        self._lifecycle.restart(now)
        self._emit(Restarted(generation.local, by_peer))
        self._gather_again(now)

    # -- the peer's candidates --

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take one of the peer's candidates; one that cannot be used is dropped and counted.

        One that names a generation belongs to that, and waits for its description; others to the last description.
        """
        if self.state.is_over:
            return
        generation = self._generations.of_peer(candidate.ufrag)
        if generation is not None:
            if self._take_candidate(generation, candidate, now):
                self._owed = now
        elif candidate.ufrag is None or self._generations.is_past(candidate.ufrag):
            self._generations.current.remotes.reject(Rejection.GENERATION)
        else:
            self._generations.note_early(candidate.ufrag, candidate)

    def _take_candidate(self, generation: Generation, candidate: Candidate, now: float) -> bool:
        """Return whether the candidate was of any use."""
        checking, remotes = generation.checking, generation.remotes
        if generation.is_retired or (
            checking.is_concluded and remotes.at(candidate.address, candidate.protocol) is None
        ):
            remotes.reject(Rejection.CONCLUDED)
            return False
        if remotes.lacks_only_an_address(candidate):
            self.names.take(candidate, remotes, now)
            return True
        taken = remotes.add(candidate)
        if taken is None:
            return False
        added, replaced = taken
        self.relays.permit(added.address.host, now)
        if replaced is not None:
            checking.replace_remote(replaced, added, now)
        else:
            checking.pair_remote(added, now)
        return True

    def end_of_remote_candidates(self, now: float, ufrag: str | None = None) -> None:
        """The peer has no more candidates for its generation ``ufrag``, or for the last; later ones are ignored.

        RFC 8838 sections 13 and 14.
        """
        generation = self._generations.of_peer(ufrag)
        if generation is not None:
            generation.remotes.ended = True
            self._owed = now
        elif ufrag is not None and not self._generations.is_past(ufrag):
            self._generations.note_early(ufrag, EndOfCandidates(ufrag))

    def _hear_names(self, now: float) -> None:
        names = self.names
        while names.ready:
            candidate, remotes = names.ready.popleft()
            for generation in self._generations.kept:
                if generation.remotes is remotes:
                    self._take_candidate(generation, candidate, now)
        while names.tellable:
            self._found(names.tellable.popleft())
