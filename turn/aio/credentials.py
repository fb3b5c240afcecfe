"""Fetching credentials from whoever hands them out."""

from __future__ import annotations

import asyncio

from turn.authentication import Authentication
from turn.config import CredentialProvider, Credentials, TurnServerConfig
from turn.errors import TurnCredentialsError

__all__ = ["fetch_credentials"]


async def fetch_credentials(config: TurnServerConfig) -> Credentials | None:
    """Return the credentials of a configuration, of its provider if it has one.

    Raises:
        TurnCredentialsError: the provider has failed, in whatever way, or takes too long, or they cannot be sent.
    """
    credentials = config.fixed_credentials if config.credentials is None else await _ask(config, config.credentials)
    try:
        Authentication(credentials)
    except ValueError as error:
        raise TurnCredentialsError(f"the credentials cannot be sent: {error}", server=config.url) from error
    return credentials


async def _ask(config: TurnServerConfig, provider: CredentialProvider) -> Credentials:
    async def ask() -> Credentials:
        return await provider()  # A provider may also raise before there is anything to await.

    asking = asyncio.ensure_future(ask())
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
    credentials = asking.result()
    if not isinstance(credentials, Credentials):
        text = f"the provider has to return turn.Credentials, not {type(credentials).__name__}"
        raise TurnCredentialsError(text, server=config.url)
    return credentials
