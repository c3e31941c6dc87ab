"""Dynamic partitions, and how ranges of them are run.

``LANDED``: UTC days, or hours, of landed engagements, which the landing sensor adds as their first file is seen.
``FRAMES``: test windows before which nets are retrained, which ``studies/frames`` adds.
"""

import warnings

import dagster as dg

from assets import keys

# Every command would begin with a line of it per asset; the version is pinned.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

LANDED = dg.DynamicPartitionsDefinition(name=keys.LANDED_PARTITIONS)

FRAMES = dg.DynamicPartitionsDefinition(name=keys.FRAME_PARTITIONS)

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""One run takes a whole range: its steps cost the same for one partition and for thirty."""
