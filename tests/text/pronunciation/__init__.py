"""Where modules without a file of their name here are tested.

borders: text/pronunciation/test_lexicon
"""
