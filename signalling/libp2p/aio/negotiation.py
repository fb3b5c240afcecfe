"""multistream-select on a raw stream."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from signalling.errors import NegotiationError
from signalling.libp2p import multistream
from signalling.libp2p.aio.streams import RawStream
from signalling.libp2p.config import MultistreamConfig

__all__ = ["negotiate_inbound", "negotiate_outbound"]


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
    stream: RawStream, machine: multistream.Dialer | multistream.Listener, timeout: float
) -> tuple[str, bytes]:
    try:
        async with asyncio.timeout(timeout):
            return await _pump(stream, machine)
    except TimeoutError:
        await stream.reset()
        raise NegotiationError(f"no agreement on a protocol within {timeout:g} s") from None
    except BaseException:
        await stream.reset()
        raise


async def _pump(stream: RawStream, machine: multistream.Dialer | multistream.Listener) -> tuple[str, bytes]:
    while True:
        if machine.effects:
            data = b"".join(machine.effects)
            machine.effects.clear()
            await stream.write(data)
        match machine.next_event():
            case multistream.Negotiated(protocol, received):
                return protocol, received
            case multistream.Failed(reason):
                raise NegotiationError(reason)
        machine.receive_data(await stream.read(), _now())
