"""multistream-select on a raw stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from signalling.errors import NegotiationError, SignallingError
from signalling.libp2p import multistream
from signalling.libp2p.aio.streams import RawStream
from signalling.libp2p.config import MultistreamConfig

__all__ = ["negotiate_inbound", "negotiate_outbound", "propose"]


async def negotiate_outbound(
    stream: RawStream,
    protocols: Sequence[str],
    config: MultistreamConfig | None = None,
    *,
    timeout: float | None = None,
) -> tuple[str, bytes]:
    """Propose ``protocols`` on ``stream``; return the one agreed on and what arrived behind it.

    ``timeout`` (seconds) stands in for the configured one. On failure the stream is reset.

    Raises:
        NegotiationError: no agreement, or not in time.
        StreamReset: the stream or its connection went away.
    """
    config = config or MultistreamConfig()
    return await _negotiate(stream, multistream.Dialer(protocols, _now(), config), timeout or config.timeout)


async def propose(
    stream: RawStream, protocol: str, config: MultistreamConfig | None = None
) -> Callable[[], Awaitable[bytes]]:
    """Propose ``protocol``, which the peer is known to speak, and do not wait: the payload may follow at once.

    What is returned waits for the answer, within the configured time, and returns what arrived behind it. It may be
    cancelled and called again. It raises NegotiationError, with the stream reset, when the peer refuses.

    Raises:
        StreamReset: the stream or its connection went away.
    """
    config = config or MultistreamConfig()
    machine = multistream.Dialer((protocol,), _now(), config)
    await _send(stream, machine)

    async def answer() -> bytes:
        return (await _negotiate(stream, machine, config.timeout, reset_on_cancel=False))[1]

    return answer


async def negotiate_inbound(
    stream: RawStream,
    supported: Collection[str],
    config: MultistreamConfig | None = None,
    *,
    timeout: float | None = None,
) -> tuple[str, bytes]:
    """Answer the peer's proposals on ``stream``; return the protocol agreed on and what arrived behind it.

    ``timeout`` (seconds) stands in for the configured one. On failure the stream is reset.

    Raises:
        NegotiationError: no agreement, or not in time.
        StreamReset: the stream or its connection went away.
    """
    config = config or MultistreamConfig()
    return await _negotiate(stream, multistream.Listener(supported, _now(), config), timeout or config.timeout)


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _negotiate(
    stream: RawStream,
    machine: multistream.Dialer | multistream.Listener,
    timeout: float,
    *,
    reset_on_cancel: bool = True,
) -> tuple[str, bytes]:
    try:
        async with asyncio.timeout(timeout):
            return await _pump(stream, machine)
    except TimeoutError:
        await stream.reset()
        raise NegotiationError(f"no agreement on a protocol within {timeout:g} s") from None
    except asyncio.CancelledError:
        if reset_on_cancel:
            await stream.reset()
        raise
    except SignallingError:
        await stream.reset()
        raise


async def _send(stream: RawStream, machine: multistream.Dialer | multistream.Listener) -> None:
    if machine.effects:
        data = b"".join(machine.effects)
        machine.effects.clear()
        await stream.write(data)


async def _pump(stream: RawStream, machine: multistream.Dialer | multistream.Listener) -> tuple[str, bytes]:
    while True:
        await _send(stream, machine)
        match machine.next_event():
            case multistream.Negotiated(protocol, received):
                return protocol, received
            case multistream.Failed(reason):
                raise NegotiationError(reason)
        machine.receive_data(await stream.read(), _now())
