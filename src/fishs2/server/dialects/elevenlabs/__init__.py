"""ElevenLabs: its speech, its WebSockets, and what its SDKs ask for beside them."""
