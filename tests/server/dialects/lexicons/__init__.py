"""Where modules without a file of their name here are tested.

dialect: server/edge/test_dialect
examples: server/test_api_page
"""
