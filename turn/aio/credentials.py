"""Fetching credentials from whoever hands them out."""

from __future__ import annotations

from turn.config import Credentials, TurnServerConfig
from turn.errors import TurnCredentialsError, TurnError

__all__ = ["fetch_credentials"]


async def fetch_credentials(config: TurnServerConfig) -> Credentials | None:
    """Return the credentials of a configuration, of its provider if it has one.

    Raises:
        TurnCredentialsError: the provider has failed.
    """
    if config.credentials is None:
        return config.fixed_credentials
    try:
        return await config.credentials()
    except (OSError, ValueError, LookupError, RuntimeError, TurnError) as error:
        raise TurnCredentialsError(f"no credentials could be had: {error}", server=config.url) from error
