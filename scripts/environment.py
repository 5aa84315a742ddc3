"""Make `.venv` with the project in it, or bring it up to date; print its interpreter.

    python3 scripts/environment.py [EXTRA ...]

Standard library only, any Python from 3.11 on. A stamp inside `.venv` says what it was made from,
so that an unchanged one costs nothing. run.py and test.sh use it.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_VENV = ROOT / ".venv"
_STAMP = _VENV / "fishs2-stamp"
_INPUTS = ("pyproject.toml", "constraints.txt")


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
    line = f"{_fingerprint()} [{','.join(sorted(extras))}]"
    is_running = Path(sys.prefix) == _VENV
    if line in _stamped() and (is_running or _runs(python, "-c", "")):
        return python
    if not python.exists() or not _runs(python, "-m", "pip", "--version"):
        _create()
    target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    constraints = str(ROOT / "constraints.txt")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--constraint", constraints, "--editable", target]).returncode != 0:
        raise EnvironmentFailedError("the packages could not be installed; pip says above why")
    # Lines of another state of the files would vouch for packages that are gone.
    kept = [old for old in _stamped() if old.startswith(_fingerprint())]
    _STAMP.write_text("\n".join([*kept, line]) + "\n")
    return python


def _create() -> None:
    print("Making the environment in .venv (once, about a minute) ...", file=sys.stderr)
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
