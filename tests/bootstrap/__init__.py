"""Where modules without a file of their name here are tested.

engine: server/test_s2_server
files, hardware, torch_install: bootstrap/test_plan
progress: bootstrap/test_download
"""
