"""Any causal language model of the package ``transformers``, where the core does not compute its family.

Prompts, packed batches, losses, training and files are those of `notellm.NoteLLM`; only the states come from elsewhere:
prompts are taken out of the packed batch, padded to one length, and run through the model as it is.
"""

from notellm.models.fallback.model import TransformersNoteLLM

__all__ = ["TransformersNoteLLM"]
