"""The codec: samples to codes and codes to samples, in pieces of any number of frames (spec 7).

Both directions are causal, so a piece depends on earlier ones only, through a `StreamState`. All in
float32. No requests, no clock, no threads.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fishs2.engines.s2.model.loader import Loader
from fishs2.engines.s2.model.streaming import (
    CausalConv,
    CausalConvTranspose,
    ConvNeXt,
    ResUnit,
    Snake,
    Step,
    StreamState,
    WindowTransformer,
    new_state,
)
from fishs2.engines.s2.weights.config import CodecConfig

_DILATIONS = (1, 3, 9)
# Frames per piece when a whole recording or utterance goes through: 1.5 s. The widest layer of the
# real size then has 17 MB while encoding and 25 MB while decoding.
PIECE_FRAMES = 32


class EncoderBlock(nn.Module):
    """Residual units, then stride down to twice the channels, then perhaps a transformer."""

    def __init__(self, config: CodecConfig, load: Loader, index: int) -> None:
        super().__init__()
        name = f"c.encoder.block.{index + 1}.block"
        channels, stride = config.encoder_dim << index, config.encoder_rates[index]
        self.units = nn.ModuleList(
            ResUnit(load, f"{name}.{unit}", channels, dilation=dilation)
            for unit, dilation in enumerate(_DILATIONS)
        )
        self.snake = Snake(load, f"{name}.3", channels)
        shape = (2 * channels, channels, 2 * stride)
        self.down = CausalConv(load, f"{name}.4.conv", shape, stride=stride)
        self.transformer: WindowTransformer | None = None
        if config.encoder_layers[index]:
            self.transformer = WindowTransformer(config.encoder_transformer, load, f"{name}.5")

    def forward(self, x: Tensor, step: Step) -> Tensor:
        for unit in self.units:
            x = unit(x, step)
        x = self.down(self.snake(x), step)
        return x if self.transformer is None else self.transformer(x, step)


class Encoder(nn.Module):
    """Samples [B, 1, 512 T] to latents [B, D, T]."""

    def __init__(self, config: CodecConfig, load: Loader) -> None:
        super().__init__()
        num_blocks = len(config.encoder_rates)
        top = config.encoder_dim << num_blocks
        name = "c.encoder.block"
        self.first = CausalConv(load, f"{name}.0.conv", (config.encoder_dim, 1, 7))
        self.blocks = nn.ModuleList(EncoderBlock(config, load, i) for i in range(num_blocks))
        self.snake = Snake(load, f"{name}.{num_blocks + 1}", top)
        self.last = CausalConv(load, f"{name}.{num_blocks + 2}.conv", (config.latent_dim, top, 3))

    def forward(self, x: Tensor, step: Step) -> Tensor:
        x = self.first(x, step)
        for block in self.blocks:
            x = block(x, step)
        out: Tensor = self.last(self.snake(x), step)
        return out


class DecoderBlock(nn.Module):
    """Stride up to half the channels, then residual units."""

    def __init__(self, config: CodecConfig, load: Loader, index: int) -> None:
        super().__init__()
        name = f"c.decoder.model.{index + 1}.block"
        channels, stride = config.decoder_dim >> index, config.decoder_rates[index]
        self.snake = Snake(load, f"{name}.0", channels)
        shape = (channels, channels // 2, 2 * stride)
        self.up = CausalConvTranspose(load, f"{name}.1.conv", shape, stride=stride)
        self.units = nn.ModuleList(
            ResUnit(load, f"{name}.{unit + 2}", channels // 2, dilation=dilation)
            for unit, dilation in enumerate(_DILATIONS)
        )

    def forward(self, x: Tensor, step: Step) -> Tensor:
        x = self.up(self.snake(x), step)
        for unit in self.units:
            x = unit(x, step)
        return x


class Decoder(nn.Module):
    """Latents [B, D, T] to samples [B, 1, 512 T] in -1..1."""

    def __init__(self, config: CodecConfig, load: Loader) -> None:
        super().__init__()
        num_blocks = len(config.decoder_rates)
        bottom = config.decoder_dim >> num_blocks
        name = "c.decoder.model"
        self.first = CausalConv(load, f"{name}.0.conv", (config.decoder_dim, config.latent_dim, 7))
        self.blocks = nn.ModuleList(DecoderBlock(config, load, i) for i in range(num_blocks))
        self.snake = Snake(load, f"{name}.{num_blocks + 1}", bottom)
        self.last = CausalConv(load, f"{name}.{num_blocks + 2}.conv", (1, bottom, 7))

    def forward(self, x: Tensor, step: Step) -> Tensor:
        x = self.first(x, step)
        for block in self.blocks:
            x = block(x, step)
        return torch.tanh(self.last(self.snake(x), step))


class Codebook(nn.Module):
    """One vector quantiser: 8-dimensional codes between two projections."""

    def __init__(self, config: CodecConfig, load: Loader, name: str, *, num_codes: int) -> None:
        super().__init__()
        dim, latent = config.codebook_dim, config.latent_dim
        self.num_codes = num_codes
        self.table = load.vector(f"{name}.codebook.weight", (num_codes, dim))
        self.weight_in = load.vector(f"{name}.in_proj.weight", (dim, latent, 1))
        self.bias_in = load.vector(f"{name}.in_proj.bias", (dim,))
        self.weight_out = load.vector(f"{name}.out_proj.weight", (latent, dim, 1))
        self.bias_out = load.vector(f"{name}.out_proj.bias", (latent,))

    def project(self, z: Tensor) -> Tensor:
        """z: [B, D, T] to the space of the codes, [B, 8, T]."""
        return F.conv1d(z, self.weight_in, self.bias_in)

    def nearest(self, projected: Tensor) -> Tensor:
        """Code of the least angle, the first one of equals: [B, 8, T] to int64 [B, T]."""
        e = F.normalize(projected.transpose(1, 2), dim=-1)
        table = F.normalize(self.table, dim=-1)
        squares = e.square().sum(-1, keepdim=True) + table.square().sum(-1)
        return (squares - 2 * e @ table.T).argmin(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """codes: int64 [B, T], clamped into range. Returns latents [B, D, T]."""
        rows = self.table[codes.clamp(0, self.num_codes - 1)]
        return F.conv1d(rows.transpose(1, 2), self.weight_out, self.bias_out)


class CodecEncoder(nn.Module):
    """What turns samples into latents ready for the codebooks."""

    def __init__(self, config: CodecConfig, load: Loader) -> None:
        super().__init__()
        self.config = config
        d, name = config.latent_dim, "c.quantizer"
        self.encoder = Encoder(config, load)
        self.convs = nn.ModuleList()
        self.mixers = nn.ModuleList()
        for index, factor in enumerate(config.downsample_factors):
            stage = f"{name}.downsample.{index}"
            self.convs.append(CausalConv(load, f"{stage}.0.conv", (d, d, factor), stride=factor))
            self.mixers.append(ConvNeXt(load, f"{stage}.1", d))
        self.transformer = WindowTransformer(config.frame_transformer, load, f"{name}.pre_module")

    def forward(self, pcm: Tensor, step: Step) -> Tensor:
        """pcm: float32 [B, 1, 2048 T]. Returns [B, D, T]."""
        z = self.encoder(pcm, step)
        for conv, mixer in zip(self.convs, self.mixers, strict=True):
            z = mixer(conv(z, step), step)
        out: Tensor = self.transformer(z, step)
        return out


class CodecDecoder(nn.Module):
    """What turns the sum of code vectors into samples."""

    def __init__(self, config: CodecConfig, load: Loader) -> None:
        super().__init__()
        self.config = config
        d, name = config.latent_dim, "c.quantizer"
        self.transformer = WindowTransformer(config.frame_transformer, load, f"{name}.post_module")
        self.convs = nn.ModuleList()
        self.mixers = nn.ModuleList()
        for index, factor in enumerate(reversed(config.downsample_factors)):
            stage = f"{name}.upsample.{index}"
            self.convs.append(
                CausalConvTranspose(load, f"{stage}.0.conv", (d, d, factor), stride=factor)
            )
            self.mixers.append(ConvNeXt(load, f"{stage}.1", d))
        self.decoder = Decoder(config, load)

    def forward(self, z: Tensor, step: Step) -> Tensor:
        """z: float32 [B, D, T]. Returns samples [B, 1, 2048 T]."""
        z = self.transformer(z, step)
        for conv, mixer in zip(self.convs, self.mixers, strict=True):
            z = mixer(conv(z, step), step)
        out: Tensor = self.decoder(z, step)
        return out


class Codec(nn.Module):
    """Weights of the codec. codebooks: the semantic one first."""

    def __init__(self, config: CodecConfig, load: Loader) -> None:
        super().__init__()
        self.config = config
        self.device = load.device
        self.encoder = CodecEncoder(config, load)
        self.decoder = CodecDecoder(config, load)
        name = "c.quantizer"
        self.codebooks = nn.ModuleList(
            [
                Codebook(
                    config,
                    load,
                    f"{name}.semantic_quantizer.quantizers.0",
                    num_codes=config.semantic_codebook_size,
                )
            ]
        )
        for index in range(config.num_residual_codebooks):
            residual = f"{name}.quantizer.quantizers.{index}"
            size = config.residual_codebook_size
            self.codebooks.append(Codebook(config, load, residual, num_codes=size))


def quantise(codec: Codec, z: Tensor) -> Tensor:
    """Latents [B, D, T] to codes int64 [B, K, T]; a codebook takes what the earlier ones left."""
    codes: list[Tensor] = []
    for codebook in codec.codebooks:
        assert isinstance(codebook, Codebook)
        codes.append(codebook.nearest(codebook.project(z)))
        z = z - codebook.vectors(codes[-1])
    return torch.stack(codes, dim=1)


def sum_vectors(codec: Codec, codes: Tensor) -> Tensor:
    """Codes int64 [B, K, T] to latents [B, D, T]. `codes` itself is left as it is."""
    latents = torch.zeros(1, device=codes.device)
    for index, codebook in enumerate(codec.codebooks):
        assert isinstance(codebook, Codebook)
        latents = latents + codebook.vectors(codes[:, index])
    return latents


def encode_step(
    codec: Codec, pcm: Tensor, state: StreamState, *, active: Tensor | None = None
) -> Tensor:
    """The next piece of each row. pcm: float32 [B, 2048 T]. Returns codes, int64 [B, K, T].

    state: from `new_state(codec.encoder, …)`. active: see `Step`.
    """
    return quantise(codec, codec.encoder(pcm[:, None], Step(state, active)))


def decode_step(
    codec: Codec, codes: Tensor, state: StreamState, *, active: Tensor | None = None
) -> Tensor:
    """The next piece of each row. codes: int64 [B, K, T]. Returns samples, float32 [B, 2048 T].

    state: from `new_state(codec.decoder, …)`. active: see `Step`.
    """
    samples: Tensor = codec.decoder(sum_vectors(codec, codes), Step(state, active))
    return samples[:, 0]


def encode_pieces(codec: Codec, pcm: Tensor) -> Iterator[Tensor]:
    """Codes of a recording at the codec's rate, in pieces int64 [K, up to `PIECE_FRAMES`].

    pcm: float32 [N]. The last frame is filled with silence (spec 7.4). Memory does not grow with N.
    """
    frame = codec.config.samples_per_frame
    padded = F.pad(pcm, (0, -pcm.shape[0] % frame))[None]
    state = new_state(codec.encoder, 1, codec.device)
    size = PIECE_FRAMES * frame
    for start in range(0, padded.shape[1], size):
        yield encode_step(codec, padded[:, start : start + size], state)[0]


def decode_pieces(
    codec: Codec, codes: Tensor, *, piece_frames: int = PIECE_FRAMES
) -> Iterator[Tensor]:
    """Samples of whole codes, int64 [K, T], in pieces float32 [up to 2048 piece_frames]."""
    state = new_state(codec.decoder, 1, codec.device)
    for start in range(0, codes.shape[1], piece_frames):
        yield decode_step(codec, codes[None, :, start : start + piece_frames], state)[0]


def decode_frames(codec: Codec, codes: Tensor, *, piece_frames: int = PIECE_FRAMES) -> Tensor:
    """Samples of whole codes: int64 [K, T] to float32 [2048 T], in pieces of `piece_frames`."""
    return torch.cat(list(decode_pieces(codec, codes, piece_frames=piece_frames)), dim=-1)
