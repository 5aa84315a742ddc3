"""What docs/benchmarks.md says to run on a GPU machine starts with what such a machine has."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bare import Absent

ROOT = Path(__file__).resolve().parents[3]
_ASSIGNED = re.compile(r"[A-Z]+=")


def documented(words: str) -> list[str]:
    """The arguments of `python3 -m` on the documented line that has these words in it."""
    lines = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    (line,) = [each for each in lines if each.startswith("PYTHONPATH") and words in each]
    parts = [each for each in shlex.split(line) if not _ASSIGNED.match(each)]
    assert parts[:2] == ["python3", "-m"]
    return parts[2:]


def run_bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bare", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src:.", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_gpu_tests_are_found_where_nothing_but_pytorch_is() -> None:
    done = run_bare(*documented("-m pytest"), "--collect-only", "-q")

    assert done.returncode == 0, done.stdout + done.stderr
    found = set(re.findall(r"::(test_\w+)", done.stdout))
    source = Path(__file__).with_name("test_gpu.py").read_text(encoding="utf-8")
    assert found == set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))


def test_benchmark_starts_where_nothing_but_pytorch_is() -> None:
    done = run_bare(documented("s2_gpu")[0], "--help")

    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout


def test_the_bare_machine_has_no_web_packages() -> None:
    missing = {"fastapi", "pydantic", "uvicorn", "httpx", "hypothesis", "tokenizers", "numba"}
    absent = Absent()

    for name in missing:
        with pytest.raises(ModuleNotFoundError, match=f"a bare machine has no {name}"):
            absent.find_spec(name, None)
    for name in ("torch", "numpy", "pytest", "json", "fishs2"):
        assert absent.find_spec(name, None) is None
