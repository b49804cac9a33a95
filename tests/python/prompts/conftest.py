from dataclasses import dataclass

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from notellm.prompts import Prompt, load_prompt

EOS = 0


@dataclass
class SomeNotes:
    titles: list[str]
    contents: list[str]
    topics: list[list[str]]
    categories: list[str]


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level BPE with a few merges, so that whole words, parts of words and bytes all occur."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["</s>"],
        show_progress=False,
    )
    sentences = ["Extract the note information in json format", "generate the category of the note", "games"]
    made.train_from_iterator(sentences * 3, trainer)
    made.add_special_tokens(["[EMB]"])
    return made


@pytest.fixture(scope="session")
def compile_prompt(tokenizer):
    """Compiles a prompt, by name or configuration, for the session's tokenizer."""

    def compile_for_tests(config):
        config = load_prompt(config) if isinstance(config, str) else config
        return Prompt(config, tokenizer, tokenizer.token_to_id("[EMB]"), EOS)

    return compile_for_tests


@pytest.fixture(scope="session")
def paper(compile_prompt):
    return compile_prompt("paper")


@pytest.fixture(scope="session")
def release_zh(compile_prompt):
    return compile_prompt("release_zh")


@pytest.fixture
def notes():
    """Four notes: a full one; one with few hashtags; one without hashtags and category; one with nothing."""
    return SomeNotes(
        titles=["A 'quoted' title", "Chess", "Only text", ""],
        contents=["First line\nsecond line", "play", "some content " * 60, ""],
        topics=[["games", "role-playing-adventure", "note", "x11"], ["games"], [], []],
        categories=["games", "games", "", ""],
    )
