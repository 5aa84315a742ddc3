"""Where modules without a file of their name here are tested.

doctor, main, planning, say, serve: cli/test_commands
fetch: cli/test_voices
launch: test_launcher
"""
