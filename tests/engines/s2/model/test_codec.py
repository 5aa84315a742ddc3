from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fishs2.engines.s2.model.codec import (
    Codebook,
    Codec,
    decode_frames,
    decode_step,
    encode_pieces,
    encode_step,
    sum_vectors,
)
from fishs2.engines.s2.model.streaming import (
    Step,
    StreamState,
    new_state,
    reset_rows,
    state_tensors,
)
from tests.engines.s2.golden import arrays, load_codec

FRAME = 2048  # samples


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec()


def encode_pcm(codec: Codec, pcm: Tensor) -> Tensor:
    return torch.cat(list(encode_pieces(codec, pcm)), dim=-1)


def golden(name: str) -> Tensor:
    return torch.from_numpy(arrays("codec_golden")[name])


def close(ours: Tensor, name: str, atol: float) -> None:
    np.testing.assert_allclose(ours, golden(name), rtol=0, atol=atol, err_msg=name)


def padded_audio() -> Tensor:
    pcm = golden("audio_in")
    return torch.nn.functional.pad(pcm, (0, -len(pcm) % FRAME))[None, None]


def test_encoder_equals_the_golden_stage_by_stage(codec: Codec) -> None:
    step = Step(new_state(codec.encoder, 1, codec.device))
    inner: Any = codec.encoder.encoder

    x = inner.first(padded_audio(), step)
    close(x[0, :, :2048], "enc_block0", 2e-5)
    for block in inner.blocks[:3]:
        x = block(x, step)
    last = inner.blocks[3]
    for unit in last.units:
        x = unit(x, step)
    x = last.down(last.snake(x), step)
    close(x[0], "enc_block4_before_transformer", 2e-5)
    x = last.transformer(x, step)
    close(x[0], "enc_block4_out", 2e-5)
    x = inner.last(inner.snake(x), step)
    close(x[0], "enc_out", 2e-5)
    x = codec.encoder.mixers[0](codec.encoder.convs[0](x, step), step)
    close(x[0], "enc_down0", 2e-5)
    x = codec.encoder.mixers[1](codec.encoder.convs[1](x, step), step)
    close(x[0], "enc_down_out", 2e-5)
    x = codec.encoder.transformer(x, step)
    close(x[0], "enc_pre_module_out", 2e-5)


def test_semantic_latents_equal_the_golden(codec: Codec) -> None:
    first = codec.codebooks[0]
    assert isinstance(first, Codebook)

    projected = first.project(golden("enc_pre_module_out")[None])

    close(projected[0], "semantic_latents", 2e-5)
    close(first.vectors(golden("codes")[None, 0])[0], "semantic_z", 2e-5)


@pytest.mark.parametrize(
    ("num_samples", "name"), [(41000, "codes"), (6144, "codes_exact"), (700, "codes_short")]
)
def test_codes_equal_the_golden(codec: Codec, num_samples: int, name: str) -> None:
    codes = encode_pcm(codec, golden("audio_in")[:num_samples])

    np.testing.assert_array_equal(codes, golden(name))


def test_padding_is_to_whole_frames(codec: Codec) -> None:
    codes, other = encode_pcm(codec, golden("audio_in")), golden("codes_pad512")

    # Padding to 512 samples, as s2.cpp does, changes the last frame and no other.
    assert torch.equal(codes[:, :-1], other[:, :-1])
    assert not torch.equal(codes[:, -1], other[:, -1])


def test_decoder_equals_the_golden_stage_by_stage(codec: Codec) -> None:
    step = Step(new_state(codec.decoder, 1, codec.device))
    part = codec.decoder

    z = sum_vectors(codec, golden("codes")[None])
    close(z[0], "decode_zq", 2e-5)
    z = part.transformer(z, step)
    close(z[0], "decode_post_module_out", 2e-5)
    z = part.mixers[0](part.convs[0](z, step), step)
    close(z[0], "decode_up0", 2e-5)
    z = part.mixers[1](part.convs[1](z, step), step)
    close(z[0], "decode_up_out", 2e-5)
    z = part.decoder.first(z, step)
    close(z[0], "decode_dec0", 2e-5)
    z = part.decoder.blocks[0](z, step)
    close(z[0], "decode_dec1", 2e-5)
    z = part.decoder.blocks[1](z, step)
    close(z[0], "decode_dec2", 2e-5)


def test_audio_equals_the_golden(codec: Codec) -> None:
    close(decode_frames(codec, golden("codes")), "audio_out", 1e-5)


def test_codes_out_of_range_are_clamped_and_left_as_they_are(codec: Codec) -> None:
    codes = golden("codes_clamp")
    before = codes.clone()

    close(decode_frames(codec, codes), "audio_clamp", 1e-5)
    assert torch.equal(codes, before)
    assert decode_frames(codec, torch.full((10, 2), -7)).isfinite().all()


