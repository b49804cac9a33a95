"""The first module of a sentence-transformers model that takes notes, tokenised as `NoteLLM.embed` does.

``modules.json`` names this class, so sentence-transformers loads it with ``trust_remote_code=True`` where ``notellm``
is installed. All but the tokens is left to sentence-transformers and to the model of transformers.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import Tensor

from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.models import backbone, notellm_folder
from notellm.prompts import Prompt, PromptConfig

__all__ = ["NoteTransformer"]

FIELDS = {"title": str, "content": str, "topics": list}


class NoteTransformer(Transformer):  # type: ignore[misc]
    """A `Transformer` whose inputs are notes: dictionaries with ``title``, ``content`` and ``topics``.

    A field that is missing is empty; other fields, such as an id, are not read. No named prompt is needed: the model's
    own stands around each note, whose fields are cut one by one.
    """

    extra: dict[str, Any]
    """What ``notellm.json`` says."""
    outline: backbone.Outline
    """The configuration, the tokenizer and the end tokens."""

    @classmethod
    def load(cls, model_name_or_path: str, **options: Any) -> Self:
        """Loads the module; called by sentence-transformers.

        Raises:
            DataError: If the folder does not say what the prompt is.
        """
        module: Self = super().load(model_name_or_path, **options)
        names = ("subfolder", "token", "cache_folder", "revision", "local_files_only")
        where = {name: options[name] for name in names if name in options}
        found = cls.load_file_path(model_name_or_path, notellm_folder.EXTRA_CONFIG, **where)
        if found is None:
            raise DataError(f"{model_name_or_path}: must have {notellm_folder.EXTRA_CONFIG}, but has not")
        folder = Path(found).parent
        module.extra = notellm_folder.read_extra(folder)
        module.outline = backbone.read_outline(folder)
        return module

    @cached_property
    def prompt(self) -> Prompt:
        """The prompt for notes."""
        config = PromptConfig.from_dict(self.extra["prompt"], where=notellm_folder.EXTRA_CONFIG)
        return backbone.compiled(self.outline, config)

    def __getstate__(self) -> dict[str, Any]:
        """For processes of a pool, which compile the prompt themselves."""
        return {name: value for name, value in self.__dict__.items() if name != "prompt"}

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """The tokens of notes, padded behind, where no state that is read sees it.

        Args:
            inputs: n notes.
            prompt: Must be none.

        Returns:
            ``input_ids`` and ``attention_mask``, each ``(n, T)`` int64; ``prompt_length``, how many first tokens are of
            no note.

        Raises:
            DataError: If an input is no note.
            ValueError: If there is a prompt.
        """
        if prompt:
            raise ValueError(
                f"NoteTransformer: prompt must be none, since notes have their own, but is {prompt!r}"
            )
        packed = self.prompt.pack(self.prompt.tokenize(_as_notes(inputs)), range(len(inputs)), mode="embed")
        paths = [torch.from_numpy(packed.tokens[packed.path(row)]).long() for row in range(len(inputs))]
        return {
            "input_ids": torch.nn.utils.rnn.pad_sequence(paths, batch_first=True),
            "attention_mask": _mask([len(path) for path in paths]),
            "prompt_length": int(packed.root_tokens[0]),
            "modality": "text",
        }

    def save(self, output_path: str, *arguments: Any, **options: Any) -> None:
        """Writes the module; called by sentence-transformers."""
        super().save(output_path, *arguments, **options)
        folder = Path(output_path)
        dim, nested, pooling = (self.extra[name] for name in ("dim", "nested_dims", "pooling"))
        notellm_folder.write_extra(folder, dim, nested, pooling, self.prompt.config)
        # transformers may have put together another one, as the class of tokenizers that the backbone names says
        self.outline.tokenizer.save(str(folder / "tokenizer.json"))


def _mask(lengths: Sequence[int]) -> Tensor:
    columns = torch.arange(max(lengths))
    return (columns < torch.tensor(lengths).unsqueeze(1)).long()


def _as_notes(inputs: Sequence[Any]) -> Notes:
    for row, note in enumerate(inputs):
        if not isinstance(note, Mapping):
            raise DataError(
                "NoteTransformer: each input must be a note such as {'title': ..., 'content': ..., 'topics': [...]}, "
                f"but number {row} is {note!r}; try an export that takes text"
            )
        for name, kind in FIELDS.items():
            if not isinstance(note.get(name, kind()), kind):
                raise DataError(
                    f"NoteTransformer: {name} of a note must be a {kind.__name__}, but that of number {row} is "
                    f"{note[name]!r}"
                )
        for topic in note.get("topics", []):
            if not isinstance(topic, str):
                raise DataError(
                    f"NoteTransformer: topics of a note must be texts, but one of number {row} is {topic!r}"
                )
    return Notes(
        ids=[str(row) for row in range(len(inputs))],
        titles=[note.get("title", "") for note in inputs],
        contents=[note.get("content", "") for note in inputs],
        topics=[list(note.get("topics", [])) for note in inputs],
        categories=[""] * len(inputs),
    )
