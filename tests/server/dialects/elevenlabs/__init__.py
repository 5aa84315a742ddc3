"""Where modules without a file of their name here are tested.

account, body, dialect, examples, request, speech: server/dialects/elevenlabs/test_sdk
contexts, sockets: server/dialects/elevenlabs/test_live
errors: server/dialects/elevenlabs/test_live
voices: server/dialects/elevenlabs/test_sdk
"""
