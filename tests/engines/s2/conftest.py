import torch

# Two cores are shared with others; more threads only fight over them.
torch.set_num_threads(1)
