"""One server process with a recording engine for all dialects; who needs another has its own."""

from collections.abc import Iterator

import pytest

from tests.server.recorded import Recorded, recording_server


@pytest.fixture(scope="package")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "audio").mkdir()
    with recording_server(folder, FISHS2_REFERENCE_ROOTS=str(folder / "audio")) as server:
        assert server.upload("sample_male").status_code == 200
        yield server
