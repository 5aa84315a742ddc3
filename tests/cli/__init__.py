"""Where modules without a file of their name here are tested.

doctor, main, planning, say, serve: cli/test_commands
launch: test_launcher
"""
