"""Fetching credentials from whoever hands them out."""

from __future__ import annotations

import asyncio

from turn.config import Credentials, TurnServerConfig
from turn.errors import TurnCredentialsError

__all__ = ["fetch_credentials"]


async def fetch_credentials(config: TurnServerConfig) -> Credentials | None:
    """Return the credentials of a configuration, of its provider if it has one.

    Raises:
        TurnCredentialsError: the provider has failed, in whatever way, or takes too long.
    """
    if config.credentials is None:
        return config.fixed_credentials
    asking = asyncio.ensure_future(config.credentials())
    patience = config.client.credentials_timeout
    try:
        await asyncio.wait([asking], timeout=patience)
        if not asking.done():
            raise TurnCredentialsError(f"no credentials within {patience:g} s", server=config.url)
    finally:
        asking.cancel()
    # The provider is the application's, and so are its exceptions: they are reported, not caught by name.
    if asking.cancelled():
        raise TurnCredentialsError("asking for credentials was cancelled", server=config.url)
    error = asking.exception()
    if error is not None:
        raise TurnCredentialsError(f"no credentials could be had: {error}", server=config.url) from error
    return asking.result()
