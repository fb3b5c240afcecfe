"""Floor 3: signalling, and the libp2p stack that carries it."""
