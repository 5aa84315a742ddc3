"""Where modules without a file of their name here are tested.

addresses: server/wire/test_connections
refusals: server/wire/test_limits
old_clients: server/wire/test_protocols
last_answer: server/wire/test_limits
"""
