"""Joint contrastive and generative training."""

from notellm.training.options import TrainOptions
from notellm.training.trainer import Trainer

__all__ = ["TrainOptions", "Trainer"]
