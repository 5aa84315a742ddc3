"""Where modules without a file of their name here are tested.

bundle: engines/s2cpp/test_files
engine, library, pipeline: native/test_s2cpp
"""
