"""Runs one :class:`~turn.client.TurnClient` over links to its server."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.link import LinkOptions, ServerLink, open_link
from stun.aio.timer import MachineTimer
from stun.errors import StunCertificateError, StunHandshakeError, StunLinkError
from stun.machine import Transmit
from stun.network import Network
from turn.client import TurnClient
from turn.config import Credentials, TurnServerConfig
from turn.errors import TurnError, TurnTlsError, TurnUnreachableError
from turn.events import TurnEvent
from turn.framing import cut_read

__all__ = ["ClientDriver", "DataSink", "is_request", "link_error"]

logger = logging.getLogger("turn")

DataSink = Callable[[bytes, TransportAddress], None]
"""Takes one relayed datagram and its peer; must not raise."""


def link_error(error: StunLinkError, server: str) -> TurnError:
    """Return the error of this package for one of the way to a server."""
    kind = TurnTlsError if isinstance(error, (StunCertificateError, StunHandshakeError)) else TurnUnreachableError
    return kind(str(error), server=server)


class ClientDriver:
    """Feeds a client what its links receive and the time, carries out its effects, and keeps its one timer."""

    def __init__(
        self,
        config: TurnServerConfig,
        network: Network | None,
        on_event: Callable[[TurnEvent], None],
        on_data: DataSink,
    ) -> None:
        """Args:
        config: the server.
        network: UDP sockets; real ones by default.
        on_event: takes the client's events; it may call the client and :meth:`pump`.
        on_data: takes relayed data.
        """
        self.config = config
        self.on_data = on_data
        self._network = network
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._links: dict[FiveTuple, ServerLink] = {}
        self._client: TurnClient | None = None
        self._link: ServerLink | None = None
        self._timer: MachineTimer | None = None
        self._held: deque[Transmit] = deque(maxlen=config.client.max_outstanding)
        self._retry: asyncio.TimerHandle | None = None
        self._pumping = False
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether there is a client."""
        return self._client is not None

    @property
    def client(self) -> TurnClient:
        """The machine; there is one once the first link is open."""
        assert self._client is not None, "open a link first"
        return self._client

    async def open(
        self,
        server: TransportAddress,
        protocol: TransportProtocol,
        server_name: str | None,
        credentials: Credentials | None,
        rng: random.Random,
    ) -> None:
        """Open the way to the server and start the client on it.

        Raises:
            TurnError: the server cannot be reached, or TLS failed.
        """
        link = await self._open_link(server, protocol, server_name, None)
        self._client = TurnClient(self.config, link.path, rng, credentials)
        self._timer = MachineTimer(self._client, self)
        self._link = link
        self._client.start(self._loop.time())
        self.pump()

    async def open_path(self, local: TransportAddress | None, server_name: str | None) -> FiveTuple:
        """Open another way to the same server, for the client to move to.

        Raises:
            TurnError: the server cannot be reached.
        """
        old = self.client.path
        link = await self._open_link(old.remote, old.protocol, server_name, local)
        self.client.path_opened(link.path, self._loop.time())
        return link.path

    def use_link(self, path: FiveTuple) -> None:
        """The allocation has moved: send along this link from now on, and close the others."""
        self._link = self._links.get(path, self._link)
        for other in [other for other in self._links if other != path]:
            self.close_link(other)

    def close_link(self, path: FiveTuple) -> None:
        """Close one link; harmless when there is none."""
        if (link := self._links.pop(path, None)) is not None:
            link.close()

    def send(self, data: bytes, peer: tuple[str, int]) -> None:
        """Send data to a peer, now or when there is a permission.

        Raises:
            ValueError: it does not fit a datagram.
        """
        client = self._client
        assert client is not None, "open a link first"
        assert self._link is not None
        if self._held:
            return  # what keeps the allocation goes before data that may be lost
        wire = client.encode(peer, data)
        if wire is None:
            client.send(TransportAddress.parse(*peer), data, self._loop.time())
            self.pump()
            return
        self._link.send(wire)
        if client.has_work:
            self.pump()

    def pump(self) -> None:
        """Drain effects, data and events, then re-arm the timer."""
        if self._pumping or self._closed or self._client is None or self._timer is None:
            return  # the outer call goes on draining
        self._pumping = True
        try:
            self._drain(self._client)
        finally:
            self._pumping = False
            self._timer.arm()  # also when a listener of the application has raised

    def close(self) -> None:
        """Close the links and stop the timer; harmless twice."""
        if self._closed:
            return
        self.pump()
        self._closed = True
        if self._timer is not None:
            self._timer.stop()
        if self._retry is not None:
            self._retry.cancel()
        for path in list(self._links):
            self.close_link(path)

    # -- inside

    async def _open_link(
        self,
        server: TransportAddress,
        protocol: TransportProtocol,
        server_name: str | None,
        local: TransportAddress | None,
    ) -> ServerLink:
        endpoint = _Endpoint(self)
        options = LinkOptions(
            server_name=server_name,
            ssl_context=self.config.ssl_context,
            local=local,
            network=self._network,
            stream=self.config.client.stream,
        )
        try:
            link = await open_link(
                server, protocol, receiver=endpoint.received, closed=endpoint.closed, options=options
            )
        except StunLinkError as error:
            raise link_error(error, self.config.url) from error
        endpoint.path = link.path
        endpoint.is_stream = link.is_stream
        if endpoint.has_ended:
            link.close()
            raise self._end_of(endpoint.error)
        if self._closed:
            link.close()
            raise TurnUnreachableError("closed while connecting", server=self.config.url)
        self._links[link.path] = link
        return link

    def received(self, data: bytes, path: FiveTuple, is_stream: bool) -> None:
        """Take what a link has received."""
        client = self._client
        if client is None or self._closed:
            return
        if not is_stream:
            client.receive_datagram(data, path, self._loop.time())
            self.pump()
            return
        # One read may have more datagrams than wait for the application at most: it takes them in between.
        for piece in cut_read(data, self.config.client.max_received):
            if self._closed or path not in self._links:
                return
            client.receive_data(piece, path, self._loop.time())
            self.pump()

    def gone(self, error: Exception | None, path: FiveTuple) -> None:
        """A link has ended."""
        if self._links.pop(path, None) is None or self._client is None or self._closed:
            return
        self._client.path_failed(self._end_of(error), path, self._loop.time())
        self.pump()

    def _end_of(self, error: Exception | None) -> TurnError:
        if isinstance(error, StunLinkError):
            return link_error(error, self.config.url)
        server = self.config.url if self._client is None else self._client.server
        text = "the server closed the connection" if error is None else f"the connection broke: {error}"
        return TurnUnreachableError(text, server=server)

    def _drain(self, client: TurnClient) -> None:
        on_data = self.on_data
        while True:
            while (effect := client.next_effect()) is not None:
                if not isinstance(effect, Transmit):
                    self.close_link(effect.path)
                elif (link := self._links.get(effect.path)) is not None:
                    self._transmit(link, effect)
            while (received := client.next_data()) is not None:
                on_data(received[1], received[0])
            if (event := client.next_event()) is None:
                return
            self._on_event(event)

    def _transmit(self, link: ServerLink, effect: Transmit) -> None:
        if link.send(effect.data) or not link.is_stream or not is_request(effect.data):
            return
        # The connection is full of data, and nothing is sent twice over it: a Refresh must not be lost to that.
        self._held.append(effect)
        if self._retry is None:
            self._retry = self._loop.call_later(self.config.client.stream_retry, self._offer_again)

    def _offer_again(self) -> None:
        self._retry = None
        requests = list(self._held)
        self._held.clear()
        for request in requests:
            if (link := self._links.get(request.path)) is not None:
                self._transmit(link, request)


def is_request(data: bytes) -> bool:
    """Whether a message to a server is a request, rather than an indication or ChannelData."""
    return data[0] < 4 and not (data[0] & 1 or data[1] & 0x10)


class _Endpoint:
    """The receiving side of one link, which knows its own path only once it is open."""

    __slots__ = ("_driver", "error", "has_ended", "is_stream", "path")

    def __init__(self, driver: ClientDriver) -> None:
        self._driver = driver
        self.path: FiveTuple | None = None
        self.is_stream = False
        self.has_ended = False
        self.error: Exception | None = None

    def received(self, data: bytes) -> None:
        """Take a datagram or bytes; relayed data goes straight to its receiver."""
        path = self.path
        if path is None:
            return  # nobody was asked anything yet
        driver = self._driver
        if not self.is_stream:
            decoded = driver.client.decode(data)
            if decoded is not None:
                driver.on_data(decoded[1], decoded[0])
                return
        driver.received(data, path, self.is_stream)

    def closed(self, error: Exception | None) -> None:
        """The link has ended, perhaps in the very moment in which it was opened."""
        self.has_ended = True
        self.error = error
        if self.path is not None:
            self._driver.gone(error, self.path)
