"""Dashboards: pure builders of pages and reports. They know frames and words, no storage and no Dagster."""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # Evidently reads it when it is first imported
