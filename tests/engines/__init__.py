"""Where modules without a file of their name here are tested.

base, languages: engines/test_conformance
missing: server/test_s2_server
"""
