"""The first start from a checkout: what it shows, and that it can be stopped and started twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from scripts import environment
from scripts.environment import PipProgress
from tests.serving import PATIENCE_S

ROOT = Path(__file__).resolve().parent.parent
PIP_SAYS = """\
Obtaining file:///checkout
Collecting numpy<3,>=2 (from fishs2==0.1.0)
  Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (62 kB)
Collecting Hf_Xet (from huggingface-hub->fishs2==0.1.0)
  Downloading hf_xet-1.8.0-cp311-abi3-manylinux_2_28_x86_64.whl.metadata (5 kB)
Downloading numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.9 MB)
Using cached hf_xet-1.8.0-cp311-abi3-manylinux_2_28_x86_64.whl (3,300 kB)
Installing collected packages: numpy, hf-xet, fishs2
"""
# Stands for the Python of `.venv`: its pip writes down that it was called, and takes until `go`.
PYTHON = """\
#!/bin/sh
cd "{folder}"
case "$*" in
"-m pip install "*)
    echo $$ >> called
    echo "Collecting numpy"
    while [ ! -e go ]; do sleep 0.02; done
    echo "Installing collected packages: numpy" ;;
*run.py*) echo "the server starts" ;;
esac
"""
# Stands for pip in a `.venv` that is a real one: installs the project as pip does, for the next
# Python that starts.
PIP = """\
import site, sys
if "install" in sys.argv:
    with open(site.getsitepackages()[0] + "/fishs2.pth", "w") as file:
        file.write(sys.argv[-1] + "/src")
"""
LAUNCH = """\
def launch(flags):
    print("the server starts")
    return 0
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose packages are still to be installed."""
    for name in ("run.py", "pyproject.toml", "constraints.txt", "src/fishs2/bootstrap/caches.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    lay_down_python(tmp_path)
    return tmp_path


def lay_down_python(folder: Path) -> None:
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.format(folder=folder))
    python.chmod(0o755)


def start(checkout: Path, python: Path | None = None) -> subprocess.Popen[str]:
    """Start as a person does who has nothing but Python, or with the Python that run.sh found."""
    base = str(python) if python else getattr(sys, "_base_executable", sys.executable)
    clean = {name: value for name, value in os.environ.items() if name != "CONDA_PREFIX"}
    return subprocess.Popen(
        [base, str(checkout / "run.py")],
        cwd=checkout,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(is_true: object) -> None:
    assert callable(is_true)
    while not is_true():
        time.sleep(0.02)


posix = pytest.mark.skipif(os.name == "nt", reason="the Python that is made up is a shell script")


@posix
def test_interrupted_installation_ends_with_one_line_and_the_next_start_goes_on(
    checkout: Path,
) -> None:
    with start(checkout) as first:
        assert first.stderr is not None
        # It follows what pip says, so that whatever comes finds it at that.
        while "looking for packages" not in first.stderr.readline():
            assert first.poll() is None
        first.send_signal(signal.SIGINT)
        said = first.stderr.read()
    pip = int((checkout / "called").read_text())

    assert first.returncode == 128 + signal.SIGINT
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("fishs2: stopped;")
    with pytest.raises(ProcessLookupError):
        os.kill(pip, 0)

    (checkout / "go").touch()
    second = start(checkout)
    output, said = second.communicate(timeout=PATIENCE_S)

    assert (second.returncode, output) == (0, "the server starts\n"), said


@posix
def test_second_start_says_that_the_first_still_installs_and_waits(checkout: Path) -> None:
    first = start(checkout)
    wait_for((checkout / "called").exists)
    second = start(checkout)
    assert second.stderr is not None
    said = second.stderr.readline()
    (checkout / "go").touch()

    outputs = [each.communicate(timeout=PATIENCE_S)[0] for each in (first, second)]

    assert "still installing" in said
    assert outputs == ["the server starts\n"] * 2
    assert len((checkout / "called").read_text().splitlines()) == 1


@posix
def test_start_goes_on_in_an_environment_whose_installation_was_stopped(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    venv.create(checkout / ".venv", symlinks=True)
    for name, text in {"cli/launch.py": LAUNCH, "cli/__init__.py": "", "__init__.py": ""}.items():
        (checkout / "src" / "fishs2" / name).parent.mkdir(exist_ok=True)
        (checkout / "src" / "fishs2" / name).write_text(text)
    packages = next((checkout / ".venv").glob("lib/*/site-packages"))
    (packages / "pip").mkdir()
    (packages / "pip" / "__main__.py").write_text(PIP)

    started = start(checkout, checkout / ".venv" / "bin" / "python")
    output, said = started.communicate(timeout=PATIENCE_S)

    assert (started.returncode, output) == (0, "the server starts\n"), said


@posix
def test_size_and_progress_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / ".venv"
    for name, value in {
        "_VENV": made,
        "_STAMP": made / "fishs2-stamp",
        "_LOCK": tmp_path / "lock",
        "_create": lambda: lay_down_python(tmp_path),
    }.items():
        monkeypatch.setattr(environment, name, value)
    (tmp_path / "go").touch()

    environment.make_environment()

    lines = capsys.readouterr().err.splitlines()
    assert "packages" in lines[0]
    assert "MB to download" in lines[0]
    assert "1 of about" in lines[1]
    assert "ready" in lines[-1]


def test_progress_says_what_came_and_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "pip-23.dist-info").mkdir()
    progress = PipProgress(tmp_path, is_whole=True)
    said = []
    for line in PIP_SAYS.splitlines():
        progress.feed(line)
        said.append(progress.describe())
    (tmp_path / "numpy-2.dist-info").mkdir()

    assert said[4] == "looking for packages: 2 of about 50 found"
    assert said[5] == "downloading: 1 of about 50 packages, 17 MB, about 73 MB left"
    assert said[7] == "unpacking: 0 of 2 packages"
    assert progress.describe() == "unpacking: 1 of 2 packages"
