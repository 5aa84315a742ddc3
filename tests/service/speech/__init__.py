"""Where modules without a file of their name here are tested.

audio_path, parts, report: service/speech/test_feed
performance: service/speech/test_honoured
"""
