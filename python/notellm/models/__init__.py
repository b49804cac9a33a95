"""Backbones: parameters live here in ``nn.Module`` trees named as in Hugging Face checkpoints; the core computes."""
