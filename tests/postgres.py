"""A private PostgreSQL for tests, where its programs are installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serving import PATIENCE_S, free_port

MISSING = "PostgreSQL's programs (initdb, postgres) are not installed; `.ci/run` installs them"


def find_programs() -> Path | None:
    """The folder of initdb and postgres: on PATH, or where Debian puts them."""
    for folder in (
        *(Path(name) for name in os.environ["PATH"].split(os.pathsep)),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    ):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """Run a server with an empty database on loopback; yields its URL."""
    folder = Path(tempfile.mkdtemp(prefix="fishs2-postgres-"))
    user = None
    if os.geteuid() == 0:
        # It refuses to run as root.
        user = "postgres" if _has_user("postgres") else "nobody"
        shutil.chown(folder, user)
    port = free_port()
    data = folder / "data"
    common = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL}
    initdb = [programs / "initdb", "-D", data, "-U", "test", "-A", "trust", "-N", "-E", "UTF8"]
    subprocess.run(initdb, check=True, **common)  # type: ignore[call-overload]
    options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off -c max_connections=50"
    server = subprocess.Popen(  # type: ignore[call-overload]
        [programs / "postgres", "-D", data, *options.split()],
        stderr=subprocess.DEVNULL,
        **common,
    )
    url = f"postgresql://test@127.0.0.1:{port}/postgres"
    try:
        _wait_until_up(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    import psycopg

    while True:
        assert server.poll() is None, "PostgreSQL ended"
        try:
            psycopg.connect(url, connect_timeout=1).close()
            return
        except psycopg.OperationalError:
            continue


def _has_user(name: str) -> bool:
    import pwd  # Windows, which collects this too, has none

    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
