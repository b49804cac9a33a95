"""The backbone of a run, and what is put on top of it."""

from notellm.options import Options, option

LARGEST_DIM = 1 << 16
"""Largest width of an embedding."""

CORE, TRANSFORMERS = "core", "transformers"
"""Who can compute a backbone."""


class ModelOptions(Options):
    """The backbone and what is put on top of it."""

    path: str = option(
        "Folder of a Hugging Face model, of the Llama family unless backend says otherwise; or the name of one that is "
        "fetched: smollm2-135m (SmolLM2-135M-Instruct, dequantised from Q4_1).",
        default="smollm2-135m",
        not_empty=True,
    )
    backend: str = option(
        "Who computes it: core, for llama, mistral, qwen2 and qwen3; or transformers, for any causal model of that "
        "package: slower, with the same losses and files, without LoRA's dropout.",
        default=CORE,
        choices=(CORE, TRANSFORMERS),
        added_later=True,
    )
    layers: int = option("Keep the first so many layers; 0 = all.", default=0, at_least=0, unit="layers")
    pooling: str = option(
        "What becomes the vector: the state at the compression position, or the mean over the note's tokens up to it.",
        default="compression",
        choices=("compression", "mean"),
    )
    dim: int = option("Width d of an embedding.", default=128, at_least=1, at_most=LARGEST_DIM)
    tau: float = option(
        "First value of the learned log-scale: similarities are multiplied by exp(tau).", default=3.0
    )
    encoder: str = option(
        "The model of the systems sentence_bert_zero_shot and sentence_bert: folder of sentence-transformers, or of "
        "transformers (E5, Qwen3-Embedding); empty = all-MiniLM-L6-v2, which is fetched.",
        default="",
        added_later=True,
    )
    encoder_prompt: str = option(
        "What stands before each note (for E5 'query: '), or the name of one of the encoder's prompts; empty = its "
        "default.",
        default="",
        added_later=True,
    )
    encoder_pooling: str = option(
        "The encoder's vector of a text's states, if its folder has no modules.json, which says it.",
        default="mean",
        choices=("mean", "cls", "lasttoken"),
        added_later=True,
    )
