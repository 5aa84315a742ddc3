"""The beginning of an utterance: that there is sound in it, and that it is what was heard before.

Both look at what the engine gives, chunk by chunk, and let it through; `feed` asks them.
"""

from collections.abc import Sequence

import numpy as np

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import SILENCE, Capabilities
from fishs2.errors import EngineError, RunawaySpeechError, UserError
from fishs2.text.normalize import has_speech, has_words
from fishs2.text.tags import remove_tags
from fishs2.text.turns import remove_speaker_tags


class Onset:
    """Keeps silence back until there is sound; text with words must have some.

    Signs and emoji alone may be nothing that an engine can say: then there is nothing to hear. A
    tag alone may be a pause.
    """

    def __init__(self, text: str, engine: Capabilities) -> None:
        self._engine = engine
        bare = remove_tags(remove_speaker_tags(text))
        self._has_words = has_words(bare)
        self._is_awaited = has_speech(bare)
        # At most what the engine makes of one utterance.
        self._silent: list[Pcm] = []

    def follow(self, pcm: Pcm) -> Sequence[Pcm]:
        """What may be heard, once the engine has made float32 [n] more."""
        if not self._is_awaited:
            return (pcm,)
        self._silent.append(pcm)
        # Written so that NaN is no sound.
        if not np.any(np.abs(pcm) > SILENCE):
            return ()
        self._is_awaited = False
        return self._silent

    def end(self) -> None:
        """The utterance has ended. If it has words and had no sound, raises RunawaySpeechError.

        An engine that knows only plain letters is silent where it knows none of them, and always
        will be: UserError `empty_input`.
        """
        if not (self._is_awaited and self._has_words):
            return
        if self._engine.spelling == "plain":
            raise UserError(
                f"a part of the text has nothing that the {self._engine.name} engine can speak: "
                "leave out what is in letters that it does not know, name a voice of their "
                "language, or use the s2 engine",
                code="empty_input",
                param="input",
            )
        raise RunawaySpeechError("the engine made no sound of text that has something to say")


class Echo:
    """Leaves out what was heard when an utterance is spoken again. taken: that, in pieces."""

    def __init__(self, taken: Sequence[Pcm]) -> None:
        self._rest = np.concatenate(taken) if taken else np.zeros(0, np.float32)

    def follow(self, pcm: Pcm) -> Pcm:
        """What is new in float32 [n] more. Raises EngineError where it is not the same speech."""
        if not len(self._rest):
            return pcm
        num_known = min(len(pcm), len(self._rest))
        if not np.array_equal(pcm[:num_known], self._rest[:num_known]):
            raise _cannot_go_on()
        self._rest = self._rest[num_known:]
        return pcm[num_known:]

    def end(self) -> None:
        """The utterance has ended. Raises EngineError if more of it was heard before."""
        if len(self._rest):
            raise _cannot_go_on()


def _cannot_go_on() -> EngineError:
    return EngineError(
        "the engine's process was lost in the middle of an utterance, and another one does not "
        "speak the rest of it"
    )
