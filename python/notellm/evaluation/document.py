"""The file that an evaluation leaves."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from notellm.files import atomic_write


def write_evaluation(
    path: str | Path,
    retrieval: Mapping[str, Any],
    *,
    generation: Mapping[str, Any] | None = None,
    model: str = "",
    dtype: str = "",
    prompt: str = "",
    truncation: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Writes an ``evaluation.json``, complete or not at all.

    Args:
        path: The file to write.
        retrieval: From ``evaluate_retrieval``.
        generation: From ``evaluate_generation``, if there is one.
        model: Name of the backbone, see `notellm.models.backbone.backbone_name`.
        dtype: Of the matrix products.
        prompt: Name of the prompt configuration.
        truncation: Tokens kept of each field, for example ``{"title": 20, "content": 80}``.

    Returns:
        The tree that was written.
    """
    made_with = {"model": model, "dtype": dtype, "prompt": prompt, "truncation": dict(truncation or {})}
    document = {**retrieval, **made_with}
    if generation is not None:
        document["generation"] = dict(generation)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return document
