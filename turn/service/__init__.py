"""The TURN server (RFC 8656, 6062, 8016): a machine and its rooms without I/O. :mod:`turn.aio.service` runs it."""
