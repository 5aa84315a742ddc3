"""Sizes of the codec from GGUF metadata or from a codec `config.json`.

The public exporter writes the values of S2 Pro into every file, so a codec of another size needs
its own JSON file (`--codec-config`).
"""

from collections.abc import Mapping

from fishs2.engines.s2.weights.config import CodecConfig, Fields, TransformerConfig

_DEFAULT = CodecConfig()
# Rows of the RoPE table. Official files name 2048 frames (95 s); decoding has no such end.
_MAX_FRAMES = 32768
_MAX_LATENTS = 8192  # 95 s of reference audio at 86.13 Hz


def codec_config_from_gguf(values: Mapping[str, object], *, file: str) -> CodecConfig:
    """Sizes of the codec from the `fish_speech.codec.` keys."""
    prefix = "fish_speech.codec."
    here = {key[len(prefix) :]: value for key, value in values.items() if key.startswith(prefix)}
    fields = Fields(here, file=file)
    latent_dim = fields.positive("latent_dim", 1024)
    encoder_layers = fields.sizes("encoder_transformer_layers", _DEFAULT.encoder_layers)
    head_dim = fields.positive("transformer.head_dim", 64)
    return CodecConfig(
        sample_rate_hz=fields.positive("sample_rate", 44100),
        encoder_dim=fields.positive("encoder_dim", 64),
        encoder_rates=fields.sizes("encoder_rates", _DEFAULT.encoder_rates),
        encoder_layers=encoder_layers,
        decoder_dim=fields.positive("decoder_dim", 1536),
        decoder_rates=fields.sizes("decoder_rates", _DEFAULT.decoder_rates),
        latent_dim=latent_dim,
        downsample_factors=fields.sizes("quantizer_downsample_factor", _DEFAULT.downsample_factors),
        codebook_dim=fields.positive("quantizer_codebook_dim", 8),
        semantic_codebook_size=fields.positive("quantizer_semantic_codebook_size", 4096),
        residual_codebook_size=fields.positive("quantizer_residual_codebook_size", 1024),
        num_residual_codebooks=fields.positive("quantizer_residual_codebooks", 9),
        encoder_transformer=TransformerConfig(
            num_layers=encoder_layers[-1],
            dim=latent_dim,
            num_heads=latent_dim // head_dim,
            num_kv_heads=latent_dim // head_dim,
            head_dim=head_dim,
            ffn_dim=3 * latent_dim,
            max_positions=_MAX_LATENTS,
            rope_base=fields.real("transformer.rope_freq_base", 1e4),
            norm_eps=float(f"{fields.real('transformer.layer_norm_rms_eps', 1e-5):.6g}"),
            window=512,  # in no key (spec 7.2)
        ),
        frame_transformer=_gguf_frame(fields),
    )


def _gguf_frame(fields: Fields) -> TransformerConfig:
    return TransformerConfig(
        num_layers=fields.positive("rvq_transformer.n_layer", 8),
        dim=fields.positive("rvq_transformer.dim", 1024),
        num_heads=fields.positive("rvq_transformer.n_head", 16),
        num_kv_heads=fields.positive("rvq_transformer.n_head", 16),
        head_dim=fields.positive("rvq_transformer.head_dim", 64),
        ffn_dim=fields.positive("rvq_transformer.feed_forward_length", 3072),
        max_positions=_MAX_FRAMES,
        rope_base=fields.real("rvq_transformer.rope_freq_base", 1e4),
        norm_eps=float(f"{fields.real('rvq_transformer.layer_norm_rms_eps', 1e-5):.6g}"),
        window=fields.positive("rvq_transformer.window_size", 128),
    )


def codec_config_from_json(values: Mapping[str, object], *, file: str) -> CodecConfig:
    """Sizes of the codec from a JSON file of the shape in tests/golden/s2/codec_tiny."""
    fields = Fields(values, file=file)
    quantizer = fields.group("quantizer")
    frame, encoder = quantizer.group("transformer"), fields.group("encoder_transformer")
    latent_dim = fields.positive("latent_dim", 1024)
    encoder_layers = fields.sizes("encoder_transformer_layers", _DEFAULT.encoder_layers)
    encoder_heads = latent_dim // encoder.positive("head_dim", 64)
    return CodecConfig(
        sample_rate_hz=fields.positive("sample_rate", 44100),
        encoder_dim=fields.positive("encoder_dim", 64),
        encoder_rates=fields.sizes("encoder_rates", _DEFAULT.encoder_rates),
        encoder_layers=encoder_layers,
        decoder_dim=fields.positive("decoder_dim", 1536),
        decoder_rates=fields.sizes("decoder_rates", _DEFAULT.decoder_rates),
        latent_dim=latent_dim,
        downsample_factors=quantizer.sizes("downsample_factor", _DEFAULT.downsample_factors),
        codebook_dim=quantizer.positive("codebook_dim", 8),
        semantic_codebook_size=quantizer.positive("semantic_codebook_size", 4096),
        residual_codebook_size=quantizer.positive("codebook_size", 1024),
        num_residual_codebooks=quantizer.positive("n_codebooks", 9),
        encoder_transformer=TransformerConfig(
            num_layers=encoder_layers[-1],
            dim=latent_dim,
            num_heads=encoder_heads,
            num_kv_heads=encoder_heads,
            head_dim=encoder.positive("head_dim", 64),
            ffn_dim=encoder.positive("intermediate_mult", 3) * latent_dim,
            max_positions=_MAX_LATENTS,
            rope_base=encoder.real("rope_base", 1e4),
            norm_eps=encoder.real("norm_eps", 1e-5),
            window=encoder.positive("window_size", 512),
        ),
        frame_transformer=_json_frame(frame),
    )


def _json_frame(frame: Fields) -> TransformerConfig:
    num_heads = frame.positive("n_head", 16)
    return TransformerConfig(
        num_layers=frame.positive("n_layer", 8),
        dim=frame.positive("dim", 1024),
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_dim=frame.positive("head_dim", 64),
        ffn_dim=frame.positive("intermediate_size", 3072),
        max_positions=_MAX_FRAMES,
        rope_base=frame.real("rope_base", 1e4),
        norm_eps=frame.real("norm_eps", 1e-5),
        window=frame.positive("window_size", 128),
    )
