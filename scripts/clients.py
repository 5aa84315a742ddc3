"""Bring other projects' clients for the tests marked `clients` into `.cache`.

Needs pip, npm and their indexes; about 800 MB. They have an environment of their own, as none is a
dependency. Prints the folder.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".cache" / "clients"
PYTHON = FOLDER / "python" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
NODE_MODULES = FOLDER / "node_modules"

_PYTHON_PACKAGES = ("livekit-plugins-elevenlabs==1.8.9", "pipecat-ai==1.14.0")
_NODE_PACKAGES = ("@elevenlabs/elevenlabs-js@2.73.0",)


def bring() -> Path:
    """The folder of the clients; what is there of them already stays."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm was not found: install Node.js with npm, then run this again")
    # A package of its own, or npm would look for one above it.
    (FOLDER / "package.json").write_text('{"private": true}\n')
    command = (npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *_NODE_PACKAGES)
    subprocess.run(command, cwd=FOLDER, check=True)
    if not PYTHON.exists():
        venv.create(FOLDER / "python", with_pip=True)
    pip = (PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    subprocess.run((*pip, *_PYTHON_PACKAGES), check=True)
    return FOLDER


if __name__ == "__main__":
    print(bring())
