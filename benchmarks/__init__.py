"""Measured against the best of the field, both sides in one run: `python -m benchmarks`."""
