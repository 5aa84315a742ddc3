"""Where modules without a file of their name here are tested.

check: service/voices/test_doctor
dialect: server/edge/test_dialect
examples: server/test_api_page
"""
