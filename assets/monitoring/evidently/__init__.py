"""Evidently's workspace: a snapshot per evaluation window and per landed partition."""
