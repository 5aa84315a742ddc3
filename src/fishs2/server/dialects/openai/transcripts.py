"""What was heard in OpenAI's formats of transcripts: text, subtitles, JSON, events.

Source: OpenAI API reference, createTranscription and its stream events.
"""

from collections.abc import Sequence

from starlette.responses import JSONResponse, PlainTextResponse, Response

from fishs2.listening.base import Heard, Segment, Task
from fishs2.listening.languages import LANGUAGES
from fishs2.server.edge.streaming import packed_json

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_FRAMES_PER_S = 100
"""In which Whisper counts `seek`."""


def answer_heard(
    heard: Heard, response_format: str, granularities: Sequence[str], task: Task = "transcribe"
) -> Response:
    """A transcript as an answer. granularities: of verbose_json, `word` and `segment`."""
    match response_format:
        case "text":
            return PlainTextResponse(f"{heard.text}\n")
        case "srt":
            return PlainTextResponse(write_srt(heard.segments))
        case "vtt":
            return Response(write_vtt(heard.segments), media_type="text/vtt; charset=utf-8")
        case "verbose_json":
            return JSONResponse(write_verbose(heard, granularities, task))
    return JSONResponse({"text": heard.text, "usage": _usage(heard)})


def write_verbose(
    heard: Heard, granularities: Sequence[str], task: Task = "transcribe"
) -> dict[str, object]:
    """All that is known of a transcript."""
    language = "english" if task == "translate" else LANGUAGES[heard.tongue.language]
    content: dict[str, object] = {
        "task": task,
        "language": language,
        "duration": round(heard.seconds, 3),
        "text": heard.text,
        "usage": _usage(heard),
    }
    if "segment" in granularities:
        content["segments"] = [_segment(i, each) for i, each in enumerate(heard.segments)]
    if "word" in granularities:
        content["words"] = [
            {"word": word.text.strip(), "start": word.start_s, "end": word.end_s}
            for word in heard.words
        ]
    return content


def write_srt(segments: Sequence[Segment]) -> str:
    """Subtitles as SubRip has them."""
    return "".join(
        f"{number}\n{_clock(each.start_s, ',')} --> {_clock(each.end_s, ',')}\n{_line(each)}\n\n"
        for number, each in enumerate(segments, start=1)
    )


def write_vtt(segments: Sequence[Segment]) -> str:
    """Subtitles as WebVTT has them. Source: W3C WebVTT; `-->` may not stand in a text."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(each.start_s, '.')} --> {_clock(each.end_s, '.')}\n"
        f"{_line(each).replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}\n\n"
        for each in segments
    )


def delta_event(text: str) -> bytes:
    """The event of another piece of text."""
    return _event({"type": "transcript.text.delta", "delta": text})


def done_event(heard: Heard) -> bytes:
    """The event that ends a transcript."""
    return _event({"type": "transcript.text.done", "text": heard.text, "usage": _usage(heard)})


def error_event(message: str, code: str) -> bytes:
    """The event of what went wrong after the answer had begun; OpenAI's client raises it."""
    return _event({"type": "error", "error": {"message": message, "code": code}})


def _segment(number: int, segment: Segment) -> dict[str, object]:
    return {
        "id": number,
        "seek": round(segment.start_s * _FRAMES_PER_S),
        "start": segment.start_s,
        "end": segment.end_s,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _usage(heard: Heard) -> dict[str, object]:
    return {"type": "duration", "seconds": round(heard.seconds, 3)}


def _line(segment: Segment) -> str:
    return " ".join(segment.text.split())


def _clock(seconds: float, point: str) -> str:
    total_ms = round(1000 * seconds)
    minutes, ms = divmod(total_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{point}{ms % 1000:03}"


def _event(content: dict[str, object]) -> bytes:
    return b"data: " + packed_json(content) + b"\n\n"
