"""What whoever runs a server decides for all of its dialects; plain values."""

from dataclasses import dataclass

_MAX_BODY_BYTES = 33_554_432
"""Room for several recordings as base64, as requests may bring them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """See the settings of the same names, where their defaults are."""

    allowed_hosts: tuple[str, ...]
    client_stall_s: float
    cors_origins: tuple[str, ...]
    default_format: str | None
    default_model: str
    gpu_device: int
    live_idle_s: float
    live_max_chars: int
    loudness_lufs: float
    max_connections: int
    max_connections_per_address: int
    max_input_chars: int
    max_upload_bytes: int
    model_aliases: tuple[str, ...]
    public_url: str | None
    request_id_header: str
    strict_v1: bool
    strict_voices: bool
    temperature: float
    top_p: float
    trusted_proxies: tuple[str, ...]

    @property
    def max_body_bytes(self) -> int:
        """Largest body that is read in one piece: all but uploads, which go to files."""
        return min(_MAX_BODY_BYTES, self.max_upload_bytes)
