"""Where modules without a file of their name here are tested.

commands: cli/test_s2
"""
