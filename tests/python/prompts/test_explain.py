import pytest

from notellm._core.prompts import NotePrompt, Task
from notellm.prompts import explain_prompt


@pytest.mark.parametrize("task", ["category", "hashtags"])
def test_pieces_and_tokens_say_what_the_core_laid_out(paper, notes, task):
    tokenized = paper.tokenize(notes)
    shown = explain_prompt(paper, tokenized, 0, task=task, count=2)
    batch = paper.pack(tokenized, [0], task=task, count=2)

    assert [token.id for token in shown.tokens] == batch.tokens.tolist()
    assert shown.shared == batch.root_tokens[0] > 10
    assert [token.is_shared for token in shown.tokens].count(True) == shown.shared
    assert shown.text == "".join(piece.text for piece in shown.pieces)
    assert shown.pieces[-1].end == len(shown.tokens)
    assert all(a.end == b.begin for a, b in zip(shown.pieces, shown.pieces[1:], strict=False))

    values = {piece.name: piece.text for piece in shown.pieces}
    assert values["<title>"] == " A 'quoted' title"
    assert values["<emb>"] == "[EMB]"
    assert values[f"<{task}>"] == {"category": " games", "hashtags": " games, role-playing-adv"}[task]


def test_the_compressed_position_and_the_labels_are_marked(paper, notes):
    shown = explain_prompt(paper, paper.tokenize(notes), 0)
    marked = [i for i, token in enumerate(shown.tokens) if token.is_compression]
    assert marked == [shown.compression]
    assert shown.tokens[marked[0] + 1].text == "[EMB]"
    labels = [token.label_text for token in shown.tokens if token.label is not None]
    assert "".join(labels) == " games</s>"
    assert shown.tokens[-1].label_text == "</s>"


def test_a_row_of_a_plan_can_be_explained(release_zh, notes):
    row = NotePrompt(0, Task.hashtags, 1, [3])
    shown = explain_prompt(release_zh, release_zh.tokenize(notes), 0, row=row)
    assert (shown.task, shown.count) == ("hashtags", 1)
    values = {piece.name: piece.text for piece in shown.pieces}
    assert values["<topics>"] == "games，role-playing-adv，note"
    assert values["<hashtags>"] == "x11"


def test_parts_of_characters_show_as_in_the_vocabulary(release_zh, notes, tokenizer):
    shown = explain_prompt(release_zh, release_zh.tokenize(notes), 0)
    assert all(token.text and "\ufffd" not in token.text for token in shown.tokens)
    assert shown.tokens[0].text == tokenizer.id_to_token(shown.tokens[0].id)


def test_a_note_with_nothing_to_write_ends_at_the_compressed_position(paper, notes):
    shown = explain_prompt(paper, paper.tokenize(notes), 3)
    assert shown.compression == len(shown.tokens) - 1
    assert shown.pieces[-1].text == ' The compression word is:"'
    assert all(token.label is None for token in shown.tokens)
