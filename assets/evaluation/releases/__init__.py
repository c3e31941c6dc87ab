"""Releases: a checkpoint with a record of what it is and how good it was, which anybody can check against it."""
