"""A small asyncio libp2p: protocol machines without I/O, and an asyncio host in ``aio``."""
