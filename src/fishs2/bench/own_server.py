"""A server that lives as long as the measurement: `fishs2 serve` in a process of its own.

It has the settings of this command, but its own port, keys, database and logs, and the sample
voices, so that what is measured is not what the user's server has in store.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from fishs2.bench.voices import STORED
from fishs2.errors import EngineUnavailableError
from fishs2.settings_sources import ENV_PREFIX

_HOST = "127.0.0.1"
_POLL_S = 0.05
_STOP_S = 15.0
"""`serve` gives answers in progress five seconds, and the engine has to let go of its memory."""

_NUM_LOG_LINES = 5


@contextmanager
def own_server(
    flags: dict[str, str | None],
    *,
    has_own_voices: bool,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """Run a server until the block ends; yields its URL once its engine speaks.

    flags: settings by name; None leaves what the environment says. has_own_voices: whether its
    voices are the sample voices alone, and not the stored ones. Raises EngineUnavailableError with
    what the server said last.
    """
    # Its log may still be open for a moment on Windows, which then refuses to delete it.
    with tempfile.TemporaryDirectory(prefix="fishs2-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port = _free_port()
        environment = _environment(flags, folder, port, has_own_voices=has_own_voices)
        log = folder / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fishs2", "serve"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                url = f"http://{_HOST}:{port}"
                on_progress("starting a server of our own")
                _wait_until_ready(
                    url, process, log, num_voices=len(STORED) if has_own_voices else 0
                )
                yield url
            finally:
                _stop(process)


def _environment(
    flags: dict[str, str | None], folder: Path, port: int, *, has_own_voices: bool
) -> dict[str, str]:
    chosen = {name: value for name, value in flags.items() if value is not None}
    chosen |= {
        "host": _HOST,
        "port": str(port),
        "data_dir": str(folder / "data"),
        "database_url": f"sqlite:///{folder / 'keys.db'}",
        "logs_dir": str(folder / "logs"),
    }
    if has_own_voices:
        chosen["voices_dir"] = str(folder / "voices")
    return {**os.environ, **{f"{ENV_PREFIX}{k.upper()}": v for k, v in chosen.items()}}


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_ready(
    url: str, process: subprocess.Popen[bytes], log: Path, *, num_voices: int
) -> None:
    """Without a time limit: a model may take minutes to load, and Ctrl-C always works."""
    with httpx2.Client(trust_env=False, timeout=10) as client:
        while True:
            if process.poll() is not None:
                raise EngineUnavailableError(f"the server ended: {_last_lines(log)}")
            try:
                health = client.get(f"{url}/health").json()
            except httpx2.TransportError:
                health = {}
            if health.get("engine_error"):
                raise EngineUnavailableError(f"the engine cannot start: {_last_lines(log)}")
            if health.get("ready") and health["voice_count"] >= num_voices:
                return
            time.sleep(_POLL_S)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_NUM_LOG_LINES:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process, whatever happens meanwhile: a second Ctrl-C ends it the hard way."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
