"""Where modules without a file of their name here are tested.

conversation, dialect, events, response, session: server/dialects/openai/realtime/test_realtime
"""
