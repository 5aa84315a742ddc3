"""Where modules without a file of their name here are tested.

beside, codec_config: engines/s2/device/test_model
block_sizes: engines/s2/weights/test_quant
config, safetensors, tensors: engines/s2/weights/test_checkpoint
gguf_header: engines/s2/weights/test_gguf
inspection: cli/test_s2
"""
