"""The page of validation results as an asset."""

import dagster as dg

from assets import keys
from assets.quality.checks import write_page
from assets.quality.results import NAMES, page_path
from assets.storage import Storage
from dashboards.data_docs import table_state


@dg.asset(
    key=keys.DATA_DOCS,
    deps=[keys.TABLES],
    group_name=keys.QUALITY,
    kinds={"greatexpectations", "html"},
    owners=[keys.OWNER],
    description="Data Docs: every table's expectations, what was observed and which rows fail, on one page that opens "
    "without a network. Blocking checks run before it; a failing one writes the page itself.",
)
def data_docs(storage: dg.ResourceParam[Storage]) -> dg.MaterializeResult:
    found = write_page(storage)
    states = [(result["name"], table_state(result), str(len(result["expectations"]))) for result in found.tables]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [("table", "status", "expectations"), ("---",) * 3, *states])
    return dg.MaterializeResult(
        metadata={
            "page": dg.MetadataValue.path(page_path(storage)),
            "open": dg.MetadataValue.url(page_path(storage).absolute().as_uri()),
            "status": dg.MetadataValue.md(table),
            "validated": dg.MetadataValue.int(len(found.tables)),
            "expected": dg.MetadataValue.int(len(NAMES)),
            "not_validated": dg.MetadataValue.text(", ".join(found.missing) or "none"),
            "stale": dg.MetadataValue.text(", ".join(found.stale) or "none"),
        }
    )


ASSETS: list[dg.AssetsDefinition] = [data_docs]
