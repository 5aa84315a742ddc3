"""Where modules without a file of their name here are tested.

abbreviations: text/splitting/test_sentences
cut: text/splitting/test_split
"""
