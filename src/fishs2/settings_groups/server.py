"""Settings of the port, and of the log files that a server writes."""

from pathlib import Path

from pydantic import Field

from fishs2.settings_groups.home import HomeSettings
from fishs2.settings_values import (
    BaseUrl,
    HomePath,
    Host,
    HostNames,
    LogLevel,
    Networks,
    Origins,
    Port,
)


class ServerSettings(HomeSettings):
    """The port, who may reach it, and how much at once."""

    host: Host = Field(
        "0.0.0.0",
        description="Address to listen on; 127.0.0.1 keeps the server to this machine.",
    )
    port: Port = Field(8020, description="TCP port to listen on; 0 takes a free one.")
    public_url: BaseUrl | None = Field(
        None,
        description="Address that clients reach this server by, with its path; unset means the "
        "request's own.",
    )
    allowed_hosts: HostNames = Field(
        (),
        description="More names that browsers may call this server by, `*.example.com` for all "
        "below one, `*` for any; its addresses, names without dots, those of a local network and "
        "that of `FISHS2_PUBLIC_URL` need not be named.",
    )
    cors_origins: Origins = Field(
        (),
        description="Origins of web pages that may call every route, `*` for all; unset lets any "
        "page call the open API's `tts`, `list-models` and `profile`, and play cached audio.",
    )
    trusted_proxies: Networks = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Addresses and networks of the proxies whose forwarded headers count, `*` for "
        "all.",
    )
    request_id_header: str = Field(
        "X-Request-ID",
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header that carries the request id in both directions.",
    )
    max_upload_bytes: int = Field(
        104_857_600,
        ge=1_024,
        le=1_073_741_824,
        description="Largest upload of a voice, in bytes; every other body of a request, which is "
        "read in one piece, has this limit too, or 32 MiB if that is less.",
    )
    max_streams: int = Field(
        256,
        ge=1,
        le=10_000,
        description="Speech requests in progress at once; one more is 429. Those whose slow "
        "readers have enough for now do not count, up to three times as many.",
    )
    max_queue: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Requests that may wait for the engine; one more is answered 429.",
    )
    max_connections: int = Field(
        2_048,
        ge=1,
        le=100_000,
        description="Connections at once, fewer where the system gives fewer files; idle ones give "
        "way, then a new one is answered 503.",
    )
    max_connections_per_address: int = Field(
        512,
        ge=1,
        le=100_000,
        description="Connections from one address (IPv6: one /64 network); one more is 429. This "
        "machine and `FISHS2_TRUSTED_PROXIES` may have any number.",
    )
    client_stall_s: float = Field(
        300.0, gt=0, le=86_400, description="A client that takes no bytes for this long is cut off."
    )
    live_max_chars: int = Field(
        200_000,
        ge=1,
        description="Longest text of one live speech, which may all wait to be spoken.",
    )
    live_idle_s: float = Field(
        120.0,
        gt=0,
        le=86_400,
        description="A live speech ends when no text has come for so long and all is spoken.",
    )
    shutdown_s: float = Field(
        30.0,
        ge=0,
        le=3_600,
        description="What is spoken at the end of the server may take so long.",
    )


class WyomingSettings(HomeSettings):
    """Home Assistant's protocol, on a port of its own."""

    wyoming: bool = Field(
        False, description="Serve Home Assistant (Wyoming) too; a port of its own says so as well."
    )
    wyoming_port: Port | None = Field(
        None, description="TCP port of it; 0 takes a free one, unset means 10200."
    )
    wyoming_host: Host = Field(
        "127.0.0.1",
        description="Address that it listens on; 0.0.0.0 lets other machines in, and the protocol "
        "asks them for no key.",
    )
    wyoming_key: str | None = Field(
        None,
        min_length=1,
        description="Name or id of the key that its speech is counted on; needed once there are "
        "keys.",
    )
    wyoming_zeroconf: bool = Field(
        False, description="Announce it on the local network, so that Home Assistant finds it."
    )


class LogSettings(HomeSettings):
    """Log files."""

    logs_dir: HomePath = Field(Path("logs"), description="Folder of the log files.")
    app_log_file: str = Field("app.log", min_length=1, description="Log of what the program does.")
    access_log_file: str = Field("access.log", min_length=1, description="One line per request.")
    error_log_file: str = Field("errors.log", min_length=1, description="Warnings and errors only.")
    log_level: LogLevel = Field("INFO", description="Least severe level that is logged.")
    log_max_bytes: int = Field(10_485_760, ge=1, description="Size at which a log file is rotated.")
    log_backup_count: int = Field(5, ge=1, description="Rotated log files that are kept.")
