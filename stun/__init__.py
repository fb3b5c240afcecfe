"""Floor 0: STUN (RFC 8489), its codec, transactions, Binding client and server."""
