"""The other sides of the benchmarks, run in environments of their own."""
