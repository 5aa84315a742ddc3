"""What the API page shows for the voices' operations."""

from fishs2.server.examples import OWN_VOICE, SPOKEN, Example

_STORED = {
    "object": "list",
    "data": [
        {
            "voice_id": OWN_VOICE,
            "id": OWN_VOICE,
            "name": "My voice",
            "object": "voice",
            "files": [{"filename": "sample.wav", "size": 264644}],
            "created": 1767225600,
            "model": None,
            "language": "en",
            "prompt_text": SPOKEN,
            "transcript_source": "given",
        }
    ],
    "voices": [{"id": OWN_VOICE, "name": "My voice"}],
    "uploaded_voices": [
        {"name": OWN_VOICE, "created_at": 1767225600, "file_size": 264644, "ref_text": SPOKEN}
    ],
}
_UPLOAD = Example(body={"voice_id": OWN_VOICE, "name": "My voice", "prompt_text": SPOKEN})

EXAMPLES = {
    **{
        ("get", path): Example(answer=_STORED)
        for path in ("/v1/audio/voices", "/v1/voices", "/v1/files")
    },
    ("post", "/v1/audio/voices"): _UPLOAD,
    ("post", "/v1/files"): _UPLOAD,
    ("post", "/v1/voices/check"): Example(body={"prompt_text": SPOKEN}),
    ("delete", "/v1/voices/{voice_id}"): Example(given={"voice_id": OWN_VOICE}),
    ("delete", "/v1/audio/voices/{voice_id}"): Example(given={"voice_id": OWN_VOICE}),
}
