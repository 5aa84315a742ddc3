"""What is in the folder of voices: the reading side of `store`, which draws it.

A look is remembered, and taken again where something was added or taken away, or where it is older
than `SIGHT_S`. Only what was read whole is remembered. A folder that could not be read is tried
again every time, and its reason is in the log once.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fishs2.store.voices.files import (
    META,
    NO_UNICODE,
    Voice,
    is_audio,
    is_sample,
    is_unicode,
    read_flat_voice,
    read_voice,
    to_unicode,
)
from fishs2.store.voices.ids import fold_name
from fishs2.store.voices.swap import has_left_overs, is_torn

logger = logging.getLogger(__name__)

SIGHT_S = 1.5
"""How old a look may be that is answered from. What other programs change in a voice's files is
seen no later; what they add or remove is seen at once, where the disk's time stamps are fine."""

_COARSE_S = 2.5
"""A file that changes twice in this time may keep its time stamp. Source: FAT counts in 2 s."""

_OLD_S = 60.0
"""What was changed so long before it was read has its time to itself, whoever's clock it is."""

_Listing = dict[str, tuple[bool, int]]
"""The names in the folder: whether each is a folder, and its inode."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look found.

    voices: by id. named: by folded name, of equal ones the newest. unread: folders that may be
    voices and could not be read, with the reason. is_torn: a voice is missing that is being
    replaced, or was when its writer died. has_left_overs: a writer is at work, or died.
    """

    voices: Mapping[str, Voice] = field(default_factory=dict)
    named: Mapping[str, Voice] = field(default_factory=dict)
    unread: Mapping[str, OSError] = field(default_factory=dict)
    is_torn: bool = False
    has_left_overs: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """A voice as it was read.

    inode: of its folder or file. state: changes with anything that was read of it. since_s: when
    this state was seen first. is_settled: nothing can change and leave the state as it is.
    """

    voice: Voice
    folded: str
    inode: int
    state: object
    since_s: float
    is_settled: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """A scan, and what is known of its worth.

    taken_s: when it began. root: the folder's stamp before it; None is to be looked at again.
    is_settled: nobody was in the middle of swapping a voice.
    """

    scan: Scan = field(default_factory=Scan)
    listing: _Listing = field(default_factory=dict)
    entries: Mapping[str, _Entry] = field(default_factory=dict)
    taken_s: float = -math.inf
    root: object = None
    is_settled: bool = False


