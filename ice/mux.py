"""One port for many agents: which session a datagram on a shared port belongs to.

A check says it itself: its USERNAME begins with the user name fragment of the agent that it is for (RFC 8445 section
7.2.2). An answer belongs to who asked, by its transaction id. Everything else goes by the address it comes from, which
becomes a session's only by evidence: the session's agent answered a check from there with success, or a check of the
session was answered from there. The second is stronger, because the source of a check can be forged and an answer can
only be given by who received the check; so an address that has answered one session is not lost to another one by a
check alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ice.errors import MuxError
from ice.mux_config import MuxConfig
from ice.mux_stats import Drop, MuxStats
from ice.mux_wire import Kind, has_username, kind_of, receiving_ufrag, transaction_of
from stun.address import FiveTuple, TransportAddress
from stun.demux import is_stun
from stun.network import DatagramReceiver
from stun.rate_limit import RateLimiter, source_key

__all__ = ["Binding", "MuxRoutes", "Place", "Port", "Seat"]

Remote = tuple[str, int]


class Port:
    """One local address that sessions share."""

    __slots__ = ("local", "routes")

    def __init__(self, local: TransportAddress) -> None:
        self.local = local
        """The address."""
        self.routes: dict[Remote, Binding] = {}
        """Whose the peers' addresses are: all that the data path looks at."""


class Seat:
    """One session at the mux."""

    __slots__ = ("awaited", "bindings", "places", "ufrags")

    def __init__(self) -> None:
        self.ufrags: tuple[bytes, ...] = ()
        """The user name fragments that its checks begin with; none once it has left."""
        self.places: tuple[Place, ...] = ()
        """Its bases."""
        self.bindings: tuple[Binding, ...] = ()
        """The addresses of peers that it is reached from."""
        self.awaited: dict[bytes, _Awaited] | None = None
        """Its requests that answers may come for, the oldest first; None for none, which is the rule while idle."""

    def place_at(self, port: Port) -> Place | None:
        """Return its base at this port, or None."""
        for place in self.places:
            if place.port is port:
                return place
        return None

    def binding_at(self, port: Port, remote: Remote) -> Binding | None:
        """Return what is known of an address that reaches it at this port, or None."""
        for binding in self.bindings:
            if binding.remote == remote and binding.place.port is port:
                return binding
        return None


class Place:
    """A base of one session: a port, and who takes what arrives there for the session."""

    __slots__ = ("port", "receive", "seat")

    def __init__(self, seat: Seat, port: Port, receive: DatagramReceiver) -> None:
        self.seat = seat
        self.port = port
        self.receive = receive


class Binding:
    """An address of a peer that reaches a session."""

    __slots__ = ("confirmed_at", "place", "receive", "remote", "seen_at")

    def __init__(self, place: Place, remote: Remote, now: float) -> None:
        self.place = place
        self.receive = place.receive
        """What takes data from there; copied here to keep the data path short."""
        self.remote = remote
        self.seen_at = now
        """When it last gave evidence of either kind."""
        self.confirmed_at: float | None = None
        """When it last answered a check; None when it never did."""


class _Awaited:
    """A request of a session that has been sent."""

    __slots__ = ("is_check", "place", "remote", "sent_at")

    def __init__(self, place: Place, remote: Remote, is_check: bool, now: float) -> None:
        self.place = place
        self.remote = remote
        self.is_check = is_check
        self.sent_at = now


