"""The composition root: settings become stores, an engine, services, and options of the server.

It loads no HTTP: commands without a server begin here too. `server.app` makes the app.
"""

from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from fishs2.bootstrap.engine import make_engine
from fishs2.bootstrap.files import listening_model, model_file
from fishs2.bootstrap.plan import Plan, describe_plan, follow_plan, plan_here
from fishs2.engines.base import Sampling
from fishs2.errors import SettingsError, StoreUnavailableError
from fishs2.listening.base import Listener
from fishs2.listening.whisper import WhisperListener
from fishs2.server.logs import LogFiles
from fishs2.server.options import ServerOptions
from fishs2.service.accounts.accounts import Accounts
from fishs2.service.clips import Clips
from fishs2.service.consents import Consents
from fishs2.service.lexicons import Lexicons
from fishs2.service.listening import Listening
from fishs2.service.services import EngineChoice, Limits, Services, Stores
from fishs2.service.speech.plan import SpeechRules
from fishs2.service.store_watch import StoreWatch
from fishs2.service.voices.hearing import Hearing
from fishs2.service.voices.library import VoiceLimits, Voices
from fishs2.settings import Settings
from fishs2.settings_groups.server import LogSettings, WyomingSettings
from fishs2.settings_groups.service import ListeningSettings, StoreSettings, VoiceSettings
from fishs2.store.accounts.keys import has_keys, keys_named
from fishs2.store.clips import ClipStore
from fishs2.store.consents import ConsentStore
from fishs2.store.database import Database
from fishs2.store.lexicons import LexiconStore
from fishs2.store.voices.store import VoiceStore
from fishs2.text.splitting.silences import Silences
from fishs2.wyoming.options import WyomingOptions

_WYOMING_PORT = 10200
"""Piper's, where Home Assistant's users look first."""

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def open_here(settings: Settings, plan: Plan | None = None) -> Services:
    """Everything as it is on this machine, not yet started. plan: None decides for it."""
    plan = plan or plan_here(settings)
    planned = follow_plan(settings, plan)
    return open_services(planned, choose_engine(planned, describe_plan(plan)))


def choose_engine(settings: Settings, reason: str) -> EngineChoice:
    """The engine that the settings name, with what shapes its sound."""
    has_model = settings.engine in ("s2", "s2cpp")
    return EngineChoice(
        make_engine(settings),
        reason,
        voice=settings.builtin_voice,
        model=model_file(settings) if has_model else None,
    )


def open_services(
    settings: Settings, choice: EngineChoice, *, listener: Listener | None = None
) -> Services:
    """Services around any engine, not yet started. listener: None is what the settings name."""
    listening = open_listening(settings, listener)
    return Services(
        choice,
        _open_stores(settings, listening),
        listening=listening,
        rules=_speech_rules(settings),
        limits=Limits(settings.max_streams, settings.max_queue),
        is_on_network=settings.host not in _LOOPBACK,
    )


def server_options(settings: Settings) -> ServerOptions:
    """What the dialects of a server are told."""
    return ServerOptions(
        **{field.name: getattr(settings, field.name) for field in fields(ServerOptions)}
    )


def wyoming_options(settings: Settings) -> WyomingOptions | None:
    """What Wyoming is told; None where it is off. Raises SettingsError."""
    if not _has_wyoming(settings):
        return None
    if settings.wyoming_zeroconf and settings.wyoming_host in _LOOPBACK:
        raise SettingsError(
            f"FISHS2_WYOMING_ZEROCONF would announce {settings.wyoming_host}, which only this "
            "machine reaches: set FISHS2_WYOMING_HOST=0.0.0.0, or leave it out"
        )
    return WyomingOptions(
        host=settings.wyoming_host,
        port=_WYOMING_PORT if settings.wyoming_port is None else settings.wyoming_port,
        key=settings.wyoming_key,
        is_announced=settings.wyoming_zeroconf,
        client_stall_s=settings.client_stall_s,
        live_idle_s=settings.live_idle_s,
        live_max_chars=settings.live_max_chars,
        max_input_chars=settings.max_input_chars,
    )


def log_files(settings: LogSettings) -> LogFiles:
    """Where the logs go, and how much of them is kept."""
    return LogFiles(
        settings.logs_dir,
        settings.app_log_file,
        settings.access_log_file,
        settings.error_log_file,
        level=settings.log_level,
        max_bytes=settings.log_max_bytes,
        num_backups=settings.log_backup_count,
    )


