"""Folders of sentence-transformers: the backbone, pooling, the projection as a Dense module, unit length.

The layout is the one that all its versions read, and that vLLM and text-embeddings-inference document, too.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from notellm.errors import NotSupportedError
from notellm.export.text_form import text_form, text_tokenizer
from notellm.io.json_files import maybe_json_object, read_json_object
from notellm.models.backbone import CONFIG
from notellm.models.folder import SINGLE
from notellm.models.notellm import NoteLLM
from notellm.models.notellm_folder import DENSE, new_folder
from notellm.pooling import COMPRESSION, MEAN, pooling_name

__all__ = ["export_sentence_transformers"]

TAKES = ("notes", "text")
PROMPT_NAME = "note"
"""The named prompt of a model that takes text; sentence-transformers puts it before each text."""

TOKENS_MAP = "special_tokens_map.json"

_NAMES = "sentence_transformers.models"
"""Where its modules are named in folders; newer versions keep the older name."""

_POOLING_MODES = (
    "cls_token",
    "mean_tokens",
    "max_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)


def export_sentence_transformers(
    model: NoteLLM, folder: str | Path, *, takes: str = "notes", projected: bool = True, card: str = ""
) -> None:
    """Writes a folder for ``SentenceTransformer(folder)``, which `NoteLLM.from_pretrained` reads, too.

    Args:
        model: The model; adapters are merged in the files.
        folder: The folder to create; one made by an earlier call is replaced.
        takes: ``"notes"``: the model takes notes as dictionaries, and its vectors are those of `NoteLLM.embed`; it is
            loaded with ``trust_remote_code=True`` where ``notellm`` is installed. ``"text"``: it takes strings, and
            needs sentence-transformers alone; see `TextForm` for what differs, and `note_texts` for the strings.
        projected: Whether the vectors are projected, as in `NoteLLM.embed`.
        card: Its README.md, if it is to have one.

    Raises:
        ValueError: If ``takes`` is neither.
        NotSupportedError: If the pooling is a function; for text, if it is the mean.
        FileExistsError: If there is a folder with other things in it.
    """
    if takes not in TAKES:
        raise ValueError(
            f"export_sentence_transformers: takes must be one of {', '.join(TAKES)}, but is {takes!r}"
        )
    known = (COMPRESSION, MEAN) if takes == "notes" else (COMPRESSION,)
    if model.pooling not in known:
        raise NotSupportedError(
            f"export_sentence_transformers: for {takes} the pooling must be one of {', '.join(known)}, but is "
            f"{pooling_name(model.pooling)}"
        )
    with new_folder(folder, card) as target:
        model.write_files(target)
        _add(model, target, takes, projected)


def _add(model: NoteLLM, folder: Path, takes: str, projected: bool) -> None:
    first = "notellm.export.note_module.NoteTransformer" if takes == "notes" else f"{_NAMES}.Transformer"
    modules = [("", first), ("1_Pooling", f"{_NAMES}.Pooling")]
    if projected:
        modules.append((DENSE, f"{_NAMES}.Dense"))
    modules.append((f"{len(modules)}_Normalize", f"{_NAMES}.Normalize"))
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": kind}
        for place, (path, kind) in enumerate(modules)
    ]
    _write(folder / "modules.json", listed)
    for path, _ in modules[1:]:
        (folder / path).mkdir()
    _write(folder / "1_Pooling" / CONFIG, _pooling(model))
    if projected:
        _write_dense(model, folder / DENSE)
    longest = _write_text_form(model, folder) if takes == "text" else model.model.config.max_positions
    _write(folder / "sentence_bert_config.json", {"max_seq_length": longest or None, "do_lower_case": False})
    prompt = text_form(model.prompt).beginning if takes == "text" else ""
    named = dict.fromkeys((PROMPT_NAME, "query", "document"), prompt) if prompt else {}
    settings: dict[str, Any] = {"prompts": named, "default_prompt_name": PROMPT_NAME if prompt else None}
    if takes == "notes":  # newer versions say so where it is missing, instead of failing to import it
        settings["requirements"] = {"notellm": {"specifier": ">=0.1", "reason": "It tokenises the notes."}}
    _write(folder / "config_sentence_transformers.json", settings | {"similarity_fn_name": "cosine"})
    if model.nested_dims and projected:
        config = read_json_object(folder / CONFIG)
        _write(folder / CONFIG, config | {"matryoshka_dimensions": [*model.nested_dims, model.dim]})


def _pooling(model: NoteLLM) -> dict[str, Any]:
    mode = "lasttoken" if model.pooling == COMPRESSION else "mean_tokens"
    modes = {f"pooling_mode_{name}": name == mode for name in _POOLING_MODES}
    # the mean leaves out the tokens that all notes share; the module for notes says how many they are
    return {
        "word_embedding_dimension": model.model.config.width,
        **modes,
        "include_prompt": mode == "lasttoken",
    }


def _write_dense(model: NoteLLM, folder: Path) -> None:
    weight = model.projection_weight.detach()
    fields = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    _write(folder / CONFIG, fields)
    save_file({"linear.weight": weight.contiguous()}, folder / SINGLE, metadata={"format": "pt"})


def _write_text_form(model: NoteLLM, folder: Path) -> int:
    """Writes a tokenizer that puts the prompt's end behind each text; returns how many tokens a text may have."""
    form = text_form(model.prompt)
    text_tokenizer(model.prompt, model.tokenizer).save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    mapped = maybe_json_object(folder / TOKENS_MAP) or {}  # which wins in transformers
    config = read_json_object(path) | mapped
    (folder / TOKENS_MAP).unlink(missing_ok=True)
    for name in ("add_bos_token", "add_eos_token", "add_prefix_space", "chat_template"):
        config.pop(name, None)  # with these transformers may put together another tokenizer
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    longest = min(form.most_tokens, model.model.config.max_positions or form.most_tokens)
    config |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "padding_side": "right",
        "truncation_side": "right",
        "pad_token": _pad_token(model, config.get("pad_token")),
        # names of special tokens in a text are text, as in notes; but the prompt itself may have such tokens
        "split_special_tokens": not _has_special(model, form.beginning),
    }
    _write(path, config)
    return longest


def _pad_token(model: NoteLLM, given: Any) -> str:
    """The configured one, given as text or as an object; the end token in place of one without a row in the model."""
    name = given.get("content") if isinstance(given, dict) else given
    if isinstance(name, str) and model.tokenizer.token_to_id(name) is not None:
        return name
    return str(model.tokenizer.id_to_token(model.eos_token_id))


def _has_special(model: NoteLLM, text: str) -> bool:
    special = [
        token.content for token in model.tokenizer.get_added_tokens_decoder().values() if token.special
    ]
    return any(name in text for name in special)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
