import os

import torch

# Two cores are shared with others; more threads only fight over them.
torch.set_num_threads(1)
if not torch.cuda.is_available():
    # Triton reads this when a kernel is declared: the kernels run on CPU tensors then.
    os.environ.setdefault("TRITON_INTERPRET", "1")
