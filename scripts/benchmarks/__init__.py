"""One file for each row of docs/performance.md; `scripts/benchmark.py` runs them."""
