"""Word times by hearing: the known text is held against what Whisper heard, and when."""

from collections.abc import Sequence

from fishs2.audio.pcm import Pcm
from fishs2.listening.base import Wish
from fishs2.listening.languages import find_language
from fishs2.listening.placing import place_words
from fishs2.service.listening import Listening
from fishs2.service.speech.timing.placing import Placed, Span
from fishs2.service.speech.timing.times import Hear


class Aligner:
    """Finds when known words sound. For one event loop."""

    def __init__(self, listening: Listening, rate_hz: int) -> None:
        """rate_hz: of the engine."""
        self._listening = listening
        self._rate_hz = rate_hz

    @property
    def is_available(self) -> bool:
        """Whether there is something to listen with."""
        return self._listening.is_available

    def of(self, language: str | None) -> Hear:
        """What hears a speech in a language; None lets it find out."""
        wish = Wish(find_language(language) if language else None, with_words=True)

        async def hear(pcm: Pcm, text: str, spans: Sequence[Span]) -> list[Placed]:
            heard = await self._listening.hear(pcm, self._rate_hz, wish)
            placed = place_words(text, heard.words, seconds=heard.seconds, spans=spans)
            return [Placed(each.start, each.end, each.start_s, each.end_s) for each in placed]

        return hear
