"""Pipecat's ElevenLabs service: says as JSON what it got from the server in its first argument."""

import asyncio
import json
import sys
from typing import Any

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService

SENTENCES = ("Hello there, you. How are you today?", "Fine, thank you.")


class Listener(FrameProcessor):
    """Notes what the service sends on."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, Any] = {"bytes": 0, "stopped": 0, "words": [], "errors": 0}

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case TTSAudioRawFrame():
                self.heard["bytes"] += len(frame.audio)
            case TTSStoppedFrame():
                self.heard["stopped"] += 1
            case TTSTextFrame():
                self.heard["words"].append([frame.text, frame.pts])
            case ErrorFrame():
                self.heard["errors"] += 1
        await self.push_frame(frame, direction)


async def main(url: str) -> None:
    tts = ElevenLabsTTSService(
        api_key="any",
        url=url.replace("http", "ws", 1),
        sample_rate=24_000,
        settings=ElevenLabsTTSService.Settings(voice="alice", stability=0.5),
    )
    listener = Listener()
    task = PipelineTask(Pipeline([tts, listener]))
    await task.queue_frames([*(TTSSpeakFrame(each) for each in SENTENCES), EndFrame()])
    await PipelineRunner(handle_sigint=False).run(task)
    print(json.dumps(listener.heard))


asyncio.run(main(sys.argv[1]))
