"""Whether a recording will do as a reference: what its sound is like, and what is said in it."""

from dataclasses import asdict, dataclass

from fishs2.audio.checkup import Finding
from fishs2.listening.comparing import compare
from fishs2.service.voices.decoding import ReferenceDecoder
from fishs2.service.voices.hearing import Hearing
from fishs2.store.voices.changes import NewVoice
from fishs2.store.voices.files import Voice

_FAIR_RATE, _POOR_RATE = 0.15, 0.35


@dataclass(frozen=True, slots=True)
class CheckUp:
    """All findings of one recording. heard: what is said in it; None where nobody listened."""

    findings: tuple[Finding, ...]
    heard: str | None = None

    def as_json(self) -> list[dict[str, object]]:
        """The findings as answers have them."""
        return [asdict(finding) for finding in self.findings]


class Doctor:
    """Examines recordings, stored or not. For one event loop."""

    def __init__(self, decoder: ReferenceDecoder, hearing: Hearing | None) -> None:
        self._decoder = decoder
        self._hearing = hearing

    async def examine_new(self, new: NewVoice, voice: Voice) -> CheckUp:
        """Examine the reference of a voice that was just stored. Raises what `examine` does."""
        first = next(sample for sample in new.samples if sample.content)
        heard = voice.transcript if voice.is_heard else None
        return await self.examine(
            first.content, transcript=voice.transcript, language=voice.language, heard=heard
        )

    async def examine(
        self,
        audio: bytes,
        *,
        transcript: str | None = None,
        language: str | None = None,
        heard: str | None = None,
    ) -> CheckUp:
        """Say whether an audio file will do as a reference.

        transcript: of it, held against what is heard where something listens. heard: what has been
        heard already. Raises UserError
        `invalid_audio`, also where nobody speaks, `audio_too_long`, `reference_audio_too_short`.
        """
        recording = await self._decoder.check(audio)
        findings = await self._decoder.examine(recording)
        if heard is None and self._hearing is not None:
            heard = await self._hearing.transcript_of(recording, language)
        if (of_transcript := judge_transcript(transcript, heard)) is not None:
            findings.append(of_transcript)
        return CheckUp(tuple(findings), heard)


def judge_transcript(transcript: str | None, heard: str | None) -> Finding | None:
    """What is to be said of a transcript; None where it cannot be held against anything."""
    if not (transcript and transcript.strip()):
        if heard:
            text = "there is no transcript; 0 words are given, and what was heard can be corrected"
            return Finding("transcript", "fair", 0.0, "words", text)
        text = "there is no transcript: 0 words are given; engines that clone need what is said"
        return Finding("transcript", "poor", 0.0, "words", text)
    if heard is None:
        return None
    difference = compare(transcript, heard)
    percent = 100 * difference.rate
    said = f"{percent:.0f} of 100 words of the transcript are heard otherwise"
    rate = difference.rate
    if rate > _POOR_RATE:
        return Finding("transcript", "poor", round(percent, 2), "percent", f"{said}: correct it")
    if rate > _FAIR_RATE:
        text = f"{said}: read it once more"
        return Finding("transcript", "fair", round(percent, 2), "percent", text)
    return Finding("transcript", "good", round(percent, 2), "percent", said)
