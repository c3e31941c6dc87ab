"""`thaw dashboards`: Evidently's server on the dataset's workspace."""

# ruff: noqa: PLC0415
import os
from typing import Annotated

import typer

from orchestration.options import Dataset, settings_of

app = typer.Typer()

HOST = "127.0.0.1"


@app.command()
def dashboards(
    dataset: Dataset = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="on the loopback address; default: dashboard.port")
    ] = None,
) -> None:
    """Serve Evidently's workspace on the loopback address until interrupted; nothing is sent anywhere."""
    settings = settings_of(dataset)
    from assets.monitoring.evidently.workspace import workspace_path

    folder, chosen = workspace_path(settings.storage), port or settings.dashboard.port
    if not folder.exists():
        typer.echo(
            f"{folder} does not exist: materialize monitoring/evidently_workspace first (`thaw run` does)", err=True
        )
        raise typer.Exit(1)
    os.environ["DO_NOT_TRACK"] = "1"  # before Evidently is imported
    import uvicorn
    from evidently.ui.service.app import create_app, get_config

    import dashboards.workspace_scalars  # noqa: F401 - makes our metric known to Evidently

    config = get_config(host=HOST, port=chosen, workspace=str(folder.absolute()))
    config.telemetry.enabled = False
    typer.echo(f"Evidently on {settings.dataset} at http://{HOST}:{chosen} (Ctrl-C stops it)")
    uvicorn.run(create_app(config), host=HOST, port=chosen, log_level="warning", timeout_graceful_shutdown=5)
