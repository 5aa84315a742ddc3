"""Where modules without a file of their name here are tested.

child, output: engines/hosted/test_engine
inside: processes/test_pool
sandbox: audio/test_decoder
"""
