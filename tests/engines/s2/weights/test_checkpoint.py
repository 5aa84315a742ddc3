import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishs2.engines.s2.weights.checkpoint import open_weights
from fishs2.engines.s2.weights.safetensors import open_safetensors
from fishs2.engines.s2.weights.tensors import read_dense
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import CODEC_FILE, MODEL_FILE, MODEL_FOLDER


def test_gguf_holds_the_official_weights_rounded_to_float16() -> None:
    file = open_weights(MODEL_FILE).tensors
    official = {**open_weights(MODEL_FOLDER).tensors, **open_weights(CODEC_FILE).tensors}

    assert file.keys() == official.keys()
    for name, stored in file.items():
        ours = read_dense(stored, torch.float16)
        theirs = read_dense(official[name], torch.float32).half()
        assert ours.shape == theirs.shape, name
        # One unit in the last place for folded weight norm, zero elsewhere.
        steps = (ours.view(torch.int16).int() - theirs.view(torch.int16).int()).abs().max()
        assert steps <= (1 if "conv.weight" in name or "proj.weight" in name else 0), name


def test_the_names_are_those_of_the_published_file() -> None:
    names = open_weights(MODEL_FILE).tensors.keys()

    assert "layers.0.attention.wqkv.weight" in names
    assert "fast_output.weight" in names
    assert "c.quantizer.quantizer.quantizers.8.out_proj.weight" in names


def test_a_pickled_codec_reads_as_its_safetensors(tmp_path: Path) -> None:
    shutil.copytree(MODEL_FOLDER, tmp_path / "model")
    plain = open_safetensors(CODEC_FILE)
    state = {f"generator.{name}": read_dense(item, torch.float32) for name, item in plain.items()}
    state["generator.quantizer.pre_module.causal_mask"] = torch.ones(2, 2, dtype=torch.bool)
    torch.save(state, tmp_path / "model" / "codec.pth")

    folder = open_weights(tmp_path / "model")

    expected = open_weights(CODEC_FILE).tensors
    assert {name for name in folder.tensors if name.startswith("c.")} == expected.keys()
    name = "c.encoder.block.0.conv.weight"
    assert torch.equal(
        read_dense(folder.tensors[name], torch.float32), read_dense(expected[name], torch.float32)
    )


