"""Where modules without a file of their name here are tested.

aligning, units: server/dialects/openai/test_timestamps
"""