class MuxRoutes:
    """The tables of a mux. It does no I/O: receivers are called, and the owner tells what sessions send."""

    def __init__(self, config: MuxConfig) -> None:
        self.config = config
        self.dropped: Counter[Drop] = Counter()
        """What went to no session, by reason."""
        self._seats: dict[bytes, Seat] = {}
        self._sessions = 0
        self._ports: list[Port] = []
        self._awaited: dict[bytes, _Awaited] = {}
        self._failures = RateLimiter(config.failed_check_rate, config.failed_check_burst, config.max_sources)

    # -- sessions ----------------------------------------------------------------------------------------------------

    def add_port(self, port: Port) -> None:
        """Take a local address into use."""
        self._ports.append(port)

    def join(self, ufrag: str) -> Seat:
        """Make room for a session whose checks begin with ``ufrag``.

        Raises:
            MuxError: the mux is full, or the fragment is another session's.
        """
        if self._sessions >= self.config.max_sessions:
            raise MuxError(f"the mux has {self._sessions} sessions already")
        key = ufrag.encode()
        if key in self._seats:
            raise MuxError("the user name fragment is another session's")
        seat = self._seats[key] = Seat()
        seat.ufrags = (key,)
        self._sessions += 1
        return seat

    def set_ufrags(self, seat: Seat, ufrags: Sequence[str]) -> None:
        """Let checks for these fragments reach the session, and for no others; nothing changes when it raises.

        Raises:
            MuxError: one is another session's, there are none or too many, or the session has left.
        """
        keys = tuple(dict.fromkeys(ufrag.encode() for ufrag in ufrags))
        if not seat.ufrags or not 0 < len(keys) <= self.config.max_ufrags:
            raise MuxError(f"a session at the mux cannot have {len(keys)} user name fragments")
        if any(self._seats.get(key, seat) is not seat for key in keys):
            raise MuxError("the user name fragment is another session's")
        for key in seat.ufrags:
            del self._seats[key]
        self._seats.update(dict.fromkeys(keys, seat))
        seat.ufrags = keys

    def leave(self, seat: Seat) -> None:
        """Free everything of a session; harmless twice."""
        if not seat.ufrags:
            return
        for ufrag in seat.ufrags:
            del self._seats[ufrag]
        seat.ufrags = ()
        self._sessions -= 1
        for place in seat.places:
            self.detach(place)

    def seat_of(self, ufrag: bytes) -> Seat | None:
        """Return the session that checks for this fragment belong to, or None."""
        return self._seats.get(ufrag)

    def attach(self, place: Place) -> None:
        """Give a session a base.

        Raises:
            MuxError: it has one at this port already, or it has left.
        """
        if not place.seat.ufrags or place.seat.place_at(place.port) is not None:
            raise MuxError(f"the session cannot have a base at {place.port.local}")
        place.seat.places += (place,)

    def detach(self, place: Place) -> None:
        """Take a base from its session, with all that was reached through it; harmless twice."""
        seat = place.seat
        if place not in seat.places:
            return
        seat.places = tuple(other for other in seat.places if other is not place)
        for binding in [binding for binding in seat.bindings if binding.place is place]:
            self._forget(binding)
        for transaction_id, awaited in list((seat.awaited or {}).items()):
            if awaited.place is place:
                self._close(seat, transaction_id)

    # -- what arrives ------------------------------------------------------------------------------------------------

    def deliver(self, data: bytes, port: Port, remote: Remote, now: float) -> None:
        """Hand a datagram to the session that it belongs to, or drop and count it.

        The owner calls ``port.routes[remote].receive`` itself where the first byte is over 3: that cannot be STUN.
        """
        if is_stun(data):
            self._deliver_stun(data, port, remote, now)
        elif (binding := port.routes.get(remote)) is not None:
            binding.receive(data, remote)
        else:
            self.dropped[Drop.DATA] += 1

    def _deliver_stun(self, data: bytes, port: Port, remote: Remote, now: float) -> None:
        kind = kind_of(data)
        if kind is Kind.REQUEST:
            self._deliver_check(data, port, remote, now)
            return
        place = None
        if kind is Kind.SUCCESS or kind is Kind.ERROR:
            place = self._asker(data, kind, port, remote, now)
        if place is None and kind is not None and (binding := port.routes.get(remote)) is not None:
            place = binding.place
        if place is None:
            self.dropped[Drop.OTHER_STUN if kind is None else Drop.UNASKED] += 1
        else:
            place.receive(data, remote)

    def _deliver_check(self, data: bytes, port: Port, remote: Remote, now: float) -> None:
        ufrag = receiving_ufrag(data, self.config.max_attributes)
        seat = None if ufrag is None else self._seats.get(ufrag)
        place = None if seat is None else seat.place_at(port)
        if place is None:
            self.dropped[Drop.NO_USERNAME if ufrag is None else Drop.UNKNOWN_UFRAG] += 1
        elif place.seat.binding_at(port, remote) is not None:
            place.receive(data, remote)
        elif len(data) > self.config.max_check:
            self.dropped[Drop.TOO_LONG] += 1
        elif not self._failures.has_any(source := source_key(remote[0]), now):
            self.dropped[Drop.TOO_MANY_FAILURES] += 1
        else:
            place.receive(data, remote)
            if place.seat.binding_at(port, remote) is None:  # No success was sent, or we would have been told.
                self._failures.take(source, now)

    def _asker(self, data: bytes, kind: Kind, port: Port, remote: Remote, now: float) -> Place | None:
        """Return whose request this answers; a success from where the request went confirms the address."""
        transaction_id = transaction_of(data)
        awaited = self._awaited.get(transaction_id)
        if awaited is None or awaited.place.port is not port:
            return None
        if kind is Kind.SUCCESS and awaited.is_check and awaited.remote == remote:
            binding = self._note(awaited.place, awaited.remote, now, confirmed=True)
            if port.routes.get(remote) is binding:
                # A second answer finds the way by its source; so an idle session holds no transaction for its consent.
                self._close(awaited.place.seat, transaction_id)
        return awaited.place

    # -- what is sent ------------------------------------------------------------------------------------------------

    def note_sent(self, data: bytes, place: Place, remote: Remote, now: float) -> None:
        """Learn from a STUN message that a session sends from ``place``; other data says nothing."""
        if place not in place.seat.places:
            return
        kind = kind_of(data)
        if kind is Kind.REQUEST:
            self._await(data, place, remote, now)
        elif kind is Kind.SUCCESS:  # An agent sends it when a check has authenticated, and never else.
            self._note(place, remote, now, confirmed=False)

    def _await(self, data: bytes, place: Place, remote: Remote, now: float) -> None:
        seat, transaction_id = place.seat, transaction_of(data)
        self._close(seat, transaction_id)  # Sent again: it becomes the youngest.
        for oldest in list(seat.awaited or ()):
            known = self._awaited[oldest]
            is_over = now - known.sent_at > self.config.transaction_lifetime
            if not is_over and len(seat.awaited or ()) < self.config.max_transactions:
                break
            self._close(seat, oldest)
        if transaction_id in self._awaited:
            return  # Another session's, which 96 random bits rule out: the first has it.
        awaited = _Awaited(place, remote, has_username(data, self.config.max_attributes), now)
        if seat.awaited is None:
            seat.awaited = {}
        seat.awaited[transaction_id] = self._awaited[transaction_id] = awaited

    def _close(self, seat: Seat, transaction_id: bytes) -> None:
        if seat.awaited is not None and seat.awaited.pop(transaction_id, None) is not None:
            del self._awaited[transaction_id]
            if not seat.awaited:
                seat.awaited = None

    # -- whose an address is -----------------------------------------------------------------------------------------

    def _note(self, place: Place, remote: Remote, now: float, *, confirmed: bool) -> Binding:
        """Take evidence that ``remote`` speaks to the session of ``place``; return what is now known of it."""
        seat, routes = place.seat, place.port.routes
        binding = seat.binding_at(place.port, remote)
        is_news = binding is None or (confirmed and binding.confirmed_at is None)
        if binding is None:
            if len(seat.bindings) >= self.config.max_addresses:
                self._forget(min(seat.bindings, key=lambda known: known.seen_at))
            binding = Binding(place, remote, now)
            seat.bindings += (binding,)
        binding.seen_at = now
        if confirmed:
            binding.confirmed_at = now
        holder = routes.get(remote)
        if confirmed and is_news:
            binding.remote = remote  # Equal to what it was, but this one the session keeps anyway.
            if holder is binding:
                del routes[remote]
                routes[remote] = binding
        if holder is None or (holder is not binding and self._gives_way(holder, confirmed, is_news, now)):
            routes[remote] = binding
        return binding

    def _gives_way(self, holder: Binding, confirmed: bool, is_news: bool, now: float) -> bool:
        """Whether the session that has an address loses it to another one's evidence.

        Evidence that is not new does not count against a holder that is alive: a peer that keeps two sessions on one
        address stays with the one that it began last, instead of going back and forth with every consent check.
        """
        lifetime = self.config.confirmation_lifetime
        if holder.confirmed_at is not None and now - holder.confirmed_at <= lifetime:
            return confirmed and is_news
        return confirmed or is_news or now - holder.seen_at > lifetime

    def _forget(self, binding: Binding) -> None:
        seat = binding.place.seat
        seat.bindings = tuple(other for other in seat.bindings if other is not binding)
        routes = binding.place.port.routes
        if routes.get(binding.remote) is binding:
            del routes[binding.remote]

    # -- to be seen --------------------------------------------------------------------------------------------------

    def owner_of(self, path: FiveTuple) -> Seat | None:
        """Return the session that data on ``path`` goes to, or None."""
        for port in self._ports:
            if port.local == path.local and (binding := port.routes.get(path.remote)) is not None:
                return binding.place.seat
        return None

    def stats(self) -> MuxStats:
        """Return counters of now."""
        return MuxStats(
            sessions=self._sessions,
            ufrags=len(self._seats),
            addresses=sum(len(port.routes) for port in self._ports),
            awaited=len(self._awaited),
            sources=len(self._failures),
            dropped={drop.value: count for drop, count in self.dropped.items()},
        )
