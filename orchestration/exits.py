"""How a command ends on an error that is the user's to solve: its message on stderr, status 1, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def exit_on(*errors: type[Exception]) -> Iterator[None]:
    """End the command with the message of one of ``errors``.

    Raises:
        typer.Exit: in its place, with status 1.
    """
    try:
        yield
    except errors as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from error
