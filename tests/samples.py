"""Notes that tests make up."""

import numpy as np

from notellm.data.notes import Notes

WORDS = (
    "library for reading audio files; tools that convert images between formats, a small web server "
    "written in C, fonts and themes for the desktop, games played in a terminal, scientific plots"
)

# one begins another, two share a beginning, one is long
CATEGORIES = [
    "games",
    "games and more",
    "game",
    "mail",
    "mailing lists",
    "a",
    "the longest of all names here",
]


def closing_tokens(model):
    """Ids of the text behind a category."""
    pieces = model.prompt.config.pieces("category")
    slot = next(i for i, (kind, _) in enumerate(pieces) if kind.name == "category")
    return [
        token for _, text in pieces[slot + 1 :] for token in model.prompt.piece_tokenizer.encode_text(text)
    ]


def make_notes(count: int, seed: int = 0) -> Notes:
    """Notes of random words: some without hashtags, one without content, one with all fields long."""
    rng = np.random.default_rng(seed)
    words = WORDS.replace(",", "").replace(";", "").split()

    def text(low, high):
        return " ".join(rng.choice(words, rng.integers(low, high)))

    topics = [list(dict.fromkeys(rng.choice(words, rng.integers(0, 4)))) for _ in range(count)]
    contents = [text(1, 20) for _ in range(count)]
    contents[0] = ""
    titles = [text(1, 6) for _ in range(count)]
    titles[-1], contents[-1] = text(60, 61), text(200, 201)
    categories = [str(rng.choice(["sound", "graphics", "web", "games", "x11"])) for _ in range(count)]
    return Notes([f"note{i}" for i in range(count)], titles, contents, topics, categories)
