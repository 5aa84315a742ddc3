"""Where modules without a file of their name here are tested.

edits: text/test_sourced
emoji: text/wording/test_wording
scripts: text/splitting/test_sentences
"""
