"""Where modules without a file of their name here are tested.

ssml_text: text/directing/test_ssml
"""
