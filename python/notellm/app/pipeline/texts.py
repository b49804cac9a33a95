"""Notes as texts, for systems without a prompt."""

from typing import Any

import numpy as np

from notellm.app.config import Config
from notellm.data.notes import Notes
from notellm.models.backbone import read_prompt


def full_texts(notes: Notes) -> list[str]:
    """Title, hashtags and content of each note as one text."""
    fields = zip(notes.titles, notes.topics, notes.contents, strict=True)
    return [" ".join([title, *topics, content]) for title, topics, content in fields]


def truncated_texts(config: Config, notes: Notes) -> list[str]:
    """The same, truncated as in the prompt."""
    prompt = read_prompt(config.model.path, config.prompt)
    tokenized = prompt.tokenize(notes)

    def texts(lists: Any) -> list[str]:
        cuts = [part.tolist() for part in np.split(lists.ids, lists.offsets[1:-1])]
        return [prompt.piece_tokenizer.decode(cut) for cut in cuts]

    hashtags = texts(tokenized.hashtags) if len(tokenized.hashtags) else []
    bounds = tokenized.hashtag_offsets
    topics = [hashtags[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    fields = zip(texts(tokenized.titles), topics, texts(tokenized.contents), strict=True)
    return [" ".join([title, *own, content]) for title, own, content in fields]
