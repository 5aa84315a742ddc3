"""Where modules without a file of their name here are tested.

api, dialect, errors, examples, manner, speaking: server/dialects/xtts/test_sillytavern
"""
