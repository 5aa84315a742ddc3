"""Reads the header of a safetensors file.

Our own reader, like `gguf`: bytes are read when a tensor is taken, without mapping the file, and
every number of the header is checked before it is used.
Source: https://github.com/huggingface/safetensors#format
"""

import json
from math import prod
from pathlib import Path
from struct import Struct

from fishs2.engines.s2.quant import BF16, F16, F32
from fishs2.engines.s2.tensors import StoredTensor, stored_in_file
from fishs2.errors import EngineUnavailableError

MAX_HEADER_BYTES = 16 << 20  # the shards of S2 Pro have less than 100 kB
_FLOAT_TYPES = {"F32": F32, "F16": F16, "BF16": BF16}
_U64 = Struct("<Q")


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The float tensors of the file at `path` by name; those of other types are left out.

    Raises EngineUnavailableError for a file that is missing, truncated or damaged.
    """
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(_U64.size)
            num_bytes = _U64.unpack(prefix)[0] if len(prefix) == _U64.size else 0
            if not 2 <= num_bytes <= min(MAX_HEADER_BYTES, file_bytes - _U64.size):
                raise _damaged(path, f"a header of {num_bytes} bytes")
            header = json.loads(file.read(num_bytes))
    except OSError as error:
        raise EngineUnavailableError(f"{path.name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "a header that is no JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "a header that is no object")
    start = _U64.size + num_bytes
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        if name != "__metadata__":
            stored = _read_entry(path, name, entry, start=start, file_bytes=file_bytes)
            if stored is not None:
                tensors[name] = stored
    return tensors


def _read_entry(
    path: Path, name: str, entry: object, *, start: int, file_bytes: int
) -> StoredTensor | None:
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise _damaged(path, f"an entry for {name[:80]!r} without type, shape or place")
    if not all(isinstance(item, int) and 0 <= item < 1 << 40 for item in shape):
        raise _damaged(path, f"tensor {name[:80]!r} with shape {str(shape)[:80]}")
    if not 0 <= begin <= end <= file_bytes - start:
        raise EngineUnavailableError(
            f"{path.name} is truncated: tensor {name[:80]!r} ends at byte {start + end}, the file "
            f"has {file_bytes}; download it again"
        )
    block = _FLOAT_TYPES.get(kind)
    if block is None:
        return None
    if prod(shape) * block.num_bytes != end - begin:
        raise _damaged(path, f"tensor {name[:80]!r} with {end - begin} bytes for {shape} {kind}")
    return stored_in_file(path, name, shape=tuple(shape), kind=block, offset_bytes=start + begin)


def _damaged(path: Path, found: str) -> EngineUnavailableError:
    return EngineUnavailableError(f"{path.name} is not a readable safetensors file: {found}")
