"""Where modules without a file of their name here are tested.

cleaning: text/test_source
"""
