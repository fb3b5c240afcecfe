"""Floor 5: the demo page and everything ``scripts/demo`` starts."""
