"""Reads the header of a safetensors file.

Our own reader, like `gguf`: bytes are read when a tensor is taken, without mapping the file, and
every number of the header is checked before it is used.
Source: https://github.com/huggingface/safetensors#format
"""

import json
import re
from math import prod
from pathlib import Path
from struct import Struct

from fishs2.engines.s2.weights.quant import BF16, F8, F16, F32
from fishs2.engines.s2.weights.tensors import StoredTensor, stored_in_file
from fishs2.errors import EngineUnavailableError

MAX_HEADER_BYTES = 16 << 20  # the shards of S2 Pro have less than 100 kB
_FLOAT_TYPES = {"F32": F32, "F16": F16, "BF16": BF16, "F8_E4M3": F8}
_BUFFER_NAME = re.compile(r"(freqs_cis|causal_mask)$")
"""What some exporters write and no class declares (spec 1.2, 8.2), in whatever type."""
_GPTQ_NAME = re.compile(r"\.(qweight|qzeros|g_idx)$")
_U64 = Struct("<Q")


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of the file at `path` by name.

    Raises EngineUnavailableError for a file that is missing, truncated or damaged, and for types
    that have no meaning here: a tensor that is left out would be called missing.
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
    if block is None and is_buffer(name):
        return None
    if block is None:
        raise unknown_type(path, name, kind)
    if prod(shape) * block.num_bytes != end - begin:
        raise _damaged(path, f"tensor {name[:80]!r} with {end - begin} bytes for {shape} {kind}")
    return stored_in_file(path, name, shape=tuple(shape), kind=block, offset_bytes=start + begin)


def is_buffer(name: str) -> bool:
    """Whether a tensor of that official name is computed here and need not be read."""
    return _BUFFER_NAME.search(name) is not None


def unknown_type(path: Path, name: str, kind: str) -> EngineUnavailableError:
    """The error for a tensor of a type that is not read here."""
    found = f"{path.name} has tensor {name[:80]!r} of type {kind[:20]}"
    if _GPTQ_NAME.search(name):
        return EngineUnavailableError(
            f"{found}: it is quantised by GPTQ or AWQ, which fishs2 does not read; take a GGUF "
            "file of S2 Pro, or its official files"
        )
    return EngineUnavailableError(
        f"{found}, which fishs2 does not read; it reads {', '.join(_FLOAT_TYPES)}, and GGUF files"
    )


def _damaged(path: Path, found: str) -> EngineUnavailableError:
    return EngineUnavailableError(f"{path.name} is not a readable safetensors file: {found}")
