import tracemalloc
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishs2.engines.s2.weights.gguf import read_gguf_header
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import MODEL_FILE

REUSE = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "fish-speech")
    writer.add_uint32("a.number", 7)
    writer.add_array("a.list", [1, 2, 3])
    writer.add_array("a.words", ["x", "yz"])
    writer.add_string("a.text", "hello")
    writer.add_tensor("one", np.arange(8, dtype=np.float32).reshape(2, 4))
    writer.add_tensor("two", np.ones((3, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def read_or_refuse(path: Path, content: bytes) -> None:
    """Read damaged content; anything but success or our error fails the test."""
    path.write_bytes(content)
    tracemalloc.start()
    with suppress(EngineUnavailableError):
        read_gguf_header(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < len(content) + (1 << 20)


def test_header_agrees_with_the_gguf_package() -> None:
    ours = read_gguf_header(MODEL_FILE)
    theirs = gguf.GGUFReader(MODEL_FILE)

    assert [
        (entry.name, entry.shape, entry.type.name, entry.offset_bytes, entry.num_bytes)
        for entry in ours.tensors.values()
    ] == sorted(
        (
            (
                entry.name,
                tuple(reversed(entry.shape.tolist())),
                entry.tensor_type.name,
                entry.data_offset,
                entry.n_bytes,
            )
            for entry in theirs.tensors
        ),
        key=lambda entry: entry[3],
    )
    for key, value in ours.metadata.items():
        field = theirs.get_field(key)
        assert field is not None
        assert field.contents() == value


def test_strings_lists_and_quantised_tensors_are_read(tmp_path: Path, small_file: bytes) -> None:
    path = tmp_path / "small.gguf"
    path.write_bytes(small_file)

    header = read_gguf_header(path)

    assert header.metadata["a.list"] == [1, 2, 3]
    assert header.metadata["a.words"] == ["x", "yz"]
    assert header.tensors["two"].shape == (3, 32)
    assert header.tensors["two"].type.name == "Q8_0"


@REUSE
@given(data=st.data())
def test_a_damaged_header_is_refused_or_read(
    data: st.DataObject, tmp_path: Path, small_file: bytes
) -> None:
    content = bytearray(small_file)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 8))
        piece = data.draw(
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.integers(0, 2**64 - 1).map(lambda number: number.to_bytes(8, "little")),
            )
        )
        content[start : start + len(piece)] = piece
    read_or_refuse(tmp_path / "damaged.gguf", bytes(content))


@REUSE
@given(data=st.data())
def test_a_truncated_file_is_refused(
    data: st.DataObject, tmp_path: Path, small_file: bytes
) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(small_file[: data.draw(st.integers(0, len(small_file) - 60))])
    with pytest.raises(EngineUnavailableError, match=r"short\.gguf"):
        read_gguf_header(path)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="cannot be read"):
        read_gguf_header(tmp_path / "none.gguf")
    (tmp_path / "foreign.gguf").write_bytes(b"RIFF" * 10)
    with pytest.raises(EngineUnavailableError, match="starts with b'RIFF', expected b'GGUF'"):
        read_gguf_header(tmp_path / "foreign.gguf")
