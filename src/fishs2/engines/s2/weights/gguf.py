"""What lies in a GGUF file: metadata, and tensors whose types the s2 engine knows; no torch."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from fishs2.engines.s2.weights.block_sizes import BLOCK_SIZES, BlockSize
from fishs2.engines.s2.weights.gguf_header import (
    MetadataValue,
    RawHeader,
    RawTensor,
    read_raw_header,
)
from fishs2.errors import EngineUnavailableError


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor lies. shape: torch order, slowest first. offset_bytes: from the file start.

    kind: the number of its type.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    type: BlockSize
    offset_bytes: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything in a GGUF file except the weights. file_bytes: size of the whole file."""

    path: Path
    metadata: dict[str, MetadataValue]
    tensors: dict[str, GgufTensor]
    file_bytes: int


def read_gguf_header(path: Path) -> GgufHeader:
    """Read metadata and tensor table of the GGUF file at `path`.

    Raises EngineUnavailableError for a file that is missing, foreign, truncated or damaged, or that
    has tensors of a type that we do not know.
    """
    raw = read_raw_header(path)
    found = [_give_type(entry, raw) for entry in raw.tensors]
    tensors = _place_tensors(
        found, start=raw.start_bytes, file_bytes=raw.file_bytes, name=path.name
    )
    return GgufHeader(path, raw.metadata, tensors, raw.file_bytes)


def check_architecture(header: GgufHeader) -> str:
    """The architecture of the model. Raises EngineUnavailableError for one that is none of ours."""
    found = str(header.metadata.get("general.architecture"))
    if found not in ("fish-speech", "fish-speech-codec"):
        raise EngineUnavailableError(
            f"{header.path.name} holds a {found[:40]!r} model; expected 'fish-speech'"
        )
    return found


def _give_type(entry: RawTensor, header: RawHeader) -> GgufTensor:
    """The entry with its type; its offset still counts from the start of the data."""
    name, shape, kind = entry.name, entry.shape, entry.kind
    if kind not in BLOCK_SIZES:
        known = ", ".join(block.name for block in BLOCK_SIZES.values())
        raise _damaged(header, f"tensor {name[:80]!r} of type {kind}, which is none of {known}")
    block = BLOCK_SIZES[kind]
    row = shape[-1] if shape else 1
    if row % block.num_elements:
        raise _damaged(
            header, f"tensor {name[:80]!r} with rows of {row}, no multiple of {block.num_elements}"
        )
    num_bytes = prod(shape) // block.num_elements * block.num_bytes
    return GgufTensor(name, shape, kind, block, entry.offset_bytes, num_bytes)


def _damaged(header: RawHeader, found: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{header.path.name} is not a readable GGUF file: {found} before byte {header.start_bytes}"
    )


def _place_tensors(
    entries: list[GgufTensor], *, start: int, file_bytes: int, name: str
) -> dict[str, GgufTensor]:
    """Entries by name, with offsets from the file start, each inside the file and on its own."""
    placed: dict[str, GgufTensor] = {}
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset_bytes):
        stop = start + entry.offset_bytes + entry.num_bytes
        if entry.name in placed or entry.offset_bytes < end:
            raise EngineUnavailableError(
                f"{name}: tensor {entry.name[:80]!r} occurs twice or overlaps another one"
            )
        if stop > file_bytes:
            raise EngineUnavailableError(
                f"{name} is truncated: tensor {entry.name[:80]!r} ends at byte {stop}, the file "
                f"has {file_bytes}; download it again"
            )
        end = entry.offset_bytes + entry.num_bytes
        placed[entry.name] = GgufTensor(
            entry.name,
            entry.shape,
            entry.kind,
            entry.type,
            start + entry.offset_bytes,
            entry.num_bytes,
        )
    return placed
