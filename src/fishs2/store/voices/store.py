"""Stored voices: a folder each, with `meta.json` and samples, as the original wrapper has them.

    voices/
      narrator/            a voice; its folder's name is its id
        meta.json          voice_id created model language prompt_text files, and ours
        take-1.wav         the first of `files` is the reference
        .cover-5e1f03aa.png   its picture, which meta.json names
      sailor.wav           a voice too, and
      sailor.txt           its transcript; a change makes a folder of them
      .lock                whoever changes anything holds it
      .new-narrator-3f..   being written: removed by the next writer if its own died
      .old-narrator-3f..   replaced a moment ago: whoever misses it puts it back
      .gone-narrator-3f..  deleted a moment ago

Several processes may use one folder. Every function blocks; call them from threads. A client's text
is compared with the names in the folder and never becomes part of a path; links are not followed.

`lookup` says which voice a text means. No two get equal names.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from filelock import FileLock, Timeout

from fishs2.errors import BusyError
from fishs2.store.voices.changes import Cover, NewVoice, VoiceChanges, apply_changes, compose
from fishs2.store.voices.files import (
    MAX_SAMPLE_BYTES,
    META,
    Sample,
    Voice,
    read_bytes,
    remove_cover,
    stamp_of,
    write_cover,
    write_durably,
    write_meta,
)
from fishs2.store.voices.folder import Scan, VoiceFolder
from fishs2.store.voices.ids import fold_name, propose_ids
from fishs2.store.voices.lookup import check_free, check_same_name, match_voice, name_taken
from fishs2.store.voices.swap import GONE, NEW, aside, clean_up, remove_tree, swap_in

LOCK_TIMEOUT_S = 10.0
"""How long a writer waits for another; an upload takes milliseconds once its files are decoded."""

SAMPLE_VOICES = Path(__file__).parent / "sample_voices"
"""Voices that ship with the package, made by scripts/sample_voices.py."""


class VoiceStore:
    """The voices in one folder. Thread-safe."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """folder: created by the first writer. clock: seconds, which nobody sets."""
        self._folder = folder
        self._lock = FileLock(folder / ".lock", timeout=LOCK_TIMEOUT_S, thread_local=False)
        self._writing = threading.Lock()
        self._reader = VoiceFolder(folder, clock=clock)

    def list(self) -> list[Voice]:
        """All voices that can be read, by id. One that cannot is left out, and logged once."""
        return sorted(self._look().voices.values(), key=attrgetter("voice_id"))

    def refresh(self) -> None:
        """Look at everything, so that the next one to look need not. Raises OSError."""
        self._reader.scan()

    def find(self, name: str) -> Voice | None:
        """The voice that `name` means. As quick with many voices as with few.

        Raises OSError where the folder that may be it cannot be read.
        """
        scan = self._look()
        with suppress(OSError):
            found = match_voice(scan, name)
            if found is None and self._reader.is_settled(scan):
                return None
            fresh = self._reader.confirm(found) if found is not None else None
            if fresh is not None:
                return fresh
        # It cannot be read, is another one by now, or its writer is at work.
        return match_voice(self._reader.scan(), name) or self._find_settled(name)

    def add(self, new: NewVoice, *, created: int | None = None) -> Voice:
        """Store a voice, in place of the one that its id or name finds.

        created: Unix time in seconds; None is the present. The old voice stays until the new one
        is complete on disk. Raises UserError `voice_exists` if its name is another voice's,
        BusyError, OSError.
        """
        with self._exclusive():
            scan = self._reader.scan()
            given = new.given_id
            old = match_voice(scan, given) if given else None
            if old is not None and given != new.voice_id:
                check_same_name(old, given)
            # Who names a voice by its id says nothing about its name.
            kept = old.name if old is not None and given == old.voice_id else given
            name = new.given_name or kept
            check_free(scan, name, but=old)
            voice_id = old.voice_id if old else self._choose_id(scan, given)
            return self._write(new, voice_id, name or voice_id, created, old=old)

    def add_new(self, new: NewVoice) -> Voice:
        """Store a voice under an id and a name that are free.

        Raises UserError `voice_exists`, BusyError, OSError.
        """
        with self._exclusive():
            scan = self._reader.scan()
            name = new.given_name or new.given_id
            for text in {new.given_id, name} - {""}:
                check_free(scan, text)
            voice_id = self._choose_id(scan, new.given_id)
            if os.path.lexists(self._folder / voice_id):
                raise name_taken(voice_id)
            return self._write(new, voice_id, name or voice_id)

    def update(self, voice_id: str, changes: VoiceChanges) -> Voice | None:
        """Change the voice with exactly this id; None if there is none.

        Raises UserError `voice_exists`, BusyError and OSError, and leaves the voice as it was.
        """
        with self._exclusive():
            scan = self._reader.scan()
            voice = scan.voices.get(voice_id)
            if voice is None:
                return None
            if changes.name is not None:
                check_free(scan, changes.name, but=voice)
            voice = self._to_folder(voice)
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
            self._reader.forget(voice.voice_id)
        return changed

    def rename(self, voice_id: str, new_name: str) -> Voice | None:
        """Give the voice with exactly this id another name, and the id that comes of it.

        None if there is none. Raises UserError `voice_exists`, BusyError, OSError.
        """
        with self._exclusive():
            scan = self._reader.scan()
            voice = scan.voices.get(voice_id)
            if voice is None:
                return None
            check_free(scan, new_name, but=voice)
            voice = self._to_folder(voice)
            new_id = self._choose_id(scan, new_name, but=voice)
            renamed = replace(voice, voice_id=new_id, name=new_name, updated=int(time.time()))
            old, new = self._folder / voice.voice_id, self._folder / new_id
            if new != old:
                if os.path.lexists(new):
                    raise name_taken(new_id)
                old.rename(new)
            try:
                write_meta(new, renamed)
            except OSError:
                new.rename(old)
                raise
            self._reader.forget(voice.voice_id, new_id)
        return renamed

    def remove(self, voice_id: str) -> Voice | None:
        """Delete the voice with exactly this id; None if there is none.

        Raises BusyError, OSError.
        """
        if not self._folder.is_dir():
            return None
        with self._exclusive():
            voice = self._reader.scan().voices.get(voice_id)
            if voice is not None and not voice.is_flat:
                gone = self._folder / aside(GONE, voice.voice_id)
                (self._folder / voice.voice_id).rename(gone)
                remove_tree(gone)
                self._reader.forget(voice.voice_id)
            self._remove_flat(voice)
        return voice

    def sample_path(self, voice: Voice, sample: Sample) -> Path:
        """Where a sample lies. It may be gone by now; open it without following links."""
        return self._path_of(voice) / sample.filename

    def cover_path(self, voice: Voice) -> Path | None:
        """Where the picture lies, if there is one; as with `sample_path`."""
        return self._path_of(voice) / voice.cover if voice.cover else None

    def sample_stamp(self, voice: Voice) -> object:
        """Something that only this state of the voice and its first sample has.

        None if the voice was replaced, changed or removed since it was read. Raises OSError.
        """
        path = self.sample_path(voice, voice.samples[0])
        try:
            state = path.stat(follow_symlinks=False)
            is_same = stamp_of(path if voice.is_flat else path.parent) == voice.stamp
        except FileNotFoundError:
            return None
        return (path, state.st_mtime_ns, state.st_size, state.st_ino) if is_same else None

    def read_sample(self, voice: Voice, max_bytes: int) -> bytes | None:
        """The first sample of the voice as it was read; None as with `sample_stamp`.

        Raises OSError, and ValueError for what is no sample.
        """
        try:
            content = read_bytes(self.sample_path(voice, voice.samples[0]), max_bytes)
        except FileNotFoundError:
            return None
        # Looked at last: whatever was replaced in between shows.
        return content if self.sample_stamp(voice) is not None else None

    def read_settled(self, voice_id: str, max_bytes: int) -> tuple[Voice, bytes | None] | None:
        """The voice with exactly this id and its first sample, both of one state.

        None if there is no such voice or no sample. Raises BusyError, OSError, ValueError.
        """
        with self._exclusive():
            voice = self._reader.scan().voices.get(voice_id)
            if voice is None or not voice.samples:
                return None
            return voice, self.read_sample(voice, max_bytes)

    def install(self, source: Path) -> None:
        """Make the folder and copy the voices in `source` into it, unless it exists already."""
        try:
            self._folder.mkdir(parents=True)
        except FileExistsError:
            return
        with self._exclusive():
            for folder in sorted(source.iterdir()):
                draft = self._folder / aside(NEW, folder.name)
                shutil.copytree(folder, draft)
                draft.rename(self._folder / folder.name)
            self._reader.forget()

    def register_staged(self) -> None:
        """Give every folder without metadata its `meta.json`, and finish what dead writers began.

        For the start only: later, a folder that is still being copied would be taken for whole.
        Raises BusyError, OSError where the folder cannot be written to.
        """
        scan = self._reader.scan()
        if not scan.has_left_overs and not any(map(self._is_staged, scan.voices.values())):
            return
        with self._exclusive():
            for voice in self._reader.scan().voices.values():
                if self._is_staged(voice):
                    write_meta(self._folder / voice.voice_id, voice)
                    self._reader.forget(voice.voice_id)

    def _is_staged(self, voice: Voice) -> bool:
        is_folder = bool(voice.samples) and not voice.is_flat
        return is_folder and not os.path.lexists(self._folder / voice.voice_id / META)

    def _look(self) -> Scan:
        """What there is; looked at once more when nobody is in the middle of swapping a voice."""
        scan = self._reader.current()
        if scan.is_torn:
            with suppress(OSError, BusyError), self._exclusive():
                return self._reader.settle()
        return scan

    def _find_settled(self, name: str) -> Voice | None:
        """Look when nobody is in the middle of swapping a voice."""
        if not self._folder.is_dir():
            return None
        scan = Scan()
        with suppress(OSError, BusyError), self._exclusive():
            scan = self._reader.settle()
        return match_voice(scan, name)

    def _path_of(self, voice: Voice) -> Path:
        return self._folder if voice.is_flat else self._folder / voice.voice_id

    def _choose_id(self, scan: Scan, name: str, *, but: Voice | None = None) -> str:
        """The id for a new voice of this name, which no voice has; `but` counts for none."""
        proposed = propose_ids(name) or (f"voice-{int(time.time())}-{uuid.uuid4().hex[:6]}",)
        others = [voice for voice in scan.voices.values() if voice is not but]
        taken = {voice.voice_id for voice in others} | {fold_name(voice.name) for voice in others}
        for voice_id in proposed:
            # A folder that is no voice may hold what somebody lost: only its own name replaces it.
            is_foreign = os.path.lexists(self._folder / voice_id) and name != voice_id
            is_own = but is not None and voice_id == but.voice_id
            if is_own or (voice_id not in taken and not is_foreign):
                return voice_id
        return proposed[-1]

    def _write(
        self,
        new: NewVoice,
        voice_id: str,
        name: str,
        created: int | None = None,
        *,
        old: Voice | None = None,
    ) -> Voice:
        created = int(time.time()) if created is None else created
        voice, files = compose(new, voice_id, name, created)
        voice = self._write_folder(voice, files, new.cover)
        self._remove_flat(old)
        return voice

    def _write_folder(self, voice: Voice, files: dict[str, bytes], cover: Cover | None) -> Voice:
        draft = self._folder / aside(NEW, voice.voice_id)
        try:
            draft.mkdir()
            for name, content in files.items():
                write_durably(draft / name, content)
            if cover is not None:
                voice = replace(voice, cover=write_cover(draft, cover.suffix, cover.content))
            write_meta(draft, voice)
            swap_in(self._folder, draft, voice.voice_id)
            self._reader.forget(voice.voice_id)
        finally:
            remove_tree(draft)
        return voice

    def _to_folder(self, voice: Voice) -> Voice:
        """The voice as a folder, so that something can be noted of it."""
        if not voice.is_flat:
            return voice
        [sample] = voice.samples
        content = read_bytes(self.sample_path(voice, sample), MAX_SAMPLE_BYTES)
        folder = self._write_folder(replace(voice, is_flat=False), {sample.filename: content}, None)
        self._remove_flat(voice)
        return folder

    def _remove_flat(self, voice: Voice | None) -> None:
        """Remove the files of a voice that is none in a folder, if it is one."""
        if voice is None or not voice.is_flat:
            return
        gone = self._folder / aside(GONE, voice.voice_id)
        gone.mkdir()
        audio = self._folder / voice.samples[0].filename
        for path in (audio, audio.with_suffix(".txt"), audio.with_suffix(".lab")):
            with suppress(FileNotFoundError):
                path.rename(gone / path.name)
        remove_tree(gone)
        self._reader.forget(audio.name)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Be the only writer, of all threads and processes, in a folder without left-overs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._writing.acquire(timeout=LOCK_TIMEOUT_S):
            raise _busy()
        try:
            with self._lock:
                clean_up(self._folder)
                yield
        except Timeout:
            raise _busy() from None
        finally:
            self._writing.release()


def _busy() -> BusyError:
    return BusyError("the voices are being changed by somebody else; try again", retry_after_s=2)
