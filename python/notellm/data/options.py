"""Where notes and behaviour come from, and how they are split."""

from notellm.options import Options, option


class DataOptions(Options):
    """Where notes and behaviour come from, and how they are split into training and test."""

    source: str = option(
        "The Debian package catalogue, or your own files.", default="debian", choices=("debian", "files")
    )
    folder: str = option("Cache of fetched data; empty = ~/.cache/notellm/SOURCE.", default="")
    notes: str = option("files: table of notes (.parquet, .csv, .jsonl), also a URL.", default="")
    interactions: str = option(
        "files: table of user-note events, or a folder of its parts, by name; also a URL.", default=""
    )
    groups_column: str = option(
        "files: column of notes; notes that share a value are never split; empty = none.", default=""
    )
    ordered: bool = option(
        "files: whether events have an order, by their times or else by their rows (data=files says so); false: a "
        "user's notes are a basket, symmetric.",
        default=False,
    )
    split: str = option(
        "What is held out: notes, by groups, so that the model meets new ones; or users (baskets): all notes are "
        "known, and other users' behaviour is to be foreseen.",
        default="notes",
        choices=("notes", "users"),
    )
    test_fraction: float = option("Share of groups (or users) held out.", default=0.3, above=0, below=1)
    split_seed: int = option(
        "Which of them; kept apart from `seed` so that runs share a split.", default=0, at_least=0
    )
    held_out: str = option(
        "What is measured on: test; or validation, as large a share of the rest, to choose options by, and then "
        "nothing of the test side is trained or measured on.",
        default="test",
        choices=("test", "validation"),
    )
    queries: int = option(
        "At most so many test pairs are evaluated; 0 = all.", default=400, at_least=0, unit="pairs"
    )
    pairs: str = option(
        "Which training pairs: all, or those of two notes with hashtags (studies of r).",
        default="all",
        choices=("all", "tagged"),
    )
    train_pairs: int = option(
        "At most so many of them, drawn at random; 0 = all.", default=0, at_least=0, unit="pairs"
    )
    pool_notes: str = option(
        "Which test notes can be in the pool: those of some test pair, or all.",
        default="paired",
        choices=("paired", "all"),
    )
    pool: int = option(
        "At most so many of them, those of the queries first; 0 = all.", default=0, at_least=0, unit="notes"
    )

    def mismatch(self) -> str:
        """Files must be named if they are the source."""
        lacks_files = self.source == "files" and not (self.notes and self.interactions)
        return (
            "notes and interactions must be given where source is files; try data.notes=FILE data.interactions=FILE"
            if lacks_files
            else ""
        )