@pytest.mark.parametrize("piece_frames", [1, 2, 3, 7, 16, 40])
def test_pieces_of_audio_equal_the_whole(codec: Codec, piece_frames: int) -> None:
    pcm = decode_frames(codec, golden("codes_rand"), piece_frames=piece_frames)

    close(pcm, "audio_rand", 1e-5)


def test_uneven_pieces_equal_the_whole(codec: Codec) -> None:
    codes, state = golden("codes_rand")[None], new_state(codec.decoder, 1, codec.device)

    pieces, start = [], 0
    for num_frames in (1, 2, 3, 4, 5, 7, 9, 9):
        pieces.append(decode_step(codec, codes[:, :, start : start + num_frames], state)[0])
        start += num_frames

    close(torch.cat(pieces), "audio_rand", 1e-5)


@pytest.mark.parametrize("piece_frames", [1, 3, 8])
def test_encoding_in_pieces_equals_the_whole(codec: Codec, piece_frames: int) -> None:
    pcm, state = padded_audio()[0], new_state(codec.encoder, 1, codec.device)

    pieces = [
        encode_step(codec, pcm[:, start : start + piece_frames * FRAME], state)
        for start in range(0, pcm.shape[1], piece_frames * FRAME)
    ]

    np.testing.assert_array_equal(torch.cat(pieces, dim=-1)[0], golden("codes"))


def test_later_input_never_changes_earlier_output(codec: Codec) -> None:
    pcm, codes = golden("audio_in"), golden("codes_rand")

    assert torch.equal(encode_pcm(codec, pcm[: 7 * FRAME]), golden("codes")[:, :7])
    prefix = decode_frames(codec, codes[:, :11])
    np.testing.assert_allclose(prefix, golden("audio_rand")[: 11 * FRAME], rtol=0, atol=1e-5)


def test_rows_of_a_batch_equal_rows_alone(codec: Codec) -> None:
    codes = torch.stack((golden("codes_rand")[:, :9], golden("codes_rand")[:, 9:18]))
    state = new_state(codec.decoder, 2, codec.device)

    together = decode_step(codec, codes, state)

    for row in range(2):
        alone = decode_frames(codec, codes[row])
        torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)


def poison_unwritten(state: StreamState) -> None:
    """Put NaN where nothing was ever written: into the keys and values."""
    for window in state.windows.values():
        for each in (*window.keys, *window.values):
            each.fill_(float("nan"))


def test_unset_memory_never_reaches_the_output(codec: Codec) -> None:
    codes = golden("codes_rand")[None]
    state = new_state(codec.decoder, 1, codec.device)
    poison_unwritten(state)

    pieces = [decode_step(codec, codes[:, :, start : start + 3], state) for start in (0, 3, 6)]

    ours = torch.cat(pieces, dim=-1)[0]
    np.testing.assert_allclose(ours, golden("audio_rand")[: 9 * FRAME], rtol=0, atol=1e-5)


def test_resting_rows_keep_their_state_and_continue_later(codec: Codec) -> None:
    codes = golden("codes_rand")[None].repeat(2, 1, 1)
    state = new_state(codec.decoder, 2, codec.device)

    first = decode_step(codec, codes[:, :, :4], state)
    before = [each.clone() for each in state_tensors(state)]
    # Row 0 rests while row 1 goes on; what row 0 is given meanwhile does not matter.
    second = decode_step(codec, codes[:, :, 4:9], state, active=torch.tensor([False, True]))
    for old, new in zip(before, state_tensors(state), strict=True):
        assert torch.equal(old[0], new[0])
    third = decode_step(codec, codes[:, :, 4:9], state, active=torch.tensor([True, False]))

    whole = golden("audio_rand")[: 9 * FRAME]
    for row, later in ((0, third), (1, second)):
        ours = torch.cat((first[row], later[row]))
        np.testing.assert_allclose(ours, whole, rtol=0, atol=1e-5)


def test_a_reset_row_equals_a_fresh_one(codec: Codec) -> None:
    codes = golden("codes_rand")[None].repeat(2, 1, 1)
    state = new_state(codec.decoder, 2, codec.device)
    decode_step(codec, codes[:, :, 20:30], state)

    reset_rows(state, torch.tensor([True, False]))
    pcm = decode_step(codec, codes[:, :, :5], state)

    ours = golden("audio_rand")[: 5 * FRAME]
    np.testing.assert_allclose(pcm[0], ours, rtol=0, atol=1e-5)
    assert (pcm[1] - ours).abs().max() > 1e-3


def test_state_does_not_grow_with_the_stream(codec: Codec) -> None:
    state = new_state(codec.decoder, 1, codec.device)
    num_bytes = sum(each.untyped_storage().nbytes() for each in state_tensors(state))

    for _ in range(3):
        decode_step(codec, golden("codes_rand")[None, :, :13], state)

    after = sum(each.untyped_storage().nbytes() for each in state_tensors(state))
    assert after == num_bytes