def save_file(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors."""
    header, start = {}, 0
    kinds = {torch.float32: "F32", torch.float8_e4m3fn: "F8_E4M3", torch.int32: "I32"}
    kinds |= {torch.uint8: "U8", torch.bool: "BOOL"}
    for name, values in tensors.items():
        end = start + values.nbytes
        header[name] = {
            "dtype": kinds[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header).encode()
    data = b"".join(
        values.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for values in tensors.values()
    )
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_projections_that_are_kept_apart_are_joined(tmp_path: Path) -> None:
    plain = {
        name: read_dense(item, torch.float32)
        for name, item in open_safetensors(MODEL_FOLDER / "model.safetensors").items()
    }
    apart = dict(plain)
    for name in plain:
        if name.endswith("wqkv.weight"):
            width = (plain[name].shape[0] - plain[name].shape[1]) // 2
            sizes = [plain[name].shape[0] - 2 * width, width, width]
            for part, rows in zip("qkv", torch.split(apart.pop(name), sizes), strict=True):
                apart[name.replace("wqkv", f"w{part}")] = rows.contiguous()
    folder = tmp_path / "model"
    shutil.copytree(MODEL_FOLDER, folder)
    save_file(apart, folder / "model.safetensors")

    joined, expected = open_weights(folder).tensors, open_weights(MODEL_FOLDER).tensors

    assert joined.keys() == expected.keys()
    for name, stored in joined.items():
        assert torch.equal(
            read_dense(stored, torch.float32), read_dense(expected[name], torch.float32)
        )
    del apart[next(name for name in apart if name.endswith("attention.wk.weight"))]
    save_file(apart, folder / "model.safetensors")
    with pytest.raises(EngineUnavailableError, match=r"has no .*wk"):
        open_weights(folder)


def golden_folder(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """The golden checkpoint with other tensors."""
    tensors = {
        name: read_dense(item, torch.float32)
        for name, item in open_safetensors(MODEL_FOLDER / "model.safetensors").items()
    }
    change(tensors)
    shutil.copytree(MODEL_FOLDER, folder)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("ending", [".weight.scale", ".weight_scale", ".scale_weight"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), ()], ids=str)
def test_eight_bit_floats_are_multiplied_by_the_scales_beside_them(
    ending: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    expected: dict[str, torch.Tensor] = {}

    def quantise(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.endswith("w2.weight")]:
            largest = tensors[name].abs().amax(1) if shape else tensors[name].abs().max()
            scale = largest.reshape(shape) / 448
            rows = scale.reshape(-1, 1)
            tensors[name] = (tensors[name] / rows).to(torch.float8_e4m3fn)
            tensors[name.removesuffix(".weight") + ending] = scale
            expected[name] = tensors[name].float() * rows

    found = open_weights(golden_folder(tmp_path / "fp8", quantise)).tensors

    assert found.keys() == open_weights(MODEL_FOLDER).tensors.keys()
    for name, values in expected.items():
        short = name.removeprefix("text_model.model.").replace("audio_decoder.", "fast_")
        assert torch.equal(read_dense(found[short], torch.float32), values)
    assert len(expected) == 4


def test_scales_that_fit_no_row_are_refused(tmp_path: Path) -> None:
    def quantise(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name in tensors if name.endswith("w2.weight"))
        tensors[name] = tensors[name].to(torch.float8_e4m3fn)
        tensors[f"{name}.scale"] = torch.ones(3)

    with pytest.raises(EngineUnavailableError, match="3 scales for 64 rows"):
        open_weights(golden_folder(tmp_path / "fp8", quantise))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("layers.0.attention.wqkv.qweight", torch.zeros(4, 4).int(), "by GPTQ or AWQ"),
        ("layers.0.attention.wqkv.weight", torch.zeros(4, 4).byte(), "of type U8, which fishs2"),
    ],
)
def test_types_that_are_not_read_are_named_with_their_tensor(
    name: str, values: torch.Tensor, message: str, tmp_path: Path
) -> None:
    folder = golden_folder(tmp_path / "odd", lambda tensors: tensors.update({name: values}))

    with pytest.raises(EngineUnavailableError, match=message) as caught:
        open_weights(folder)

    assert name in caught.value.message


def test_masks_of_any_type_are_left_out(tmp_path: Path) -> None:
    mask = {"audio_decoder.causal_mask": torch.ones(4, 4).bool()}
    folder = golden_folder(tmp_path / "mask", lambda tensors: tensors.update(mask))

    assert open_weights(folder).tensors.keys() == open_weights(MODEL_FOLDER).tensors.keys()


def test_taking_a_missing_or_misshapen_tensor_names_file_tensor_and_shapes() -> None:
    weights = open_weights(MODEL_FILE)

    with pytest.raises(EngineUnavailableError, match=r"tiny-f16.gguf has no tensor 'nothing'"):
        weights.take("nothing", (2, 3))
    with pytest.raises(EngineUnavailableError, match=r"shape \[768, 64\]; expected \[1, 2\]"):
        weights.take("embeddings.weight", (1, 2))


def test_left_over_tensors_are_refused() -> None:
    weights = open_weights(MODEL_FILE)
    weights.take("embeddings.weight", (768, 64))

    with pytest.raises(EngineUnavailableError, match="37 tensors that the model does not use"):
        weights.check_all_taken(codec=False)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "llama.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("x", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(EngineUnavailableError, match="holds a 'llama' model"):
        open_weights(path)


def test_a_folder_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="json is missing"):
        open_weights(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineUnavailableError, match="has no model"):
        open_weights(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(EngineUnavailableError, match="not a readable safetensors"):
        open_weights(tmp_path)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_safetensors_header_is_refused_or_read(
    data: st.DataObject, tmp_path: Path
) -> None:
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "__metadata__": {}}
    ).encode()
    content = bytearray(len(header).to_bytes(8, "little") + header + bytes(16))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + 1] = data.draw(st.binary(max_size=6))
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)

    with suppress(EngineUnavailableError):
        for stored in open_safetensors(path).values():
            read_dense(stored, torch.float32)
