"""Damaged files are read or refused, by a process that has limits: it neither crashes nor grows."""

import subprocess
import sys

import pytest

from tests.fuzz.child import KINDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are set as Linux has them")


def read_damaged(kind: str, num: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.fuzz.child", kind, str(num), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-500:]} {done.stderr[-2_000:]}"
    assert done.stdout.endswith(f"read {num}\n")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind: str) -> None:
    read_damaged(kind, 300, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_read_or_refused(kind: str) -> None:
    read_damaged(kind, 10_000, seed=2)
