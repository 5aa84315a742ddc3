"""Where modules without a file of their name here are tested.

fast_ar, params: engines/s2/model/test_generate
kv_cache, layers: engines/s2/model/test_slow_ar
linear: engines/s2/model/test_linear_cpu
loader: engines/s2/weights/test_checkpoint
ops: engines/s2/device/test_triton
streaming: engines/s2/model/test_codec
"""
