"""The tests mirror src/fishs2: a module's are in a file of its name, or where its folder here says.

advice: test_home
env_file: test_settings
errors: server/dialects/openai/test_bad_input
runtime: test_home
settings_groups/engines, settings_groups/home: test_settings
settings_groups/server, settings_groups/service: test_settings
settings_sources, settings_values: test_settings
"""
