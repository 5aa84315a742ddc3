"""Where modules without a file of their name here are tested.

english: text/splitting/test_sentences
money, plain: text/wording/test_wording
"""
