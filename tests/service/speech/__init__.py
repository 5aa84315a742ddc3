"""Where modules without a file of their name here are tested.

audio_path: service/speech/test_feed
document: server/test_ssml
live: server/dialects/fish_cloud/test_live
preview: server/dialects/openai/test_preview
report: service/speech/test_desk
plan, request, service: service/speech/test_honoured
sound: server/test_long_speech
"""
