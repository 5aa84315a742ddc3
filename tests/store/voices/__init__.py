"""Where modules without a file of their name here are tested.

ids, lookup, swap: store/voices/test_store
"""
