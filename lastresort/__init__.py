"""The front door: re-exports and the ``lastresort`` command."""
