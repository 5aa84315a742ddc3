"""The fake library in its two builds, compiled once, and engines around it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fishs2.engines.host import HostedEngine
from fishs2.engines.host_link import HostLimits
from fishs2.engines.s2cpp import S2cppOptions, open_s2cpp
from tests.engines.s2.golden import MODEL_FILE, TOKENIZER_FILE
from tests.native.building import COMPILER, NO_COMPILER, build_library

QUICK = HostLimits(ping_s=0.02, silence_s=1, stall_s=0.5, abort_s=0.3, pause_s=0.01, open_s=0.05)


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The library with the newer exports and with the older ones, each in a folder of its own."""
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
    folder = tmp_path_factory.mktemp("native")
    return {
        "new": build_library(folder / "new"),
        "old": build_library(folder / "old", "-DOLD_EXPORTS"),
    }


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine around a fake library. folder: with its marks, and its trace of calls."""

    engine: HostedEngine
    folder: Path

    def trace(self) -> list[str]:
        """What the library was called for, in order."""
        path = self.folder / "trace"
        return path.read_text().splitlines() if path.exists() else []


def set_up(library: Path, folder: Path, **options: object) -> Bench:
    """An engine that is not yet started; its temporary files are in `folder / "temp"`."""
    values = {"model": MODEL_FILE, "tokenizer": TOKENIZER_FILE, "dll_path": library} | options
    made = S2cppOptions(runtime_dir=folder / "none", **values)  # type: ignore[arg-type]
    return Bench(open_s2cpp(made, limits=QUICK, temp_dir=folder / "temp"), folder)


@pytest.fixture
def steered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what the library remembers and traces."""
    monkeypatch.setenv("FAKE_S2_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("FAKE_S2_MARKS", str(tmp_path))
    return tmp_path


@pytest.fixture
async def bench(libraries: dict[str, Path], steered: Path) -> AsyncIterator[Bench]:
    """A started engine around the newer library."""
    made = set_up(libraries["new"], steered)
    await made.engine.start()
    yield made
    await made.engine.close()
    assert list((steered / "temp").iterdir()) == []
