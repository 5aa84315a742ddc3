"""Where modules without a file of their name here are tested.

voices: engines/espeak/test_engine
"""
