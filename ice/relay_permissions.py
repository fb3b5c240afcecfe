"""Whom the TURN servers of a session let in: the hosts of the peer, as long as a generation has them (RFC 8656 9)."""

from __future__ import annotations

from collections.abc import Collection

from ice.events import ErrorStage
from ice.local import LocalCandidates
from ice.relay import HostPermitted, Relay, RelayState
from ice.relay_tables import RelayTables
from stun.address import TransportAddress
from turn.errors import TurnError
from turn.events import ChannelFailed, PermissionFailed, PermissionGranted

__all__ = ["RelayPermissions"]


class RelayPermissions(RelayTables):
    """The hosts that every relay of a session is to let in, and what the servers have said to that.

    A permission cannot be taken back from a server. One that nobody needs is not renewed and runs out there; until then
    nothing is sent on it.
    """

    __slots__ = ("_from_before", "_hosts", "_local")

    def __init__(self, local: LocalCandidates) -> None:
        super().__init__()
        self._local = local
        self._hosts: tuple[str, ...] = ()
        self._from_before: tuple[str, ...] = ()
        """Those of them that the current generation of the peer has not named."""

    def permit(self, host: str, now: float) -> None:
        """A candidate of the peer is at ``host``: have every allocation let it in, before any check needs it.

        Whoever has refused it is asked again once in each generation.
        """
        if host not in self._hosts:
            self._hosts += (host,)
        elif host in self._from_before:
            self._from_before = tuple(other for other in self._from_before if other != host)
        else:
            return
        for relay in set(self.by_base.values()):
            self._want(relay, (host,), now)

    def retain(self, peers: Collection[TransportAddress], now: float) -> None:
        """These are all the addresses of the peer that matter by now: let the others' permissions and channels go."""
        wanted = {peer.host for peer in peers}
        gone = [host for host in self._hosts if host not in wanted]
        if gone:
            self._hosts = tuple(host for host in self._hosts if host in wanted)
        for relay in set(self.by_base.values()):
            if relay.client is None:
                continue
            for host in gone:
                relay.client.drop_permission(host, now)
                for base in relay.ends():
                    self._local.forbid(base, host)
            for peer in relay.client.channel_peers:
                if peer not in peers:
                    relay.client.release_channel(peer, now)
            self._drain(relay, now)

    def _name_anew(self) -> None:
        """A new generation begins: what it names is asked for again where it has been refused."""
        self._from_before = self._hosts

    def _want(self, relay: Relay, hosts: tuple[str, ...], now: float) -> None:
        if relay.client is None or relay.state is not RelayState.ALLOCATED:
            return
        if wanted := relay.reachable(hosts):
            for host in wanted:
                for base in relay.ends(TransportAddress(host, 0).family):
                    self._local.ask(base, host)
            relay.client.create_permission(wanted, now)
            self._drain(relay, now)

    def _on_permission(self, relay: Relay, event: PermissionGranted | PermissionFailed | ChannelFailed) -> None:
        match event:
            case PermissionGranted(host):
                for base in relay.ends(TransportAddress(host, 0).family):
                    self._local.permit(base, host)
                    self.news.append(HostPermitted(base, host))
            case PermissionFailed(host, error):
                channels = () if relay.client is None else relay.client.channel_peers
                for base in relay.ends(TransportAddress(host, 0).family):
                    # It may be the renewal that has failed: nothing gets there any more but over a channel.
                    self._local.forbid(base, host)
                    for peer in channels:
                        if peer.host == host:
                            self._local.permit(base, host, peer.port)
                self._tell(relay, ErrorStage.PERMISSION, error)
            case ChannelFailed(peer):
                for base in relay.ends(peer.family):
                    self._local.forbid(base, peer.host, peer.port)

    def _drain(self, relay: Relay, now: float) -> None:
        """Take what the client of a relay has made."""
        raise NotImplementedError

    def _tell(self, relay: Relay, stage: ErrorStage, error: TurnError) -> object:
        """Note an error of a server."""
        raise NotImplementedError
