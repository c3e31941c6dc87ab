"""A PostgreSQL server of one's own on a unix socket, with a password; no cluster of the system is touched."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "se cret/@1"
USER = "thaw"
SETTINGS = "-c listen_addresses='' -c fsync=off -c shared_buffers=16MB -c max_connections=60"


def programs() -> Path:
    """Folder of ``initdb``; the calling module is skipped where there is none, or fails as :func:`needs` would."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    if os.environ.get("THAW_REQUIRE_EXTRAS") == "1":
        pytest.fail("PostgreSQL's programs are not installed: apt-get install postgresql", pytrace=False)
    pytest.skip("PostgreSQL's programs are not installed", allow_module_level=True)


def _as_server(*command: str | Path) -> None:
    """Run a program of the server's; it refuses root, so root becomes ``postgres``."""
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*user, *map(str, command)], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running() -> Iterator[str]:
    """The address of a server with one database, until the block ends."""
    bin_folder, folder = programs(), Path(tempfile.mkdtemp(prefix="thaw-pg-"))  # a socket's path has at most 107 bytes
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    data = folder / "data"
    try:
        _as_server(bin_folder / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "-N")
        _as_server(
            *(bin_folder / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "log"),
            *("-o", f"{SETTINGS} -c unix_socket_directories={folder}", "start"),
        )
        try:
            yield f"postgresql://{USER}:{quote(PASSWORD, safe='')}@/postgres?host={folder}"
        finally:
            _as_server(bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
