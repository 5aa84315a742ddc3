"""Fixtures that several folders share."""

import os
from collections.abc import Iterator

import pytest
import torch

from tests.serving import server_process

# The models in the tests are tiny: more threads, here or in the servers that tests start, would
# only wait for each other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"


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
