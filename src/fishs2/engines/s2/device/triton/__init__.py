"""The steps of decoding as Triton kernels, for NVIDIA GPUs.

Every function here has a twin of the same name and meaning in `device.ops`, in plain PyTorch, which
is the truth; `device.choose_ops` compares the two on the device before one is used. Triton is
imported here and nowhere else. With TRITON_INTERPRET=1 the kernels run on CPU tensors, slowly.

    rows.py      residual and norm; heads: norm, rotation, place in the cache; SwiGLU
    matrix.py    dense and packed matrices times vectors: stored (what they are), few, tiles
    attend.py    attention over the filled part of a cache
    draws.py     counted random numbers; draws
"""
