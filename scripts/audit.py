"""Ask whether any package of constraints.txt has a known hole, with pip-audit.

    python3 scripts/audit.py

Standard library only: pip-audit gets an environment of its own, so that what it needs is not part
of ours. Ends with status 1 if there is a hole. Where pip-audit or its data cannot be had, a line
says so and the status is 0: a machine without the network cannot know.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_FOLDER = _ROOT / ".cache" / "audit"
_PIP_AUDIT = "pip-audit==2.10.1"
_PATIENCE_S = 300.0


class NoAnswerError(Exception):
    """It is not known whether there are holes; the message says why."""


def read_holes(report: str) -> list[str]:
    """One line per known hole in pip-audit's JSON. Raises NoAnswerError if it looked up nothing."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswerError("pip-audit gave no report") from error
    looked_up = [each for each in packages if "vulns" in each]
    if not looked_up:
        raise NoAnswerError("its data has none of the packages: it cannot be reached from here")
    return [
        f"{each['name']} {each['version']}: {hole['id']}, repaired in "
        f"{', '.join(hole['fix_versions']) or 'no version'}"
        for each in looked_up
        for hole in each["vulns"]
    ]


def _audit() -> str:
    """What pip-audit reports. Raises NoAnswerError."""
    if not (_FOLDER / "pyvenv.cfg").is_file():
        venv.create(_FOLDER, with_pip=True)
    python = _FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", _PIP_AUDIT])
    pins = str(_ROOT / "constraints.txt")
    # All pins are there, also of what is needed indirectly: nothing is to be resolved.
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-r", pins]
    return _run([str(python), "-m", "pip_audit", *options], accepts=(0, 1))


def _run(command: list[str], *, accepts: tuple[int, ...] = (0,)) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"no answer within {_PATIENCE_S:.0f} s") from error
    if done.returncode not in accepts:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise NoAnswerError(last[0])
    return done.stdout


def main() -> None:
    """Audit, and say what was found."""
    try:
        holes = read_holes(_audit())
    except (NoAnswerError, OSError) as error:
        print(f"audit: could not be made ({error})")
        return
    for hole in holes:
        print(f"audit: {hole}")
    print(f"audit: {len(holes)} known holes in constraints.txt")
    sys.exit(1 if holes else 0)


if __name__ == "__main__":
    main()
