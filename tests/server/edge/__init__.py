"""Where modules without a file of their name here are tested.

auth: server/edge/test_scopes
bodies, fields: server/dialects/test_absent
cors: server/edge/test_options
error_bodies, errors: server/dialects/openai/test_bad_input
events: server/dialects/openai/test_transcription
middleware: server/edge/test_streaming
timed: server/dialects/openai/test_timestamps
words: server/dialects/lexicons/test_api
"""
