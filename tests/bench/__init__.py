"""Where modules without a file of their name here are tested.

own_server, plot, report, tables: cli/test_bench
"""
