"""What whoever runs a server decides for all of its dialects; plain values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """See the settings of the same names, where their defaults are."""

    client_stall_s: float
    cors_origins: tuple[str, ...]
    default_format: str | None
    default_model: str
    gpu_device: int
    live_idle_s: float
    live_max_chars: int
    live_max_frame_bytes: int
    loudness_lufs: float
    max_body_bytes: int
    max_input_chars: int
    max_upload_bytes: int
    max_voice_samples: int
    model_aliases: tuple[str, ...]
    public_url: str | None
    request_id_header: str
    strict_v1: bool
    strict_voices: bool
    temperature: float
    top_p: float
    trusted_proxies: tuple[str, ...]
