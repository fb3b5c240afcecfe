"""Floor 1: TURN (RFC 8656)."""
