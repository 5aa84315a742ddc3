"""Where modules without a file of their name here are tested.

body, request: server/dialects/openai/test_speech
dialect: server/edge/test_dialect
events: server/edge/test_streaming
examples: server/test_api_page
instructions: server/dialects/wrapper/test_speech_fields
query: server/dialects/openai/test_speech_link
"""
