"""Stored voices: a folder each, with `meta.json` and samples, as the original wrapper has them.

    voices/
      narrator/            a voice; its folder's name is its id
        meta.json          voice_id created model language prompt_text files, and ours
        take-1.wav         the first of `files` is the reference
        .cover-5e1f03aa.png   its picture, which meta.json names
      .lock                whoever changes anything holds it
      .new-narrator-3f..   being written: removed by the next writer if its own died
      .old-narrator-3f..   replaced a moment ago: put back if its successor never came
      .gone-narrator-3f..  deleted a moment ago

Several processes may use one folder. Every function blocks; call them from threads. A client's text
is compared with the names in the folder and never becomes part of a path; links are not followed.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from fishs2.errors import BusyError, UserError
from fishs2.store.new_voices import Cover, NewVoice, VoiceChanges, apply_changes, compose
from fishs2.store.voice_files import (
    META,
    Sample,
    Voice,
    read_voice,
    remove_cover,
    remove_tree,
    write_cover,
    write_durably,
    write_meta,
)
from fishs2.store.voice_ids import normalize_voice_id

LOCK_TIMEOUT_S = 10.0
"""How long a writer waits for another; an upload takes milliseconds once its files are decoded."""

SAMPLE_VOICES = Path(__file__).parent / "sample_voices"
"""Voices that ship with the package, made by scripts/sample_voices.py."""

_NEW, _OLD, _GONE = ".new-", ".old-", ".gone-"


class VoiceStore:
    """The voices in one folder. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """folder: created by the first writer."""
        self._folder = folder
        self._lock = FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S, thread_local=False)
        self._writing = threading.Lock()
        self._known: dict[str, tuple[object, Voice | None]] = {}

    def list(self) -> list[Voice]:
        """All voices that can be read, by id. One that cannot is left out and logged once."""
        known = self._known
        seen: dict[str, tuple[object, Voice | None]] = {}
        for entry in self._folders():
            state = _state_of(entry)
            cached = known.get(entry.name)
            if cached is None or cached[0] != state:
                cached = (state, read_voice(Path(entry.path)))
            seen[entry.name] = cached
        self._known = seen
        voices = [voice for _, voice in seen.values() if voice is not None]
        return sorted(voices, key=lambda voice: voice.voice_id)

    def find(self, name: str) -> Voice | None:
        """The voice with this id, or whose id `name` normalises to, or else with this name.

        Of several with one name it is the oldest.
        """
        return self._find_among(name) or self._look_again(lambda: self._find_among(name))

    def add(self, new: NewVoice, *, created: int | None = None) -> Voice:
        """Store a voice, in place of one with its id. Raises BusyError, OSError.

        created: Unix time in seconds; None is the present. The old voice stays until the new one
        is complete on disk.
        """
        voice, files = compose(new, int(time.time()) if created is None else created)
        with self._exclusive():
            return self._write(voice, files, new.cover)

    def add_new(self, new: NewVoice) -> Voice:
        """Store a voice under an id that is free.

        Raises UserError `voice_exists`, BusyError, OSError.
        """
        voice, files = compose(new, int(time.time()))
        with self._exclusive():
            self._check_free(voice.voice_id)
            return self._write(voice, files, new.cover)

    def update(self, voice_id: str, changes: VoiceChanges) -> Voice | None:
        """Change the voice with exactly this id; None if there is none.

        Raises BusyError and OSError, and leaves the voice as it was.
        """
        with self._exclusive():
            voice = self._get_among(voice_id)
            if voice is None:
                return None
            folder = self._folder / voice.voice_id
            cover = None
            if changes.cover is not None:
                cover = write_cover(folder, changes.cover.suffix, changes.cover.content)
            changed = apply_changes(voice, changes, cover)
            try:
                write_meta(folder, changed)
            except OSError:
                remove_cover(folder, cover)
                raise
            if cover:
                remove_cover(folder, voice.cover)
        return changed

    def rename(self, voice_id: str, new_id: str) -> Voice | None:
        """Give the voice with exactly this id another one; None if there is none.

        Raises UserError `voice_exists`, BusyError, OSError.
        """
        with self._exclusive():
            voice = self._get_among(voice_id)
            if voice is None:
                return None
            renamed = replace(
                voice,
                voice_id=normalize_voice_id(new_id),
                name=new_id,
                updated=int(time.time()),
            )
            old, new = self._folder / voice.voice_id, self._folder / renamed.voice_id
            if new != old:
                self._check_free(renamed.voice_id)
                old.rename(new)
            try:
                write_meta(new, renamed)
            except OSError:
                new.rename(old)
                raise
        return renamed

    def get(self, voice_id: str) -> Voice | None:
        """The voice with exactly this id."""
        return self._get_among(voice_id) or self._look_again(lambda: self._get_among(voice_id))

    def remove(self, voice_id: str) -> Voice | None:
        """Delete the voice with exactly this id, or else name. Raises BusyError, OSError.

        Returns what was deleted. No other spelling will do, so that no trick deletes a neighbour.
        """
        if not self._folder.is_dir():
            return None
        with self._exclusive():
            voices = self.list()
            voice = next((v for v in voices if v.voice_id == voice_id), None)
            voice = voice or next((v for v in voices if v.name == voice_id), None)
            if voice is None:
                return None
            gone = self._folder / _aside(_GONE, voice.voice_id)
            (self._folder / voice.voice_id).rename(gone)
            remove_tree(gone)
        return voice

    def sample_path(self, voice: Voice, sample: Sample) -> Path:
        """Where a sample lies. It may be gone by now; open it without following links."""
        return self._folder / voice.voice_id / sample.filename

    def cover_path(self, voice: Voice) -> Path | None:
        """Where the picture lies, if there is one; as with `sample_path`."""
        return self._folder / voice.voice_id / voice.cover if voice.cover else None

    def install(self, source: Path) -> None:
        """Make the folder and copy the voices in `source` into it, unless it exists already."""
        try:
            self._folder.mkdir(parents=True)
        except FileExistsError:
            return
        with self._exclusive():
            for folder in sorted(source.iterdir()):
                draft = self._folder / _aside(_NEW, folder.name)
                shutil.copytree(folder, draft)
                draft.rename(self._folder / folder.name)

    def register_staged(self) -> None:
        """Give every voice without metadata its `meta.json`, where the folder can be written to.

        For the start only: later, a folder that is still being copied would be taken for whole.
        """
        for voice in self.list():
            folder = self._folder / voice.voice_id
            if voice.samples and not os.path.lexists(folder / META):
                with suppress(OSError):
                    write_meta(folder, voice)

    def _find_among(self, name: str) -> Voice | None:
        voices = self.list()
        by_id = {voice.voice_id: voice for voice in voices}
        found = by_id.get(name) or by_id.get(normalize_voice_id(name))
        if found is not None:
            return found
        wanted = name.casefold()
        named = [voice for voice in voices if voice.name.casefold() == wanted]
        return min(named, key=lambda voice: voice.created, default=None)

    def _get_among(self, voice_id: str) -> Voice | None:
        return next((voice for voice in self.list() if voice.voice_id == voice_id), None)

    def _look_again(self, look: Callable[[], Voice | None]) -> Voice | None:
        """Look when nobody is in the middle of swapping a voice."""
        if not self._folder.is_dir():
            return None
        with suppress(OSError, BusyError), self._exclusive():
            return look()
        return None

    def _folders(self) -> Iterator[os.DirEntry[str]]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield entry

    def _check_free(self, voice_id: str) -> None:
        if os.path.lexists(self._folder / voice_id):
            raise UserError(
                "there is a voice of this id; delete it, or choose another id",
                code="voice_exists",
                param="voice_id",
            )

    def _write(self, voice: Voice, files: dict[str, bytes], cover: Cover | None) -> Voice:
        draft = self._folder / _aside(_NEW, voice.voice_id)
        try:
            draft.mkdir()
            for name, content in files.items():
                write_durably(draft / name, content)
            if cover is not None:
                voice = replace(voice, cover=write_cover(draft, cover.suffix, cover.content))
            write_meta(draft, voice)
            self._swap_in(draft, voice.voice_id)
        finally:
            remove_tree(draft)
        return voice

    def _swap_in(self, draft: Path, voice_id: str) -> None:
        target = self._folder / voice_id
        old = self._folder / _aside(_OLD, voice_id)
        with suppress(FileNotFoundError):
            target.rename(old)
        try:
            draft.rename(target)
        except OSError:
            old.rename(target)
            raise
        remove_tree(old)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Be the only writer, of all threads and processes, in a folder without left-overs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._writing.acquire(timeout=LOCK_TIMEOUT_S):
            raise _busy()
        try:
            with self._lock:
                self._clean_up()
                yield
        except Timeout:
            raise _busy() from None
        finally:
            self._writing.release()

    def _clean_up(self) -> None:
        """Finish what a writer that died has begun."""
        for name in os.listdir(self._folder):
            if name.startswith((_NEW, _GONE)):
                remove_tree(self._folder / name)
            elif name.startswith(_OLD):
                voice_id = name.removeprefix(_OLD).rpartition("-")[0]
                if (self._folder / voice_id).exists():
                    remove_tree(self._folder / name)
                else:
                    (self._folder / name).rename(self._folder / voice_id)


def _aside(prefix: str, voice_id: str) -> str:
    return f"{prefix}{voice_id}-{uuid.uuid4().hex}"


def _busy() -> BusyError:
    return BusyError("the voices are being changed by somebody else; try again", retry_after_s=2)


def _state_of(entry: os.DirEntry[str]) -> object:
    """Something that changes when a voice's folder or metadata does."""
    try:
        # Not entry.stat: that one is remembered.
        folder = os.stat(entry.path, follow_symlinks=False)
        meta = os.stat(f"{entry.path}{os.sep}{META}", follow_symlinks=False)
    except FileNotFoundError:
        return object()  # differs from every other: nothing says what changed
    return (folder.st_mtime_ns, folder.st_ino, meta.st_mtime_ns, meta.st_size)
