"""Where modules without a file of their name here are tested.

choice: service/speech/test_script
decoding: service/voices/test_library
rules: server/dialects/wrapper/test_voices
"""
