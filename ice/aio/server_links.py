"""The links of one session to its TURN servers, and the short way for data on them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ice.agent import Agent
from ice.relay import OpenLink, Relay
from stun.address import FiveTuple, TransportAddress
from stun.aio.link import LinkOptions, ServerLink, open_link
from stun.errors import StunLinkError
from stun.machine import Transmit
from stun.network import Network
from turn.aio.driver import is_request, link_error
from turn.config import TurnClientConfig
from turn.errors import TurnError, TurnUnreachableError

__all__ = ["RelayedSink", "ServerLinks"]

RelayedSink = Callable[[bytes, Relay, TransportAddress], None]
"""Takes what a peer sent to a relayed base, out of its ChannelData message, and the peer; must not raise."""


class ServerLinks:
    """Opens the links that the agent asks for, sends and receives on them, and tells it of their ends."""

    def __init__(self, agent: Agent, network: Network, pump: Callable[[], None], receive_relayed: RelayedSink) -> None:
        """Args:
        agent: whose servers these are.
        network: UDP sockets.
        pump: called after every input that the agent was given.
        receive_relayed: takes what comes in ChannelData over datagrams.
        """
        self.agent = agent
        """Whose servers these are."""
        self.pump = pump
        """Called after every input of the agent."""
        self.receive_relayed = receive_relayed
        """Takes relayed data."""
        self._network = network
        self._loop = asyncio.get_running_loop()
        self._by_path: dict[FiveTuple, _Link] = {}
        self._ended = False

    async def open(self, wanted: OpenLink) -> None:
        """Carry out an OpenLink."""
        relays, target, config = self.agent.relays, wanted.target, wanted.config
        endpoint = _Endpoint(self)
        options = LinkOptions(
            server_name=target.server_name,
            ssl_context=config.ssl_context,
            network=self._network,
            stream=config.client.stream,
        )
        problem: TurnError | None = None
        try:
            link = await open_link(
                target.server, target.protocol, receiver=endpoint.received, closed=endpoint.closed, options=options
            )
        except StunLinkError as error:
            problem = link_error(error, config.url)
        else:
            if self._ended:
                link.close()
                return
            if endpoint.has_ended:
                link.close()
                problem = _end_of(endpoint.error, config.url)
        if problem is not None:
            relays.link_failed(wanted.number, problem, self._loop.time())
        else:
            self._by_path[link.path] = _Link(link, config.client)
            relays.link_opened(wanted.number, link.path, self._loop.time())
            endpoint.attach(link.path, relays.by_path.get(link.path))
        self.pump()

    def sender(self, path: FiveTuple) -> Callable[[bytes], bool] | None:
        """Return what sends data, as the client of the server has encoded it, on an open link; None without one."""
        link = self._by_path.get(path)
        return None if link is None else link.send_data

    def transmit(self, effect: Transmit) -> bool:
        """Send what a client has to say; False when the path is none of ours."""
        if (link := self._by_path.get(effect.path)) is None:
            return False
        link.transmit(effect.data)
        return True

    def release(self, path: FiveTuple) -> None:
        """Close one link; harmless when there is none."""
        if (link := self._by_path.pop(path, None)) is not None:
            link.close()

    def gone(self, error: Exception | None, path: FiveTuple) -> None:
        """A server or the network has ended a link."""
        if (link := self._by_path.pop(path, None)) is None:
            return
        link.close()
        relay = self.agent.relays.by_path.get(path)
        if relay is not None:
            problem = None if error is None else _end_of(error, relay.config.url)
            self.agent.relays.path_failed(path, problem, self._loop.time())
            self.pump()

    def retire(self) -> None:
        """Open no more; those that are open stay."""
        self._ended = True

    def close(self) -> None:
        """Close all; harmless twice."""
        self._ended = True
        for path in list(self._by_path):
            self.release(path)


def _end_of(error: Exception | None, url: str) -> TurnError:
    if isinstance(error, StunLinkError):
        return link_error(error, url)
    text = "the server closed the connection" if error is None else f"the connection broke: {error}"
    return TurnUnreachableError(text, server=url)


class _Link:
    """One open link, and the requests that wait for room on it.

    A connection may be full of data, and nothing is sent twice over it: what keeps an allocation must not be lost to
    that. It is offered again, before any more data.
    """

    __slots__ = ("_held", "_link", "_pause", "_retry", "send_data")

    def __init__(self, link: ServerLink, config: TurnClientConfig) -> None:
        self._link = link
        self._held: deque[bytes] = deque(maxlen=config.max_outstanding)
        self._pause = config.stream_retry
        self._retry: asyncio.TimerHandle | None = None
        self.send_data = self._send_in_turn if link.is_stream else link.send
        """Sends data; False when it was dropped."""

    def _send_in_turn(self, data: bytes) -> bool:
        return not self._held and self._link.send(data)

    def transmit(self, data: bytes) -> None:
        """Send a message; a request is kept where there is no room for it."""
        if self._link.send(data) or not self._link.is_stream or not is_request(data):
            return
        self._held.append(data)
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._pause, self._offer_again)

    def _offer_again(self) -> None:
        self._retry = None
        requests = list(self._held)
        self._held.clear()
        for request in requests:
            self.transmit(request)

    def close(self) -> None:
        """Close; harmless twice."""
        if self._retry is not None:
            self._retry.cancel()
        self._link.close()


class _Endpoint:
    """The receiving side of one link, which knows its own path only once it is open."""

    __slots__ = ("_decode", "_links", "_path", "_relay", "error", "has_ended")

    def __init__(self, links: ServerLinks) -> None:
        self._links = links
        self._path: FiveTuple | None = None
        self._relay: Relay | None = None
        self._decode: Callable[[bytes], tuple[TransportAddress, bytes] | None] = _nothing
        self.has_ended = False
        self.error: Exception | None = None

    def attach(self, path: FiveTuple, relay: Relay | None) -> None:
        """The link is open, and this is what it serves."""
        self._path, self._relay = path, relay
        if relay is not None and relay.client is not None and not path.protocol.is_stream:
            self._decode = relay.client.decode

    def received(self, data: bytes) -> None:
        """Take a datagram, or bytes of a stream."""
        decoded = self._decode(data)
        if decoded is not None and self._relay is not None:
            self._links.receive_relayed(decoded[1], self._relay, decoded[0])
        elif self._path is not None:
            self._links.agent.relays.receive(data, self._path, asyncio.get_running_loop().time())
            self._links.pump()

    def closed(self, error: Exception | None) -> None:
        """The link has ended, perhaps in the very moment in which it was opened."""
        self.has_ended, self.error = True, error
        if self._path is not None:
            self._links.gone(error, self._path)


def _nothing(data: bytes) -> None:
    return None
