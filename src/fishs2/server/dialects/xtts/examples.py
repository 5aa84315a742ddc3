"""What the API page shows for the operations of XTTS servers and AllTalk."""

from fishs2.server.examples import TEXT, VOICE, Example

_MANNER = {"temperature": 0.7, "speed": 1.1, "top_p": 0.8, "top_k": 50, "repetition_penalty": 1.1}
_KEPT = {
    "status": "generate-success",
    "output_file_path": "0123456789abcdef.wav",
    "output_file_url": "/clips/0123456789abcdef.wav",
    "output_cache_url": "/clips/0123456789abcdef.wav",
}

EXAMPLES = {
    ("get", "/speakers"): Example(
        answer=[
            {
                "name": "Sample Male",
                "voice_id": VOICE,
                "preview_url": f"http://127.0.0.1:8020/sample/{VOICE}.wav",
            }
        ]
    ),
    ("get", "/speakers_list"): Example(answer=[VOICE, "default"]),
    ("get", "/languages"): Example(answer={"languages": {"English": "en", "German": "de"}}),
    ("get", "/get_models_list"): Example(answer=["s2-pro"]),
    ("get", "/get_tts_settings"): Example(answer=_MANNER),
    ("get", "/tts_settings"): Example(answer=_MANNER),
    ("post", "/set_tts_settings"): Example(body=_MANNER),
    ("post", "/tts_settings"): Example(body=_MANNER),
    ("post", "/tts_to_audio"): Example(
        body={"text": TEXT, "speaker_wav": "default", "language": "en"}
    ),
    ("get", "/tts_stream"): Example({"text": TEXT, "speaker_wav": "default", "language": "en"}),
    ("get", "/sample/{file}"): Example({"file": "default.wav"}),
    ("get", "/api/ready"): Example(answer="Ready"),
    ("get", "/api/voices"): Example(answer={"status": "success", "voices": [VOICE, "default"]}),
    ("get", "/api/rvcvoices"): Example(answer={"status": "success", "rvcvoices": ["Disabled"]}),
    ("get", "/api/currentsettings"): Example(answer={"current_model_loaded": "s2-pro"}),
    ("post", "/api/tts-generate"): Example(
        body={
            "text_input": f'*He looks up.* "{TEXT}"',
            "character_voice_gen": "default",
            "narrator_enabled": "true",
            "narrator_voice_gen": "default",
            "text_not_inside": "character",
            "language": "en",
        },
        answer=_KEPT,
    ),
    ("post", "/api/previewvoice"): Example(body={"voice": "default"}, answer=_KEPT),
    ("get", "/api/tts-generate-streaming"): Example(
        {"text": TEXT, "voice": "default", "language": "en"}
    ),
}
