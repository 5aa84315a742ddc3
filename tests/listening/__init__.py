"""Where modules without a file of their name here are tested.

base: listening/test_conformance
whisper_child: listening/test_whisper
"""