def open_database(settings: StoreSettings) -> Database:
    """The database of keys and usage, which may not be there yet. Raises SettingsError."""
    url = settings.database_url or f"sqlite:///{settings.data_dir / 'fishs2.db'}"
    kind, slashes, file = url.partition(":///")
    if slashes and kind.startswith("sqlite") and file and not file.startswith((":", "file:")):
        # A file is named from the home folder, as in every setting.
        url = f"{kind}:///{(settings.home / Path(file).expanduser()).absolute()}"
    return Database(url)


def check_database(settings: Settings) -> None:
    """Bring the database of keys up to date, if there is one, and find Wyoming's key there. Blocks.

    Raises SettingsError where it can never be used. One that does not answer may come back, and
    until then the server says so.
    """
    database = open_database(settings)
    try:
        with suppress(StoreUnavailableError):
            if database.exists:
                database.migrate()
            _check_wyoming_key(settings, database)
    finally:
        database.close()


def _has_wyoming(settings: WyomingSettings) -> bool:
    return settings.wyoming or settings.wyoming_port is not None


def _check_wyoming_key(settings: Settings, database: Database) -> None:
    """Raise SettingsError where Wyoming would speak on nobody's account."""
    name = settings.wyoming_key
    if not _has_wyoming(settings):
        return
    if name is None:
        if database.exists and has_keys(database):
            raise SettingsError(
                "this server asks for keys, and the Wyoming protocol has none: name the key that "
                "its speech is counted on with FISHS2_WYOMING_KEY (`fishs2 keys list` shows them), "
                "or switch Wyoming off"
            )
        return
    named = keys_named(database, name) if database.exists else []
    if len(named) != 1:
        what = "there is no key" if not named else f"{len(named)} keys are"
        raise SettingsError(
            f"FISHS2_WYOMING_KEY={name}: {what} of that name; `fishs2 keys list` shows them all"
        )


def open_store(settings: VoiceSettings) -> VoiceStore:
    """The files of the stored voices."""
    return VoiceStore(settings.voices_dir)


def open_voices(settings: VoiceSettings, listening: Listening | None = None) -> Voices:
    """The stored voices, and references from where the settings allow them.

    listening: gives transcripts to voices that have none.
    """
    return Voices(
        open_store(settings),
        VoiceLimits(
            min_reference_s=settings.min_reference_audio_seconds,
            max_reference_s=settings.max_reference_audio_seconds,
        ),
        roots=(settings.voices_dir, *(settings.reference_roots or (settings.home,))),
        hearing=Hearing(listening) if listening is not None else None,
    )


def open_lexicons(settings: StoreSettings) -> Lexicons:
    """The stored lexicons."""
    return Lexicons(LexiconStore(settings.data_dir / "lexicons"))


def open_listening(settings: ListeningSettings, listener: Listener | None = None) -> Listening:
    """What recognises speech; it need not be installed. Raises SettingsError."""
    return Listening(listener or _whisper(settings), max_seconds=settings.asr_max_seconds)


def _whisper(settings: ListeningSettings) -> Listener:
    model, folder = listening_model(settings)
    return WhisperListener(folder, model, idle_s=settings.asr_idle_unload_s)


def _open_stores(settings: Settings, listening: Listening) -> Stores:
    data = settings.data_dir.absolute()
    accounts = Accounts(open_database(settings), redis_url=settings.redis_url)
    clips = ClipStore(
        settings.data_dir / "clips",
        life_s=settings.clip_life_s,
        max_bytes=settings.clips_max_bytes,
    )
    folders = {
        "data folder": data,
        "folder of cached audio": data / "clips",
        "voices folder": settings.voices_dir.absolute(),
    }
    watch = StoreWatch(folders, accounts.check)
    return Stores(
        voices=open_voices(settings, listening),
        consents=Consents(ConsentStore(data / "consents")),
        lexicons=open_lexicons(settings),
        accounts=accounts,
        clips=Clips(clips),
        watch=watch,
    )


def _speech_rules(settings: Settings) -> SpeechRules:
    return SpeechRules(
        temp_dir=settings.temp_dir,
        max_input_chars=settings.max_input_chars,
        strict_voices=settings.strict_voices,
        styles=settings.instructions == "style",
        emoji=settings.emoji,
        text_cleaning=settings.text_cleaning,
        silences=Silences(settings.pause_sentence, settings.pause_line, settings.pause_paragraph),
        sampling=Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_new_tokens=settings.max_new_tokens,
            min_tokens_before_end=settings.min_tokens_before_end,
        ),
    )
