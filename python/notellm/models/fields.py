"""The fields of a ``config.json``: typed reading, and the handling of fields that nothing here reads."""

import sys
from typing import Any, NamedTuple

from notellm.errors import DataError, NotSupportedError
from notellm.io.json_tree import shortened

LARGEST = 2**31 - 1
"""The largest size allowed in a decoder: beyond it, products of sizes overflow."""

READ = frozenset(
    [
        *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps"),
        *("hidden_act", "attention_bias", "mlp_bias", "rope_theta", "rope_scaling", "rope_parameters"),
        *("original_max_position_embeddings", "sliding_window", "use_sliding_window", "max_window_layers"),
        *("layer_types", "tie_word_embeddings", "eos_token_id", "quantization_config"),
    ]
)
"""Fields that decide what is computed; `notellm.models.config` and `notellm.models.backbone` read them."""

_REASONS = {
    "says where the folder comes from": """
        _name_or_path name_or_path base_model model_name transformers_version _commit_hash _from_auto is_llama_config
        unsloth_fixed unsloth_version transformers.js_config architectures tokenizer_class use_bfloat16 kernel_config
        library_name tags""",
    "is how weights are stored; they are read in whatever dtype they have, and computed in the caller's": """
        dtype torch_dtype torchscript""",
    "is how transformers computes the same numbers": """
        use_cache cache_implementation _attn_implementation attn_implementation _attn_implementation_autoset
        _attn_implementation_internal _flash_attn_2_enabled _experts_implementation pretraining_tp
        chunk_size_feed_forward gradient_checkpointing""",
    "is what transformers returns beside the states": """
        return_dict output_attentions output_hidden_states output_scores return_dict_in_generate
        keys_to_ignore_at_inference is_decoder""",
    "matters to fresh or to full fine-tuned weights in transformers; training here has its own options": """
        initializer_range attention_dropout hidden_dropout hidden_dropout_prob resid_pdrop embd_pdrop""",
    "is a token that nothing here inserts: the tokenizer adds its own, and no text is padded": """
        bos_token_id pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id
        prefix suffix""",
    "is of heads for other tasks, which are not built": """
        id2label label2id num_labels problem_type finetuning_task task_specific_params classifier_dropout
        tf_legacy_loss loss_type""",
    "is how transformers searches for outputs; here `DecodingOptions` says it": """
        max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups diversity_penalty
        temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
        encoder_no_repeat_ngram_size bad_words_ids num_return_sequences remove_invalid_values
        exponential_decay_length_penalty suppress_tokens begin_suppress_tokens forced_bos_token_id
        forced_eos_token_id""",
    "is of vectors that others make of the states": """
        matryoshka_dimensions is_matryoshka sentence_transformers""",
}
HARMLESS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""Fields that change no number computed here, each with the reason."""


class Neutral(NamedTuple):
    """The only value with which a field changes nothing, and what it does with any other value."""

    value: object
    otherwise: str


NEUTRAL = {
    "is_causal": Neutral(True, "attention to what follows"),
    "use_bidirectional_attention": Neutral(False, "attention to what follows"),
    "is_encoder_decoder": Neutral(False, "an encoder"),
    "add_cross_attention": Neutral(False, "cross-attention"),
    "tie_encoder_decoder": Neutral(False, "an encoder"),
    "partial_rotary_factor": Neutral(1, "rotary positions in a part of each head"),
    "rope_interleaved": Neutral(False, "another order of rotated pairs"),
    "use_mrope": Neutral(False, "rotary positions of several axes"),
    "bias": Neutral(False, "biases"),
    "use_bias": Neutral(False, "biases"),
    "qkv_bias": Neutral(False, "biases"),
    "use_qk_norm": Neutral(False, "norms of heads"),
    "qk_layernorm": Neutral(False, "norms of heads"),
    "embedding_multiplier": Neutral(1, "scaled embeddings"),
    "residual_multiplier": Neutral(1, "scaled branches"),
    "logits_scaling": Neutral(1, "scaled logits"),
    "logit_scale": Neutral(1, "scaled logits"),
}
"""Fields of related models, which the core supports with one value only."""


class Fields:
    """A ``config.json`` whose values are checked when they are read.

    Args:
        values: The parsed file.
        where: The source for error messages, such as the file.
    """

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def whole(self, name: str, default: int | None = None, *, least: int = 1, most: int = LARGEST) -> int:
        """A whole number; null counts as absent.

        Raises:
            DataError: If it is not one, out of its range, or absent without a default.
        """
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise DataError(f"{self.where}: must have {name}, a whole number, but lacks it")
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not least <= value <= most:
            raise DataError(
                f"{self.where}: {name} must be a whole number in [{least}, {most}], but is {shortened(value)}"
            )
        return int(value)

    def number(self, name: str, default: float | None = None) -> float:
        """A positive finite number; null counts as absent.

        Raises:
            DataError: If it is not one, or absent without a default.
        """
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise DataError(f"{self.where}: must have {name}, a number, but lacks it")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value <= sys.float_info.max:
            raise DataError(f"{self.where}: {name} must be a number above 0, but is {shortened(value)}")
        return float(value)

    def flag(self, name: str) -> bool:
        """A boolean; absent or null is false.

        Raises:
            DataError: If it is something else.
        """
        value = self.values.get(name)
        if not isinstance(value, bool | None):
            raise DataError(f"{self.where}: {name} must be true or false, but is {shortened(value)}")
        return bool(value)

    def part(self, name: str) -> "Fields":
        """The fields of a nested object; none if it is absent or null.

        Raises:
            DataError: If it is not an object.
        """
        value = self.values.get(name)
        if not isinstance(value, dict | None):
            raise DataError(f"{self.where}: {name} must be an object, but is {shortened(value)}")
        return Fields(value or {}, f"{self.where}: {name}")

    def unsupported(self, name: str, must: str) -> NotSupportedError:
        """The error for a value that the core cannot compute."""
        return NotSupportedError(
            f"{self.where}: {name} must be {must}, but is {shortened(self.values.get(name))}"
        )

    def refuse_unknown(self) -> None:
        """Refuses every field that is not read, known to be harmless, at its neutral value, or null.

        Raises:
            NotSupportedError: If there is such a field; names it.
        """
        for name, value in self.values.items():
            if value is None or name in READ or name in HARMLESS:
                continue
            if name == "auto_map":
                self._refuse_own_code(value)
            elif name not in NEUTRAL:
                raise NotSupportedError(
                    f"{self.where}: every field must be known here, but {name} is not (it is {shortened(value)}); try "
                    "without it, if it changes nothing that the model computes"
                )
            elif value != NEUTRAL[name].value or isinstance(value, bool) != isinstance(
                NEUTRAL[name].value, bool
            ):
                neutral = NEUTRAL[name]
                raise self.unsupported(name, f"{neutral.value} ({neutral.otherwise} cannot be computed here)")

    def _refuse_own_code(self, auto_map: object) -> None:
        """Refuses a model with its own code; own code for tokenizer or configuration changes nothing here."""
        for name in auto_map if isinstance(auto_map, dict) else ("",):
            if not str(name).startswith(("AutoConfig", "AutoTokenizer")):
                raise self.unsupported(
                    "auto_map", "without code of its own for the model, which may compute something else"
                )
