"""Where modules without a file of their name here are tested.

check_ops, choose_ops, ops: engines/s2/device/test_triton
recorder, row_pass, step_work: engines/s2/device/test_recorded_step
triton/attend, triton/draws, triton/few, triton/matrix: engines/s2/device/test_triton
triton/rows, triton/stored, triton/tiles: engines/s2/device/test_triton
"""
