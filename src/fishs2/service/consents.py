"""Consents: recordings in which people allow their voices to be used, and who needs one of them."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fishs2.errors import NotFoundError, UserError
from fishs2.service.threads import Threads
from fishs2.service.voices.rules import MAX_NAME_CHARS, one_line
from fishs2.store.consents import Consent, ConsentStore
from fishs2.store.failures import store_errors

MAX_RECORDING_BYTES = 10_485_760
"""Source: OpenAI API reference, voice consents."""

MAX_PAGE = 100
DEFAULT_PAGE = 20

_MAX_LANGUAGE_CHARS = 35
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*\Z")
"""The form of BCP 47. Source: RFC 5646, sections 2.1 and 4.4.1."""

_T = TypeVar("_T")


class Consents:
    """The consents of one folder. For one event loop."""

    def __init__(self, store: ConsentStore) -> None:
        self._store = store
        self._threads = Threads(1, "consents")

    async def add(
        self,
        recording: bytes,
        *,
        name: str,
        language: str,
        check_audio: Callable[[bytes], Awaitable[object]],
    ) -> Consent:
        """Store a consent. check_audio: raises for what is no recording.

        Raises UserError `missing_files`, `missing_parameter`, `invalid_consent`,
        `too_many_consents` and what `check_audio` raises; BusyError, StoreUnavailableError.
        """
        name, language = _checked_name(name), _checked_language(language)
        if not recording:
            raise UserError(
                "no recording was uploaded: send the audio in a form part named recording",
                code="missing_files",
                param="recording",
            )
        if len(recording) > MAX_RECORDING_BYTES:
            raise _refused(
                "recording",
                f"has {len(recording):,} bytes; the limit is {MAX_RECORDING_BYTES:,}: send a "
                "shorter one, or mp3",
            )
        await check_audio(recording)
        return await self._run(lambda: self._store.add(name, language, recording))

    async def get(self, consent_id: str, *, param: str = "consent_id") -> Consent:
        """The consent of this id. Raises NotFoundError `consent_not_found`."""
        return _found(await self._run(lambda: self._store.find(consent_id)), param)

    async def rename(self, consent_id: str, name: str) -> Consent:
        """Give a consent another name. Raises NotFoundError, UserError, BusyError."""
        name = _checked_name(name)
        return _found(await self._run(lambda: self._store.rename(consent_id, name)), "consent_id")

    async def remove(self, consent_id: str) -> None:
        """Delete a consent with its recording; voices that name it stay. Raises NotFoundError."""
        if not await self._run(lambda: self._store.remove(consent_id)):
            raise _not_found("consent_id")

    async def page(self, after: str, limit: int) -> tuple[list[Consent], bool]:
        """At most `limit` consents, the newest first, and whether there are more.

        after: the id of the last of the page before, which may be gone; "" begins.
        """

        def read() -> tuple[list[Consent], bool]:
            ids = [each for each in self._store.ids() if not after or each < after]
            found = (self._store.find(each) for each in ids[:limit])
            return [each for each in found if each is not None], len(ids) > limit

        return await self._run(read)

    def close(self) -> None:
        """End the thread."""
        self._threads.close()

    async def _run(self, work: Callable[[], _T]) -> _T:
        def run() -> _T:
            with store_errors("consents"):
                return work()

        # Shielded: what a writer has begun it ends.
        return await asyncio.shield(asyncio.ensure_future(self._threads.run(run)))


def _checked_name(name: str) -> str:
    if len(name) > MAX_NAME_CHARS:
        raise _refused("name", f"has {len(name):,} characters; the limit is {MAX_NAME_CHARS}")
    name = one_line("name", name)
    if not name:
        raise _missing("name")
    return name


def _checked_language(language: str) -> str:
    language = language.strip()
    if not language:
        raise _missing("language")
    if len(language) > _MAX_LANGUAGE_CHARS or not _LANGUAGE.match(language):
        raise _refused("language", "is no BCP 47 tag; send one such as en-US or de")
    return language


def _missing(field: str) -> UserError:
    return UserError(
        f"{field} is missing: a consent has a name, a language and a recording",
        code="missing_parameter",
        param=field,
    )


def _refused(field: str, what: str) -> UserError:
    return UserError(f"the {field} {what}", code="invalid_consent", param=field)


def _found(consent: Consent | None, param: str) -> Consent:
    if consent is None:
        raise _not_found(param)
    return consent


def _not_found(param: str) -> NotFoundError:
    return NotFoundError(
        "there is no consent of this id; GET /v1/audio/voice_consents lists them",
        code="consent_not_found",
        param=param,
    )
