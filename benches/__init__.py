"""Measurements against the baseline and the peers: `python -m benches [--only ID …]`."""
