"""How a step runs on a machine: kernels, graphs, streams."""
