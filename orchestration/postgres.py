"""Dagster's records on Postgres: a schema per dataset, because asset keys do not name the dataset."""

import hashlib
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

import yaml
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from assets.config import ConfigError, Settings

URL: Final = "THAW_POSTGRES_URL"
DAGSTER_URL: Final = "THAW_DAGSTER_POSTGRES_URL"
"""What ``dagster.yaml`` reads: the address with the dataset's schema, for this process and those that it starts."""

LONGEST: Final = 63
"""Bytes of a name that Postgres keeps; it cuts longer ones in silence."""


def use_postgres(settings: Settings, copy: Path) -> None:
    """Make the dataset's schema and tell Dagster of it.

    Args:
        copy: the ``dagster.yaml`` of the home.

    Raises:
        ConfigError: for a missing or wrong address, a database that cannot be reached, or a ``dagster.yaml`` that
            somebody edited and that keeps records elsewhere.
    """
    held = yaml.safe_load(copy.read_text(encoding="utf-8")) or {}
    if "postgres" not in (held.get("storage") or {}):
        raise ConfigError(
            f"state.kind is postgres, but {copy} was edited and has no storage.postgres: remove the file (it is made"
            " anew), or set state.kind to sqlite"
        )
    schema = schema_of(settings.dataset)
    os.environ[DAGSTER_URL] = url_with(os.environ.get(URL), schema)
    _make_schema(os.environ[URL], schema)


def schema_of(dataset: str) -> str:
    """The dataset's schema: small letters, digits and underlines; names that differ have schemas that differ."""
    plain = re.sub(r"[^a-z0-9]", "_", dataset)
    if plain == dataset and len(plain) <= LONGEST - len("thaw_"):
        return f"thaw_{plain}"
    digest = hashlib.sha256(dataset.encode()).hexdigest()[:8]
    return f"thaw_{plain[: LONGEST - len('thaw__') - len(digest)]}_{digest}"


def url_with(url: str | None, schema: str) -> str:
    """The address with ``search_path``; every connection of Dagster then sees the schema alone.

    Raises:
        ConfigError: where there is no address, or not one of a Postgres database; it does not repeat the address, which
            may hold a password.
    """
    if not url:
        raise ConfigError(f"state.kind is postgres: set {URL}=postgresql://user:password@host:5432/database")
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(f"{URL} is no address: write postgresql://user:password@host:5432/database") from None
    if parsed.get_backend_name() != "postgresql" or not parsed.database:
        raise ConfigError(f"{URL} names no Postgres database: write postgresql://user:password@host:5432/database")
    if "options" in parsed.query:
        raise ConfigError(f"{URL} has options of its own; Thaw sets search_path there: give them to the role instead")
    # The `#` of a fragment and the `?` of a query are no part of what libpq reads, so this is all there may be.
    return f"{url}{'&' if '?' in url else '?'}options={quote(f'-c search_path={schema}')}"


def _make_schema(url: str, schema: str) -> None:
    try:
        import psycopg2  # noqa: PLC0415 - an extra
        from psycopg2 import sql  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("state.kind is postgres: pip install .[postgres]") from error
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = psycopg2.connect(dsn, connect_timeout=10)
    except psycopg2.OperationalError as error:
        place = make_url(url)
        raise ConfigError(
            f"the database {place.database} of {URL} does not answer at {place.host or place.query.get('host')}:"
            f" {str(error).strip().splitlines()[-1]}"
        ) from None
    try:
        with connection, connection.cursor() as cursor:
            # Two processes that make one at once race: one at a time.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (schema,))
            # IF NOT EXISTS asks for the right to make one also where there is nothing to make.
            cursor.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    except psycopg2.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the user of {URL} may not make the schema {schema}: GRANT CREATE ON DATABASE, or make it for that user"
        ) from error
    finally:
        connection.close()
