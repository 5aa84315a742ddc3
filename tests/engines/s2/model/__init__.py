"""Where modules without a file of their name here are tested.

fast_ar, params, step: engines/s2/model/test_generate
kv_cache, layers: engines/s2/model/test_slow_ar
linear: engines/s2/model/test_linear_cpu
loader: engines/s2/weights/test_checkpoint
streaming: engines/s2/model/test_codec
"""
