"""Backbones: ``nn.Module`` trees hold parameters with the names of Hugging Face checkpoints; the core computes."""
