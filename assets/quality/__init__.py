"""Quality: expectations on every table, leakage rules, and the page that shows their results."""

import os

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # Great Expectations reads it when it is first imported
