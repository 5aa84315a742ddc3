"""Where modules without a file of their name here are tested.

info, listener, options, session: wyoming/test_wyoming
"""
