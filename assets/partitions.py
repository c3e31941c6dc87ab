"""Partitions of landed engagements: UTC days, or hours, that the landing sensor adds as their first file is seen."""

import warnings

import dagster as dg

from assets import keys

# Every command would begin with a line of it per asset; the version is pinned.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

LANDED = dg.DynamicPartitionsDefinition(name=keys.LANDED_PARTITIONS)

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""One run takes a whole range: its steps cost the same for one partition and for thirty."""
