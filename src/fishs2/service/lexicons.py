"""The stored lexicons, ready to be used: which of them act on a request, and how they change."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fishs2.advice import did_you_mean
from fishs2.errors import NotFoundError, StoreUnavailableError, UserError
from fishs2.service.threads import Threads
from fishs2.store.failures import store_errors
from fishs2.store.lexicons import MAX_FILE_BYTES, LexiconStore, Stamp, lexicon_id
from fishs2.text.pronunciation.formats import read_json, write_json
from fishs2.text.pronunciation.lexicon import Lexicon
from fishs2.text.pronunciation.words import Word, check_words

DEFAULT_LEXICON = "default"
"""It always acts."""

VOICE_PREFIX = "voice-"
"""A lexicon of this and a voice's name acts when that voice speaks."""

MAX_NAMED = 16
"""Lexicons that a request may name."""

MAX_GIVEN_WORDS = 500
"""Words that a request may bring: they are made ready for it alone."""

_TRUSTED_S = 1.0
"""For how long a look at a file counts; a change by another program is seen within two seconds."""

_YOUNG_NS = 2_000_000_000
"""A coarse disk may give the next change the same time as one that is younger."""

_MAX_KEPT = 64
"""Lexicons that stay ready in memory, at most 20 MB each with all limits used up."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Kept:
    lexicon: Lexicon | None
    stamp: Stamp | None
    looked_s: float
    is_young: bool


class Lexicons:
    """The lexicons of one folder. For one event loop."""

    def __init__(self, store: LexiconStore, *, trusted_s: float = _TRUSTED_S) -> None:
        """trusted_s: for how long a look at a file counts."""
        self._store = store
        self._trusted_s = trusted_s
        self._threads = Threads(1, "lexicons")
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def choose(
        self, names: Sequence[str], *, voice: str, words: Sequence[Word] = ()
    ) -> tuple[Lexicon, ...]:
        """What acts on a request, the one that counts most first: its own words, the lexicons that
        it names, its voice's, the default.

        Raises NotFoundError `lexicon_not_found`, UserError, StoreUnavailableError.
        """
        check_named(names)
        chosen: list[Lexicon] = []
        if words:
            check_given(words)
            chosen.append(Lexicon(words))
        # The default acts whether it is named or not, and whether anybody has stored one.
        named = [name for name in map(lexicon_id, names) if name != DEFAULT_LEXICON]
        chosen += [await self._need(name) for name in dict.fromkeys(named)]
        others = [lexicon_id(VOICE_PREFIX + voice)] if voice else []
        for name in (*others, DEFAULT_LEXICON):
            found = await self._find(name)
            if found is not None and found not in chosen:
                chosen.append(found)
        return tuple(chosen)

    async def list(self) -> list[str]:
        """Ids of all. Raises StoreUnavailableError."""
        return await self._run(self._store.names)

    async def count(self, name: str) -> int:
        """How many words a lexicon has; 0 if somebody deleted it. Raises StoreUnavailableError."""
        found = await self._find(name)
        return len(found.words) if found is not None else 0

    async def words(self, name: str) -> tuple[str, tuple[Word, ...]]:
        """The id of a lexicon and its words, as they are now.

        Raises NotFoundError, UserError, StoreUnavailableError.
        """
        lexicon = lexicon_id(name)
        self._kept.pop(lexicon, None)
        return lexicon, (await self._need(lexicon)).words

    async def put(self, name: str, words: Sequence[Word]) -> str:
        """Store a lexicon, in the place of one that has its name; returns its id.

        Raises UserError, BusyError, StoreUnavailableError.
        """
        check_words(words, param="words")
        return await self._change(lexicon_id(name), lambda _: words)

    async def add(self, name: str, words: Sequence[Word]) -> str:
        """Add words to a lexicon, which is made if there is none. Raises what `put` raises."""

        def more(content: bytes | None) -> Sequence[Word]:
            known = read_json(content) if content is not None else []
            new = {_key(word) for word in words}
            together = [*(word for word in known if _key(word) not in new), *words]
            check_words(together, param="words")
            return together

        return await self._change(lexicon_id(name), more)

    async def remove(self, name: str) -> str:
        """Delete a lexicon; returns its id. Raises what `put` raises, and NotFoundError."""
        lexicon = lexicon_id(name)

        def gone(content: bytes | None) -> None:
            if content is None:
                raise _not_found(lexicon, self._store.names())

        await self._run(lambda: self._store.change(lexicon, gone))
        self._kept.pop(lexicon, None)
        return lexicon

    def close(self) -> None:
        """End the thread."""
        self._threads.close()

    async def _change(self, lexicon: str, change: Callable[[bytes | None], Sequence[Word]]) -> str:
        def content(old: bytes | None) -> bytes:
            new = write_json(change(old))
            if len(new) > MAX_FILE_BYTES:
                raise UserError(
                    f"the lexicon has {len(new):,} bytes; the limit is {MAX_FILE_BYTES:,}",
                    code="invalid_lexicon",
                    param="words",
                )
            return new

        await self._run(lambda: self._store.change(lexicon, content))
        self._kept.pop(lexicon, None)
        return lexicon

    async def _need(self, lexicon: str) -> Lexicon:
        found = await self._find(lexicon)
        if found is None:
            raise _not_found(lexicon, await self.list())
        return found

    async def _find(self, lexicon: str) -> Lexicon | None:
        kept = self._kept.get(lexicon)
        now_s = time.monotonic()
        if kept is None or now_s >= kept.looked_s + self._trusted_s:
            kept = await self._run(lambda: self._look(lexicon, kept, now_s))
            self._kept[lexicon] = kept
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(lexicon)
        return kept.lexicon

    def _look(self, lexicon: str, kept: _Kept | None, now_s: float) -> _Kept:
        stamp = self._store.stamp(lexicon)
        if kept is not None and kept.stamp == stamp and not kept.is_young:
            return _Kept(kept.lexicon, stamp, now_s, is_young=False)
        content = self._store.read(lexicon)
        if stamp is None or content is None:
            return _Kept(None, None, now_s, is_young=False)
        is_young = time.time_ns() - stamp.modified_ns < _YOUNG_NS
        try:
            if len(content) > MAX_FILE_BYTES:
                raise StoreUnavailableError(
                    f"the lexicon {lexicon} has more than {MAX_FILE_BYTES:,} bytes; put it anew"
                )
            return _Kept(Lexicon(read_json(content)), stamp, now_s, is_young=is_young)
        except UserError as error:
            # Whoever sent the request did not write the file.
            raise StoreUnavailableError(
                f"the stored lexicon {lexicon} is damaged ({error.message}); repair its file, put "
                "it anew, or delete it"
            ) from error

    async def _run(self, work: Callable[[], _T]) -> _T:
        def run() -> _T:
            with store_errors("lexicons"):
                return work()

        # Shielded: what a writer has begun it ends.
        return await asyncio.shield(asyncio.ensure_future(self._threads.run(run)))


def check_named(names: Sequence[str]) -> None:
    """Raise UserError `too_many_lexicons` for more than a request may name."""
    if len(names) > MAX_NAMED:
        raise UserError(
            f"the request names {len(names)} lexicons; the limit is {MAX_NAMED}",
            code="too_many_lexicons",
            param="lexicons",
        )


def check_given(words: Sequence[Word]) -> None:
    """Raise UserError `invalid_pronunciation` for what a request may not bring."""
    if len(words) > MAX_GIVEN_WORDS:
        raise UserError(
            f"the request brings {len(words):,} pronunciations; the limit is {MAX_GIVEN_WORDS}: "
            "store them as a lexicon, and name it in lexicons",
            code="invalid_pronunciation",
            param="pronunciations",
        )
    check_words(words, param="pronunciations")


def _key(word: Word) -> tuple[str | None, str | None, str | None]:
    return word.word, word.regex, word.language


def _not_found(lexicon: str, known: Sequence[str]) -> NotFoundError:
    return NotFoundError(
        "there is no lexicon of this name; GET /v1/lexicons lists them"
        f"{did_you_mean(lexicon, list(known))}",
        code="lexicon_not_found",
        param="lexicons",
    )
