"""Where modules without a file of their name here are tested.

body, errors: server/dialects/fish_open/test_api
dialect: server/edge/test_dialect
examples: server/test_api_page
"""
