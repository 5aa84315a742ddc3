"""Where modules without a file of their name here are tested.

child, link, start, watch: engines/hosted/test_engine
references: engines/hosted/test_messages
"""
