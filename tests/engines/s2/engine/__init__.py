"""Where modules without a file of their name here are tested.

prefixes, runner, speeches, utterance_state: engines/s2/engine/test_core
thread: engines/s2/engine/test_engine
vocoder: engines/s2/device/test_codec_stream
"""
