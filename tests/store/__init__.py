"""Where modules without a file of their name here are tested.

accounts/keys, accounts/usage: store/test_database
clip_index: store/test_clips
"""
