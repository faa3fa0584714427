"""The two-tower model: nn.Modules and tensors, nothing else."""
