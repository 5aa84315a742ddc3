"""The desk: counted once, reserved before it begins, settled whatever ends it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fishs2.engines.base import SpeechEngine
from fishs2.errors import EngineError, Fishs2Error, NotFoundError, QuotaError
from fishs2.runtime import open_lexicons, open_voices
from fishs2.service.accounts.accounts import Accounts, Principal
from fishs2.service.clips import Clips
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.desk import Desk
from fishs2.service.speech.live import LiveText
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import SpeechService, Spoken
from fishs2.store.accounts.keys import Key, NewKey, create_key, find_key
from fishs2.store.accounts.usage import read_usage
from fishs2.store.clips import ClipStore
from fishs2.store.database import Database
from tests.fakes import FakeEngine
from tests.feeding import RULES
from tests.serving import make_settings, until

TEXT = "One sentence here. Another sentence there."
REQUEST = SpeechRequest("id", TEXT)


@dataclass(frozen=True, slots=True)
class Office:
    """A desk that one key can come to."""

    desk: Desk
    accounts: Accounts
    principal: Principal
    reports: list[SpeechReport]
    find: Callable[[], Key]
    num_errors: Callable[[], int]

    def account(self) -> tuple[int, int, int]:
        """Spent, reserved, and requests in progress."""
        key = self.find()
        return key.spent, key.reserved, key.active


@asynccontextmanager
async def office(
    folder: Path, engine: SpeechEngine | None = None, **limits: int
) -> AsyncIterator[Office]:
    database = Database(f"sqlite:///{folder / 'fishs2.db'}")
    database.migrate()
    key, token = create_key(database, NewKey("me", **limits))  # type: ignore[arg-type]
    accounts = Accounts(database)
    await accounts.start()
    clips = Clips(ClipStore(folder / "clips", life_s=1e9, max_bytes=10**9))
    settings = make_settings(voices_dir=folder / "voices", home=folder, data_dir=folder)
    voices = open_voices(settings)
    admission = Admission(max_streams=9, max_queue=9, num_turns=2)
    lexicons = open_lexicons(settings)
    service = SpeechService(engine or FakeEngine(), admission, voices, RULES, lexicons)
    reports: list[SpeechReport] = []

    async def open_service() -> SpeechService:
        return service

    def find() -> Key:
        found = find_key(database, key.id)
        assert found is not None
        return found

    desk = Desk(
        accounts,
        clips,
        open_service=open_service,
        identify_engine=lambda: "fake",
        on_end=reports.append,
    )
    yield Office(
        desk,
        accounts,
        await accounts.authenticate(token),
        reports,
        find,
        lambda: sum(day.num_errors for day in read_usage(database, key.id, "2000-01-01")),
    )
    await clips.close()
    service.close()
    await voices.close()
    admission.check_integrity()
    assert admission.num_streams == 0
    await accounts.close()


async def test_all_of_a_text_is_reserved_and_paid_when_the_block_ends(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        script = await at.desk.write(REQUEST)
        async with at.desk.speak(at.principal, script) as spoken:
            assert at.account() == (0, len(TEXT), 1)
            async with spoken.render() as sound:
                assert sound.num_bytes > 44
        assert at.account() == (len(TEXT), 0, 0)
    assert [(each.outcome, each.num_chars) for each in at.reports] == [("finished", len(TEXT))]


async def test_what_is_refused_before_it_is_spoken_touches_no_account(tmp_path: Path) -> None:
    async with office(tmp_path, granted=10) as at:
        with pytest.raises(NotFoundError):
            await at.desk.write(SpeechRequest("id", TEXT, voice="nobody"))
        script = await at.desk.write(REQUEST)
        with pytest.raises(QuotaError, match="fewer than"):
            async with at.desk.speak(at.principal, script):
                pytest.fail("it may not speak")
        assert at.account() == (0, 0, 0)
        assert at.num_errors() == 0
    assert at.reports == []


async def test_who_was_counted_at_the_door_is_not_counted_again(tmp_path: Path) -> None:
    async with office(tmp_path, per_minute=2) as at:
        script = await at.desk.write(REQUEST)
        at_the_door = await at.accounts.count(at.principal)
        for _ in range(3):
            async with at.desk.speak(at_the_door, script) as spoken:
                async with spoken.render():
                    pass
        async with at.desk.work(at.principal):
            pass
        for enter in (at.desk.speak(at.principal, script), at.desk.work(at.principal)):
            with pytest.raises(QuotaError, match="2 times a minute"):
                async with enter:
                    pytest.fail("it was not counted")


@pytest.mark.parametrize("is_live", [False, True])
async def test_who_leaves_pays_for_what_was_begun(tmp_path: Path, is_live: bool) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with office(tmp_path, engine) as at:

        async def listen() -> None:
            async with enter(at, is_live) as spoken:
                async for _ in spoken.stream():
                    started.set()

        started = asyncio.Event()
        listening = asyncio.create_task(listen())
        await started.wait()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await until(lambda: engine.num_active == 0)

        first = engine.utterances[0].text
        assert at.account() == (len(first), 0, 0)
    assert [each.outcome for each in at.reports] == ["aborted"]


@pytest.mark.parametrize("is_live", [False, True])
async def test_failure_costs_nothing_and_is_counted_as_an_error(
    tmp_path: Path, is_live: bool
) -> None:
    async with office(tmp_path, FakeEngine(fail_after_chunks=1)) as at:
        with pytest.raises(EngineError):
            async with enter(at, is_live) as spoken, spoken.render():
                pass
        assert at.account() == (0, 0, 0)
        assert at.num_errors() == 1
    assert [each.outcome for each in at.reports] == ["failed"]


@asynccontextmanager
async def enter(at: Office, is_live: bool) -> AsyncIterator[Spoken]:
    """The same text, all there or as it comes."""
    if is_live:
        text = LiveText(max_chars=1_000)
        await text.add(TEXT)
        text.end()
        entering = at.desk.speak_live(at.principal, REQUEST, text)
    else:
        entering = at.desk.speak(at.principal, await at.desk.write(REQUEST))
    async with entering as spoken:
        yield spoken


async def test_live_text_is_reserved_as_it_is_written(tmp_path: Path) -> None:
    async with office(tmp_path, granted=30) as at:

        async def speak() -> None:
            async with at.desk.speak_live(at.principal, REQUEST, text) as spoken:
                async for _ in spoken.stream():
                    if not reserved:
                        reserved.append(at.account())
                        await text.add("This is too much for what is left. ")

        text = LiveText(max_chars=1_000)
        reserved: list[tuple[int, int, int]] = []
        await text.add("Hello there. ")
        with pytest.raises(QuotaError, match="fewer than"):
            await speak()
        assert reserved == [(0, 13, 1)]
        assert at.account() == (12, 0, 0)


async def test_clip_is_paid_by_the_first_who_asks(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        clips = [await at.desk.clip(at.principal, await at.desk.write(REQUEST)) for _ in range(2)]
        assert at.account() == (len(TEXT), 0, 0)
    assert clips[0].name == clips[1].name
    assert len(at.reports) == 1


async def test_clip_that_cannot_be_kept_costs_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        # A file where the folder should be.
        (tmp_path / "clips").touch()
        with pytest.raises(Fishs2Error):
            await at.desk.clip(at.principal, await at.desk.write(REQUEST))
        assert at.account() == (0, 0, 0)


async def test_work_costs_a_request_and_no_characters(tmp_path: Path) -> None:
    async with office(tmp_path) as at:
        async with at.desk.work(at.principal):
            assert at.account() == (0, 0, 1)
        with pytest.raises(EngineError):
            async with at.desk.work(at.principal):
                raise EngineError("no")
        assert at.account() == (0, 0, 0)
        assert at.num_errors() == 1


async def test_a_crowd_of_long_texts_lets_a_short_one_pass(tmp_path: Path) -> None:
    """To split each takes a while, and the event loop has one thread."""
    written: list[str] = []
    async with office(tmp_path) as at:

        async def write(name: str, text: str) -> None:
            await at.desk.write(SpeechRequest(name, text))
            written.append(name)

        # What is looked up in threads is known then, and only the event loop has a say.
        await write("first", TEXT)
        long = [write("long", "It goes on. " * 200) for _ in range(5)]
        await asyncio.gather(*long, write("short", TEXT))

    assert written[-1] == "long"
    assert written.count("long") == 5


def test_sound_that_was_not_taken_is_in_hand_however_long_ago_it_was_sent() -> None:
    report = SpeechReport(REQUEST, audio_s=3.0)
    report.unread_s = 2.0
    assert report.sound_in_hand_s() == 0.0

    report.started_s -= 1_000.0
    report.first_audio_s = 1.0
    assert report.sound_in_hand_s() == 2.0
