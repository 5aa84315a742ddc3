"""The header of a GGUF file as it stands in the file: metadata and where the tensors begin.

Knows no tensor types and no torch; `gguf` gives the types their meaning. Our own reader, not the
`gguf` package: that one builds Python objects for every array element, maps the whole file and
trusts every count, so a damaged header can hang it. Here each count is bounded by the bytes that
are left before anything is allocated. Tests compare it with the package.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from struct import Struct
from struct import error as StructError

import numpy as np

from fishs2.errors import EngineUnavailableError

MAX_HEADER_BYTES = 64 << 20  # a tokenizer of 200,000 strings takes 6 MB
MAX_TENSORS = 1 << 16
_MAX_DIMS = 4  # ggml's GGML_MAX_DIMS
_DEFAULT_ALIGNMENT = 32

_SCALARS: dict[int, np.dtype[np.generic]] = {
    0: np.dtype("<u1"),
    1: np.dtype("<i1"),
    2: np.dtype("<u2"),
    3: np.dtype("<i2"),
    4: np.dtype("<u4"),
    5: np.dtype("<i4"),
    6: np.dtype("<f4"),
    7: np.dtype("?"),
    10: np.dtype("<u8"),
    11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}
_STRING, _ARRAY = 8, 9
_U32, _U64, _MAGIC = Struct("<I"), Struct("<Q"), b"GGUF"

MetadataValue = str | bool | int | float | list[str] | list[bool] | list[int] | list[float]


@dataclass(frozen=True, slots=True)
class RawTensor:
    """An entry of the tensor table. shape: torch order, slowest first. kind: ggml's number.

    offset_bytes: from the start of the data.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class RawHeader:
    """Everything in a GGUF file except the weights.

    kinds: GGUF's number of each metadata value's type. start_bytes: where the data begins.
    file_bytes: size of the whole file.
    """

    path: Path
    metadata: dict[str, MetadataValue]
    kinds: dict[str, int]
    tensors: list[RawTensor]
    start_bytes: int
    file_bytes: int


class _Cursor:
    """Reads the header forward and refuses to go past the file or the header limit."""

    def __init__(self, file: BufferedReader, *, file_bytes: int, name: str) -> None:
        self._file = file
        self._limit = min(file_bytes, MAX_HEADER_BYTES)
        self.offset = 0
        self.name = name

    def take(self, num_bytes: int) -> bytes:
        if num_bytes > self._limit - self.offset:
            raise EngineUnavailableError(
                f"{self.name} ends inside its header at byte {self.offset}: {num_bytes} more bytes "
                f"expected, {self._limit - self.offset} found; the file is truncated or damaged"
            )
        taken = self._file.read(num_bytes)
        self.offset += num_bytes
        return taken

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def string(self) -> str:
        raw = self.take(self.u64())
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.damaged("a string that is not UTF-8") from error

    def damaged(self, found: str) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"{self.name} is not a readable GGUF file: {found} before byte {self.offset}"
        )


def read_raw_header(path: Path) -> RawHeader:
    """Read metadata and tensor table of the GGUF file at `path`.

    Raises EngineUnavailableError for a file that is missing, foreign, truncated or damaged.
    """
    try:
        with path.open("rb") as file:
            file_bytes = path.stat().st_size
            return _read_header(_Cursor(file, file_bytes=file_bytes, name=path.name), path=path)
    except OSError as error:
        raise EngineUnavailableError(f"{path.name} cannot be read: {error.strerror}") from error
    except StructError as error:  # the file shrank while it was read
        raise EngineUnavailableError(f"{path.name} changed while it was read") from error


def _read_header(cursor: _Cursor, *, path: Path) -> RawHeader:
    magic = cursor.take(4)
    if magic != _MAGIC:
        raise EngineUnavailableError(
            f"{path.name} is not a GGUF file: it starts with {magic!r}, expected {_MAGIC!r}"
        )
    version = cursor.u32()
    if version not in (2, 3):
        raise EngineUnavailableError(f"{path.name} is GGUF version {version}; expected 2 or 3")
    num_tensors, num_values = cursor.u64(), cursor.u64()
    if num_tensors > MAX_TENSORS or num_values > MAX_TENSORS:
        raise cursor.damaged(f"{num_tensors} tensors and {num_values} values announced")
    metadata: dict[str, MetadataValue] = {}
    kinds: dict[str, int] = {}
    for _ in range(num_values):
        key = cursor.string()
        if key in metadata:
            raise cursor.damaged(f"the key {key[:80]!r} twice")
        kinds[key] = cursor.u32()
        metadata[key] = _read_value(cursor, kinds[key])
    tensors = [_read_tensor_entry(cursor) for _ in range(num_tensors)]
    start_bytes = _data_offset(cursor, metadata)
    return RawHeader(path, metadata, kinds, tensors, start_bytes, path.stat().st_size)


def _read_value(cursor: _Cursor, kind: int) -> MetadataValue:
    if kind == _STRING:
        return cursor.string()
    if kind == _ARRAY:
        item_kind, num_items = cursor.u32(), cursor.u64()
        if item_kind == _STRING:
            # Every string takes at least its length field, so the cursor bounds this loop.
            return [cursor.string() for _ in range(num_items)]
        array = np.frombuffer(
            cursor.take(num_items * _scalar(cursor, item_kind).itemsize), _SCALARS[item_kind]
        )
        items: list[int] = array.tolist()
        return items
    value: int = np.frombuffer(cursor.take(_scalar(cursor, kind).itemsize), _SCALARS[kind])[
        0
    ].item()
    return value


def _scalar(cursor: _Cursor, kind: int) -> np.dtype[np.generic]:
    if kind not in _SCALARS:
        raise cursor.damaged(f"a value of unknown type {kind}")
    return _SCALARS[kind]


def _read_tensor_entry(cursor: _Cursor) -> RawTensor:
    name = cursor.string()
    num_dims = cursor.u32()
    if num_dims > _MAX_DIMS:
        raise cursor.damaged(f"tensor {name[:80]!r} with {num_dims} dimensions")
    shape = tuple(reversed([cursor.u64() for _ in range(num_dims)]))
    return RawTensor(name, shape, cursor.u32(), cursor.u64())


def _data_offset(cursor: _Cursor, metadata: dict[str, MetadataValue]) -> int:
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise cursor.damaged(f"an alignment of {str(alignment)[:80]}")
    return -(-cursor.offset // alignment) * alignment
