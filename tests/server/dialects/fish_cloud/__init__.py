"""Where modules without a file of their name here are tested.

account, models: server/dialects/fish_cloud/test_sdk_models
body, request: server/dialects/fish_cloud/test_speech
dialect: server/edge/test_dialect
examples: server/test_api_page
frames: server/dialects/fish_cloud/test_live
"""
