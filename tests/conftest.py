"""Fixtures that several folders share."""

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.serving import server_process

# The models in the tests are tiny: more threads, here or in the servers that tests start, would
# only wait for each other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

# A shell that starts the suite in the background has it ignore Ctrl-C, and its children with it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run and no limit of time; `--hypothesis-profile=search` looks for new
# ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=2_000)
settings.load_profile("same")


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
