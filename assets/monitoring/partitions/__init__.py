"""Drift of landed partitions against what the champion learned from."""
