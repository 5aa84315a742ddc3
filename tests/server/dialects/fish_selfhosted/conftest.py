"""One server process with a recording engine for fish-speech's own API."""

from collections.abc import Iterator

import pytest

from tests.server.recorded import Recorded, recording_server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    with recording_server(tmp_path_factory.mktemp("selfhosted")) as server:
        yield server
