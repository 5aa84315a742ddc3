"""Make `.venv` with the project in it, or bring it up to date; print its interpreter.

    python3 scripts/environment.py [EXTRA ...]

Standard library only, any Python from 3.11 on. A stamp inside `.venv` says what it was made from,
so that an unchanged one costs nothing. run.py and test.sh use it.
"""

import hashlib
import importlib.util
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
_VENV = ROOT / ".venv"
_STAMP = _VENV / "fishs2-stamp"
_LOCK = ROOT / ".cache" / "environment.lock"
_INPUTS = ("pyproject.toml", "constraints.txt")

_ABOUT_PACKAGES, _ABOUT_MB, _ABOUT_DISK_MB = 50, 90, 350
"""What the project takes without extras, measured on Linux; other systems differ by a third."""

_LINE_EVERY_S = 5.0
_LINES_OF_PIP = 15
"""How much of what pip said is shown when it fails."""

STOPPED = "stopped; what is there is kept, and the next start goes on"


class EnvironmentFailedError(Exception):
    """The environment cannot be made; the message says what to do."""


def interpreter() -> Path:
    """The Python of `.venv`, which may not be there yet."""
    return _VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make_environment(*extras: str) -> Path:
    """Return the Python of an environment with the project and `extras`.

    Raises EnvironmentFailedError.
    """
    python = interpreter()
    if is_made(*extras):
        return python
    with _only_one() as lock:
        if not is_made(*extras):
            _install(python, extras, lock)
            # Lines of another state of the files would vouch for packages that are gone.
            kept = [old for old in _stamped() if old.startswith(_fingerprint())]
            _STAMP.write_text("\n".join([*kept, _stamp_line(extras)]) + "\n")
    return python


def is_made(*extras: str) -> bool:
    """Whether `.venv` has what the project asks for, `extras` included."""
    is_running = Path(sys.prefix) == _VENV
    return _stamp_line(extras) in _stamped() and (is_running or _runs(interpreter(), "-c", ""))


def _stamp_line(extras: tuple[str, ...]) -> str:
    return f"{_fingerprint()} [{','.join(sorted(extras))}]"


def _install(python: Path, extras: tuple[str, ...], lock: IO[str]) -> None:
    """Bring the packages into `.venv`, which is made if it is not there."""
    is_first = not _STAMP.exists()
    if is_first:
        size = (
            f"about {_ABOUT_PACKAGES} packages, {_ABOUT_MB} MB to download, {_ABOUT_DISK_MB} MB "
            "on the disk"
        )
        _say(
            f"Making the environment in .venv, once: {'several GB' if 's2' in extras else size}. "
            "Ctrl-C stops, and the next start goes on."
        )
    else:
        _say("Bringing the packages in .venv up to date.")
    if not python.exists() or not _runs(python, "-m", "pip", "--version"):
        _create()
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "--constraint", str(ROOT / "constraints.txt")]
    progress = PipProgress(_find_packages(python), is_whole=is_first and not extras)
    status = _run_pip([*command, "--editable", target], progress, lock)
    if status != 0:
        for said in progress.last_lines:
            _say(f"  {said}")
        raise EnvironmentFailedError("the packages could not be installed; pip says above why")
    _say("The environment is ready.")


class PipProgress:
    """What pip has done and what is left, from the lines that it prints.

    packages: the folder that it installs into. is_whole: whether the sizes above are meant.
    """

    def __init__(self, packages: Path | None, *, is_whole: bool) -> None:
        self.last_lines: list[str] = []
        self._packages = packages
        self._is_whole = is_whole
        self._found: set[str] = set()
        self._num_came = 0
        self._came_mb = 0.0
        self._num_before = self._count_unpacked()
        self._is_unpacking = False

    def feed(self, line: str) -> None:
        """Take a line of pip's."""
        self.last_lines = [*self.last_lines, line][-_LINES_OF_PIP:]
        if found := re.match(r"\s*Collecting ([\w.-]+)", line):
            self._found.add(found[1].lower().replace("_", "-"))
        elif came := re.match(r"\s*(?:Downloading|Using cached) \S+\.(?:whl|gz) \((.*)\)", line):
            self._num_came += 1
            self._came_mb += _in_mb(came[1])
        elif local := re.match(r"\s*Processing (\S+[/\\]([\w.]+)-\S+\.whl)", line):
            self._found.add(local[2].lower().replace("_", "-"))
            self._num_came += 1
            self._came_mb += Path(local[1]).stat().st_size / 1e6 if Path(local[1]).exists() else 0
        elif line.startswith("Installing collected packages"):
            self._is_unpacking = True

    def describe(self) -> str:
        """How far it is, in one line."""
        num = len(self._found)
        if self._is_unpacking:
            num_done = min(self._count_unpacked() - self._num_before, num)
            return f"unpacking: {num_done} of {num} packages"
        about = f"about {max(_ABOUT_PACKAGES, num)}" if self._is_whole else f"at least {num}"
        left_mb = max(_ABOUT_MB - self._came_mb, 0)
        left = f", about {left_mb:.0f} MB left" if self._is_whole else ""
        if not self._num_came:
            return f"looking for packages: {num} of {about} found"
        return f"downloading: {self._num_came} of {about} packages, {self._came_mb:.0f} MB{left}"

    def _count_unpacked(self) -> int:
        if self._packages is None:
            return 0
        return sum(1 for _ in self._packages.glob("*.dist-info"))


