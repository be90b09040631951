import torch

# Two test processes of two threads each on two cores wait for one another at every layer: a hundred times
# slower than one thread each.
torch.set_num_threads(1)
