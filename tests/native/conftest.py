"""The fake library in its two builds, compiled once, and engines around it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.watch import HostLimits
from fishs2.engines.s2cpp.engine import S2cppOptions, open_s2cpp
from tests.engines.s2.golden import MODEL_FILE, TOKENIZER_FILE
from tests.native.building import COMPILER, NO_COMPILER, build_library

QUICK = HostLimits(
    ping_s=0.02, silence_s=200, stall_s=200, abort_s=200, close_s=200, pause_s=0.01, open_s=0.05
)
HASTY = replace(QUICK, stall_s=0.5, abort_s=0.3, close_s=5)


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


def set_up(library: Path, folder: Path, *, limits: HostLimits = QUICK, **options: object) -> Bench:
    """An engine that is not yet started; its temporary files are in `folder / "temp"`."""
    values = {"model": MODEL_FILE, "tokenizer": TOKENIZER_FILE, "dll_path": library} | options
    made = S2cppOptions(runtime_dir=folder / "none", **values)  # type: ignore[arg-type]
    return Bench(open_s2cpp(made, limits=limits, temp_dir=folder / "temp"), folder)


@pytest.fixture(scope="session")
def steering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for what the libraries remember and trace."""
    folder = tmp_path_factory.mktemp("steering")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_S2_TRACE", str(folder / "trace"))
        patch.setenv("FAKE_S2_MARKS", str(folder))
        yield folder


@pytest.fixture
def steered(steering: Path) -> Path:
    """The same folder, with an empty trace."""
    (steering / "trace").unlink(missing_ok=True)
    return steering


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lasting_bench(libraries: dict[str, Path], steering: Path) -> AsyncIterator[Bench]:
    made = set_up(libraries["new"], steering)
    await made.engine.start()
    yield made
    await made.engine.close()
    assert list((steering / "temp").iterdir()) == []


@pytest.fixture
def bench(lasting_bench: Bench, steered: Path) -> Bench:
    """A started engine around the newer library, one for all tests of a module."""
    return lasting_bench
