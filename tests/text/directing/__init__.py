"""Where modules without a file of their name here are tested.

ssml_document, ssml_text: text/directing/test_ssml
"""
