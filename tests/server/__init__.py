"""Where modules without a file of their name here are tested.

examples: server/test_api_page
logs: server/dialects/openai/test_openai_client
"""
