"""Where modules without a file of their name here are tested.

codec: server/dialects/fish_selfhosted/test_api
metrics: server/test_metrics
services: server/test_status
threads: service/voices/test_library
"""
