"""Configuration groups for Hydra; config.yaml is the root."""
