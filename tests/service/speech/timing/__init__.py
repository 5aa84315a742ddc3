"""Where modules without a file of their name here are tested.

aligning, times, units: server/dialects/openai/test_timestamps
"""
