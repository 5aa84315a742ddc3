"""Where modules without a file of their name here are tested.

addresses, amounts, calendar, numbers, romans, tongues: text/figures/test_find
"""
