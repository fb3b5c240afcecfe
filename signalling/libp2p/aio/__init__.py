"""The asyncio side of the libp2p stack: streams, the upgrade of a byte stream, transports and the host."""
