"""Who looks for which settings: the parts of docs/settings.md."""

from dataclasses import dataclass
from inspect import get_annotations

from fishs2.settings import Settings
from fishs2.settings_groups import engines, home, server, service


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks for which settings: those named, then those of the groups that nobody names."""

    title: str
    words: str
    names: tuple[str, ...] = ()
    groups: tuple[type[home.HomeSettings], ...] = ()


READERS = (
    Reader(
        "I just want to speak",
        "Nothing has to be set. These are what people change first.",
        (
            "engine",
            "host",
            "port",
            "builtin_voice",
            "default_format",
            "text_cleaning",
            "pause_sentence",
            "pause_line",
            "pause_paragraph",
            "instructions",
        ),
        (engines.BuiltinSettings,),
    ),
    Reader(
        "I have a graphics card, or want S2 Pro",
        "`run.sh` finds the card, downloads the model that fits it, and starts; on a CPU S2 Pro is "
        "far slower than real time. What the engines can do is in [engines.md](engines.md).",
        ("backend", "model_quant", "model_path", "tokenizer_path", "max_seq"),
        (engines.EngineSettings, engines.S2Settings),
    ),
    Reader(
        "I want S2 Pro to speak otherwise",
        "What holds where a request does not say.",
        groups=(engines.ModelSettings,),
    ),
    Reader(
        "I use the s2.cpp library",
        "For Vulkan, for older cards, and where there is no PyTorch: `FISHS2_ENGINE=s2cpp`.",
        groups=(engines.S2cppSettings,),
    ),
    Reader(
        "I clone voices", "Stored voices, and recordings in requests.", (), (service.VoiceSettings,)
    ),
    Reader(
        "I want speech recognised",
        "Transcriptions, transcripts of voices, and speech that is heard again before it is sent: "
        "`pip install 'fishs2[asr]'`, then `fishs2 fetch --asr base`.",
        groups=(service.ListeningSettings,),
    ),
    Reader(
        "My programs expect something of the server",
        "Names of models and voices, and what a request means that does not say.",
        ("request_id_header",),
        (service.SpeechSettings,),
    ),
    Reader(
        "I run it for others",
        "The first key closes the server: `fishs2 keys create NAME`, see [cli.md](cli.md).",
        ("max_input_chars",),
        (server.ServerSettings, service.StoreSettings),
    ),
    Reader(
        "I use Home Assistant",
        "[connect.md](connect.md#home-assistant) says what to type where.",
        groups=(server.WyomingSettings,),
    ),
    Reader(
        "I decide where things lie, and what is logged",
        "One home folder holds everything.",
        ("home", "data_dir", "voices_dir", "temp_dir"),
        (home.HomeSettings, server.LogSettings),
    ),
    Reader(
        "I download from elsewhere, or not at all",
        "For mirrors, machines without the internet, and files that must be what they were.",
        groups=(engines.DownloadSettings,),
    ),
)


def sort_settings() -> list[tuple[Reader, list[str]]]:
    """The settings of each reader. Raises ValueError for a group that nobody reads."""
    taken = {name for reader in READERS for name in reader.names}
    parts = []
    for reader in READERS:
        own = [name for group in reader.groups for name in get_annotations(group)]
        names = [*reader.names, *(name for name in own if name not in taken)]
        parts.append((reader, [name for name in names if name in Settings.model_fields]))
    missing = set(Settings.model_fields) - {name for _, names in parts for name in names}
    if missing:
        raise ValueError(f"no reader of docs/settings.md finds {', '.join(sorted(missing))}")
    return parts