def _in_mb(size: str) -> float:
    number, _, unit = size.partition(" ")
    factor = {"kB": 1e-3, "MB": 1.0, "GB": 1e3}.get(unit, 1e-6)
    try:
        return float(number) * factor
    except ValueError:
        return 0.0


def _find_packages(python: Path) -> Path | None:
    return next(python.parents[1].glob("[Ll]ib*/**/site-packages"), None)


def _run_pip(command: list[str], progress: PipProgress, lock: IO[str]) -> int:
    """Run pip and show how far it is; it is ended when this program is told to end."""
    # Where files can be handed on it holds the lock too: a start that finds the rest of one that
    # was killed waits for its pip.
    files = (lock.fileno(),) if os.name != "nt" else ()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        pass_fds=files,
    ) as process:
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()  # pip's lines are few
        reader = threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            _follow(lines, progress)
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
            reader.join()


def _pass_on(output: IO[str], lines: "queue.Queue[str | None]") -> None:
    for line in output:
        lines.put(line.rstrip())
    lines.put(None)


def _follow(lines: "queue.Queue[str | None]", progress: PipProgress) -> None:
    """Show what pip does until it ends: on one line of a terminal, elsewhere now and then."""
    is_terminal = sys.stderr.isatty()
    shown, shown_s = "", 0.0
    while True:
        try:
            line = lines.get(timeout=0.5)
            if line is None:
                break
            progress.feed(line)
        except queue.Empty:
            pass
        now_s = time.monotonic()
        if (text := progress.describe()) == shown:
            continue
        if is_terminal:
            print(f"\r\x1b[K  {text}", end="", file=sys.stderr, flush=True)
        elif now_s - shown_s >= _LINE_EVERY_S:
            _say(f"  {text}")
        else:
            continue
        shown, shown_s = text, now_s
    if is_terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextmanager
def _only_one() -> Iterator[IO[str]]:
    """Be the only one who installs here, in any process; waits for others."""
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("a") as file:
        if not _try_lock(file):
            _say("Another start is still installing into .venv; waiting for it. Ctrl-C gives up.")
            while not _try_lock(file):
                time.sleep(0.2)
        yield file


def _try_lock(file: IO[str]) -> bool:
    """Lock the file until it is closed, by the last process that has it. False: another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _create() -> None:
    if not _runs(sys.executable, "-m", "venv", "--clear", _VENV):
        raise EnvironmentFailedError(
            "Python's venv module cannot work here. On Debian and Ubuntu: "
            "sudo apt install python3-venv"
        )


def _runs(*command: object) -> bool:
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def _fingerprint() -> str:
    digest = hashlib.sha256(str(ROOT).encode())
    for name in _INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _stamped() -> list[str]:
    try:
        return _STAMP.read_text().splitlines()
    except OSError:
        return []


def keep_caches_inside() -> None:
    """Set the variables of bootstrap/caches.py, which is a plain file until it is installed."""
    path = ROOT / "src" / "fishs2" / "bootstrap" / "caches.py"
    spec = importlib.util.spec_from_file_location("caches", path)
    assert spec is not None
    assert spec.loader is not None
    caches = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(caches)
    caches.keep_caches_inside(ROOT)


if __name__ == "__main__":
    keep_caches_inside()
    try:
        print(make_environment(*sys.argv[1:]))
    except EnvironmentFailedError as error:
        sys.exit(f"fishs2: {error}")
    except KeyboardInterrupt:
        _say(f"fishs2: {STOPPED}")
        sys.exit(130)
