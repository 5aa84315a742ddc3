"""Fixtures that several folders share."""

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.serving import server_process

# The models in the tests are tiny: more threads, here or in the servers that tests start, would
# only wait for each other.
torch.set_num_threads(1)
if not torch.cuda.is_available():
    # Triton reads this when it is imported: the kernels run on CPU tensors then.
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

# A shell that starts the suite in the background has it ignore Ctrl-C, and its children with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where Python is told to keep no bytecode, each server and command would compile all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples in every run and no limit of time; `--hypothesis-profile=search` looks for new
# ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=2_000)
settings.load_profile("same")


_STARTED_S = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what CI is asked to hold: how long it took, and that nothing was left out."""
    num_skipped = len(terminalreporter.stats.get("skipped", []))
    skipped = f"{num_skipped} skipped, see above" if num_skipped else "nothing skipped"
    terminalreporter.write_line(f"tests took {time.monotonic() - _STARTED_S:.0f} s; {skipped}")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """The suite means the same on every machine, whatever its environment says."""
    for name in [name for name in os.environ if name.upper().startswith("FISHS2_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def builtin_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server process with the `builtin` engine."""
    with server_process(tmp_path_factory.mktemp("server")) as url:
        yield url
