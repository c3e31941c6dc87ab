"""The dbt models as Dagster assets, their data tests as asset checks, and the export of their tables.

Both ops are in the warehouse pool, and hold a lock of the file system while they use the DuckDB file: nothing else
opens it. The pool keeps a waiting run visible in the UI, but it is not enough: on SQLite Dagster claims a slot in
separate statements, and two runs that asked within 1.3 ms were both given the only one.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import dagster as dg
from packaging.version import Version

from assets import keys
from assets.config import Settings
from assets.storage import Storage, locked
from assets.transforms import export
from assets.transforms.apart import without_dbt_core
from assets.transforms.contracts import EXPORTS
from assets.transforms.engines import ENGINES, Engine
from assets.transforms.filter_notes import core_words
from assets.transforms.mend import make_usable
from assets.transforms.project import DBT, PROJECT_DIR, dbt_environment, environment, prepare_manifest
from assets.transforms.stamp import BuildStamp, begin_build, end_build, raw_version
from assets.transforms.variables import dbt_vars

with without_dbt_core():
    from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtCliResource, dbt_assets
    from dagster_dbt.errors import DagsterDbtCliRuntimeError

MANIFEST = prepare_manifest()


class FolderTranslator(DagsterDbtTranslator):
    """Keys ``[folder, model]``, groups from folders, one owner; sources map to the keys in their meta."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        if dbt_resource_props["resource_type"] != "model":
            return super().get_asset_key(dbt_resource_props)
        return dg.AssetKey([dbt_resource_props["fqn"][1], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        return str(dbt_resource_props["fqn"][1])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002
        return [keys.OWNER]


class QuietDbt(DbtCliResource):
    """dbt without dagster-dbt's second connection and without its version look-up.

    The adapter handle would be a reader of the DuckDB file that stays open after the op has left the pool, and
    ``dbt --version`` takes 2 s and asks a package index for newer releases.
    """

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:  # noqa: ARG002
        return None

    @cached_property
    def _cli_version(self) -> Version:
        from dbt.version import __version__

        return Version(__version__)


@dbt_assets(
    manifest=MANIFEST,
    dagster_dbt_translator=FolderTranslator(DagsterDbtTranslatorSettings(enable_asset_checks=True)),
    name="dbt_models",
    pool=keys.WAREHOUSE_POOL,
)
def dbt_models(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> Iterator[Any]:
    """Build the selected models and run their data tests; a failed test of severity error fails the op."""
    with locked(storage.warehouse_lock):
        yield from _build(context, storage, settings)


def _build(context: dg.AssetExecutionContext, storage: Storage, settings: Settings) -> Iterator[Any]:
    engine = ENGINES[settings.transforms.engine]
    engine.ready()
    stamp = BuildStamp(data_version=raw_version(storage), vars=dbt_vars(settings))
    if engine.name == "duckdb" and (mended := make_usable(storage)):
        context.log.warning(mended)
    whole = context.selected_asset_keys == context.assets_def.keys
    completes = begin_build(storage, whole, stamp, engine)
    # Unit tests are the test suite's: they say nothing about the data.
    arguments = ["build", "--exclude-resource-type", "unit_test", "--vars", json.dumps(stamp["vars"])]
    dbt = QuietDbt(
        project_dir=str(PROJECT_DIR), profiles_dir=str(PROJECT_DIR), dbt_executable=str(DBT), target=engine.name
    )
    with environment(dbt_environment(storage)):
        invocation = dbt.cli(arguments, context=context, target_path=storage.base.resolve() / engine.target_folder)
    events, failure = _collect(invocation.stream())
    yield from _with_row_counts(context, storage, events, engine)
    if failure:
        raise failure
    if completes:
        end_build(storage, stamp, engine)


def _collect(stream: Iterable[Any]) -> tuple[list[Any], DagsterDbtCliRuntimeError | None]:
    """Every event of a build, and why it failed if it did: what came before a failure is reported too."""
    events: list[Any] = []
    try:
        for event in stream:
            events.append(event)
    except DagsterDbtCliRuntimeError as error:
        return events, error
    return events, None


def _with_row_counts(
    context: dg.AssetExecutionContext, storage: Storage, events: list[Any], engine: Engine
) -> Iterator[Any]:
    """The events, row counts added to those of models; counted once dbt has closed the file, still in the pool."""
    outputs = {
        event.output_name: context.asset_key_for_output(event.output_name).path[-1]
        for event in events
        if isinstance(event, dg.Output)
    }
    counts = export.row_counts(storage, sorted(outputs.values()), engine)
    for event in events:
        if isinstance(event, dg.Output):
            rows = counts[outputs[event.output_name]]
            context.add_output_metadata({"dagster/row_count": rows}, output_name=event.output_name)
        yield event


@dg.asset(
    key=keys.TABLES,
    deps=[entry.key for entry in EXPORTS],
    group_name=keys.TRANSFORMS,
    kinds={"duckdb", "parquet"},
    owners=[keys.OWNER],
    pool=keys.WAREHOUSE_POOL,
    description="The warehouse's tables as Parquet: all that quality, training, evaluation and serving read.",
)
def tables(
    context: dg.AssetExecutionContext, storage: dg.ResourceParam[Storage], settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult:
    """Export the warehouse; its data version is the digest of the tables."""
    started = time.perf_counter()
    with locked(storage.warehouse_lock):
        manifest = export.export_tables(storage, ENGINES[settings.transforms.engine])
    rows = {name: record["rows"] for name, record in manifest["tables"].items()}
    if settings.engagement.looks_ahead:
        context.log.warning("k-core: %s", core_words(settings.engagement))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest["version"]),
        metadata={
            "profile": dg.MetadataValue.md(storage.read_table("dataset_profile").to_markdown(index=False)),
            "split_bounds": dg.MetadataValue.md(storage.read_table("split_bounds").to_markdown(index=False)),
            "left_out": dg.MetadataValue.md(core_words(settings.engagement) or "nothing"),
            "rows": dg.MetadataValue.json(rows),
            "dagster/row_count": rows["interactions"],
            "raw_data_version": manifest["data_version"],
            "path": dg.MetadataValue.path(storage.tables),
            "seconds": round(time.perf_counter() - started, 2),
        },
    )


ASSETS: list[dg.AssetsDefinition] = [dbt_models, tables]
