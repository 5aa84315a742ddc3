"""Where modules without a file of their name here are tested.

channels: audio/test_decode
decode_child: audio/test_decoder
mp3_tag: audio/test_encode
sink: store/test_spool
"""