class VoiceFolder:
    """The folder, and what is remembered of it. Thread-safe; blocks."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, which nobody sets."""
        self.path = path
        self._clock = clock
        # Who looks holds it. Whoever finds a look that is good enough does not ask for it.
        self._looking = threading.Lock()
        self._last = _Look()
        # Bounded: what is told of a name goes when the name does.
        self._told: dict[str, set[str]] = {}

    def current(self) -> Scan:
        """What there is, at most `SIGHT_S` ago. Raises OSError if the folder cannot be read."""
        last = self._last
        is_young = self._is_young(last) and not last.scan.unread
        if is_young and last.root is not None and last.root == self._stamp_root():
            return last.scan
        with self._looking:
            return self._look(is_quick=self._is_young(self._last)).scan

    def scan(self) -> Scan:
        """Look at everything. Raises OSError if the folder itself cannot be read."""
        with self._looking:
            return self._look(is_quick=False).scan

    def settle(self) -> Scan:
        """What `current` says when nobody else writes. Raises OSError as it does."""
        with self._looking:
            look = self._look(is_quick=self._is_young(self._last))
            self._last = replace(look, is_settled=True)
            return look.scan

    def is_settled(self, scan: Scan) -> bool:
        """Whether what this scan lacks is really not there, and not just being swapped."""
        last = self._last
        return last.is_settled and last.scan is scan

    def forget(self, *names: str) -> None:
        """Read these again: they were changed. names: of entries in the folder."""
        with self._looking:
            kept = {name: at for name, at in self._last.entries.items() if name not in names}
            self._last = replace(self._last, entries=kept, root=None)

    def confirm(self, voice: Voice) -> Voice | None:
        """The voice as it is at this moment; None where a scan has to say what it is now."""
        name = voice.samples[0].filename if voice.is_flat else voice.voice_id
        listing, known = self._last.listing, self._last.entries.get(name)
        if known is None or known.voice is not voice:
            return None
        try:
            read = self._read(name, listing, known)
        except (OSError, ValueError):
            return None
        if read is None or (read.folded, read.voice.created) != (known.folded, voice.created):
            return None
        return read.voice

    def _is_young(self, look: _Look) -> bool:
        return self._clock() - look.taken_s < SIGHT_S

    def _stamp_root(self) -> object:
        try:
            state = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return "none"
        return (state.st_ino, state.st_mtime_ns)

    def _look(self, *, is_quick: bool) -> _Look:
        """Look, and remember it. is_quick: what still has its inode is as it was."""
        last, taken_s, root = self._last, self._clock(), self._stamp_root()
        listing = self._list_names()
        unread: dict[str, OSError] = {}
        entries: dict[str, _Entry] = {}
        for name in _voice_names(listing):
            known = last.entries.get(name)
            if is_quick and known is not None and known.inode == listing[name][1]:
                entries[name] = known
                continue
            with self._reading(name, listing[name][0], unread):
                read = self._read(name, listing, known)
                if read is not None:
                    entries[name] = read
        is_same = listing == last.listing
        scan = last.scan
        is_plain = not (unread or scan.unread or scan.is_torn)
        if not (is_same and is_plain and _are_same(entries, last.entries)):
            scan = self._gather(listing, entries, unread)
        self._told = {name: told for name, told in self._told.items() if name in listing}
        self._last = _Look(
            scan=scan,
            listing=listing,
            entries=entries,
            # Of what was kept without being read, the time does not begin anew.
            taken_s=last.taken_s if is_quick else taken_s,
            root=root,
            is_settled=last.is_settled and is_same and not scan.is_torn,
        )
        return self._last

    def _gather(
        self, listing: _Listing, entries: Mapping[str, _Entry], unread: dict[str, OSError]
    ) -> Scan:
        """The scan of what was read; of a folder and a file of one name, the folder."""
        voices: dict[str, Voice] = {}
        named: dict[str, Voice] = {}
        for name, entry in entries.items():
            voice = entry.voice
            if voice.voice_id in voices or (voice.is_flat and voice.voice_id in unread):
                self._tell(name, "there is a voice of this name")
                continue
            voices[voice.voice_id] = voice
            other = named.get(entry.folded)
            if other is None or _age(voice) > _age(other):
                named[entry.folded] = voice
        for name in sorted(name for name, (is_folder, _) in listing.items() if not is_folder):
            if not is_audio(name) and is_sample(name) and os.path.splitext(name)[1]:
                self._tell(name, "it is not an audio file")
        known = {name for name, entry in self._last.entries.items() if not entry.voice.is_flat}
        return Scan(
            voices=voices,
            named=named,
            unread=unread,
            is_torn=is_torn(listing) or not known <= listing.keys(),
            has_left_overs=has_left_overs(listing),
        )

    def _list_names(self) -> _Listing:
        """What is in the folder. Links are left out."""
        try:
            with os.scandir(self.path) as entries:
                return {
                    entry.name: (entry.is_dir(follow_symlinks=False), entry.inode())
                    for entry in entries
                    if not entry.is_symlink()
                }
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def _read(self, name: str, listing: _Listing, known: _Entry | None) -> _Entry | None:
        """The voice of this name, read again if it may have changed; None if there is none."""
        if not is_unicode(name):
            raise ValueError(NO_UNICODE)
        is_folder, inode = listing[name]
        path = f"{self.path}/{name}"
        files = _files_of_folder(path) if is_folder else _files_of_flat(path)
        state = [(file.st_ino, file.st_mtime_ns, file.st_ctime_ns, file.st_size) for file in files]
        is_same = known is not None and known.state == state
        if known is not None and is_same and known.is_settled:
            return known
        now_s = self._clock()
        since_s = known.since_s if known is not None and is_same else now_s
        tell = partial(self._tell, name)
        read = read_voice if is_folder else read_flat_voice
        voice = read(self.path / name, tell)
        if voice is None:
            return None
        is_settled = now_s - since_s > _COARSE_S or _is_old(files)
        if known is not None and voice == known.voice and voice.stamp == known.voice.stamp:
            voice = known.voice
        return _Entry(voice, fold_name(voice.name), inode, state, since_s, is_settled)

    @contextmanager
    def _reading(self, name: str, is_folder: bool, unread: dict[str, OSError]) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:  # deleted or replaced at this moment
            pass
        except OSError as error:
            unread[name if is_folder else os.path.splitext(name)[0]] = error
            self._tell(name, error.strerror or type(error).__name__)
        except ValueError as error:
            self._tell(name, str(error))

    def _tell(self, name: str, message: str) -> None:
        told = self._told.setdefault(name, set())
        if message not in told:
            told.add(message)
            logger.warning("skipped in the voices folder: %s: %s", to_unicode(name), message)


def _voice_names(listing: _Listing) -> Iterable[str]:
    """What may be a voice: folders first, as they win over files of their name."""
    folders = [name for name, (is_folder, _) in listing.items() if is_folder and name[0] != "."]
    files = sorted(name for name, (is_folder, _) in listing.items() if not is_folder)
    return [*folders, *filter(is_audio, files)]


def _are_same(one: Mapping[str, _Entry], other: Mapping[str, _Entry]) -> bool:
    return one.keys() == other.keys() and all(
        entry.voice is other[name].voice for name, entry in one.items()
    )


def _age(voice: Voice) -> tuple[int, str]:
    return (voice.created, voice.voice_id)


def _files_of_folder(path: str) -> list[os.stat_result]:
    """Of what is read of a voice's folder: when one of these is as it was, all of it is.

    Raises OSError.
    """
    own = os.stat(path, follow_symlinks=False)
    try:
        return [own, os.stat(f"{path}/{META}", follow_symlinks=False)]
    except FileNotFoundError:
        # Nothing says whether its transcripts changed, but they themselves.
        with os.scandir(path) as entries:
            return [own, *(entry.stat(follow_symlinks=False) for entry in entries)]


def _files_of_flat(path: str) -> list[os.stat_result]:
    """The same of an audio file with its transcript beside it."""
    files = [os.stat(path, follow_symlinks=False)]
    for suffix in (".txt", ".lab"):
        with suppress(FileNotFoundError):
            files.append(os.stat(os.path.splitext(path)[0] + suffix, follow_symlinks=False))
    return files


def _is_old(files: Iterable[os.stat_result]) -> bool:
    changed_s = max(max(file.st_mtime, file.st_ctime) for file in files)
    return time.time() - changed_s > _OLD_S
