"""Where modules without a file of their name here are tested.

channels: audio/test_decode
mp3_tag: audio/test_encode
"""
