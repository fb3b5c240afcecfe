"""Fetching credentials from whoever hands them out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from turn.authentication import Authentication
from turn.config import AccessToken, Credentials, TurnServerConfig
from turn.errors import TurnCredentialsError

__all__ = ["fetch_again", "fetch_credentials", "fetch_token"]

T = TypeVar("T")


async def fetch_credentials(config: TurnServerConfig) -> Credentials | None:
    """Return the credentials of a configuration, of its provider if it has one; None where there are only tokens.

    Raises:
        TurnCredentialsError: the provider has failed, in whatever way, or takes too long, or they cannot be sent.
    """
    credentials = config.fixed_credentials
    if config.credentials is not None:
        credentials = await _ask(config, config.credentials, Credentials, "credentials")
    try:
        Authentication(credentials)
    except ValueError as error:
        raise TurnCredentialsError(f"the credentials cannot be sent: {error}", server=config.url) from error
    return credentials


async def fetch_token(config: TurnServerConfig, server_name: str) -> AccessToken:
    """Return an access token for the server that calls itself ``server_name`` (RFC 7635 section 6.1).

    Raises:
        TurnCredentialsError: there is no provider, it has failed, in whatever way, or takes too long.
    """
    provider = config.access_tokens
    if provider is None:
        raise TurnCredentialsError("nobody hands out access tokens", server=config.url)
    if isinstance(provider, AccessToken):
        return provider
    return await _ask(config, lambda: provider(server_name), AccessToken, "an access token")


async def fetch_again(config: TurnServerConfig, server_name: str | None) -> Credentials | AccessToken:
    """Return what a client wants when it says :class:`~turn.events.CredentialsWanted`, with the name in that.

    Raises:
        TurnCredentialsError: it cannot be had.
    """
    if server_name is not None:
        return await fetch_token(config, server_name)
    credentials = await fetch_credentials(config)
    if credentials is None:
        raise TurnCredentialsError("nobody hands out credentials", server=config.url)
    return credentials


async def _ask(config: TurnServerConfig, provider: Callable[[], Awaitable[object]], kind: type[T], what: str) -> T:
    async def ask() -> object:
        return await provider()  # A provider may also raise before there is anything to await.

    asking = asyncio.ensure_future(ask())
    patience = config.client.credentials_timeout
    try:
        await asyncio.wait([asking], timeout=patience)
        if not asking.done():
            raise TurnCredentialsError(f"no answer about {what} within {patience:g} s", server=config.url)
    finally:
        asking.cancel()
    # The provider is the application's, and so are its exceptions: they are reported, not caught by name.
    if asking.cancelled():
        raise TurnCredentialsError(f"asking for {what} was cancelled", server=config.url)
    error = asking.exception()
    if error is not None:
        raise TurnCredentialsError(f"{what} could not be had: {error}", server=config.url) from error
    answer = asking.result()
    if not isinstance(answer, kind):
        text = f"the provider has to return turn.{kind.__name__}, not {type(answer).__name__}"
        raise TurnCredentialsError(text, server=config.url)
    return answer
