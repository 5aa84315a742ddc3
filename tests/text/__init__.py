"""Where modules without a file of their name here are tested.

abbreviations, english: text/test_sentences
cleaning, edits: text/test_links
cut: text/test_split
emoji, money, plain: text/test_wording
scripts: text/test_sentences
"""
