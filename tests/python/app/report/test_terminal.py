"""The tables: one row a system, every number, plain text where there is no terminal."""

import io

import pytest

from notellm import DataError
from notellm.app.report import print_evaluation
from notellm.evaluation import Evaluation


def printed(evaluation):
    stream = io.StringIO()
    print_evaluation(Evaluation.from_json(evaluation), stream)
    return stream.getvalue()


def test_one_row_a_system_with_its_numbers(evaluation):
    lines = printed(evaluation).splitlines()
    trained = [line for line in lines if "NoteLLM trained" in line]
    assert [cell.strip() for cell in trained[0].split("|")[2:-1]] == ["4.7", "23.0", "56.0", "89.2", "0.089"]
    assert [cell.strip() for cell in trained[1].split("|")[2:-1]] == ["61.6", "44.8"]
    assert [cell.strip() for cell in trained[2].split("|")[2:-1]] == ["46.5", "5.0", "37.2", "56.5", "6.2"]
    assert [cell.strip() for cell in trained[3].split("|")[2:-1]] == ["16.1", "32.2", "19.3", "29.0", "22.5"]
    below = lines[lines.index(trained[0]) + 1]
    assert "53.0\u201359.3" in below


def test_plain_text_fits_the_page_and_holds_no_colour_codes(evaluation):
    text = printed(evaluation)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_tables_are_as_wide_as_their_cells_where_there_is_no_terminal(evaluation):
    name = "a system:x: with a name that takes many columns, such as that of a study's longest row"
    evaluation["systems"][0]["name"] = name
    text = printed(evaluation)
    assert "\u2026" not in text
    row = next(line for line in text.splitlines() if name in line)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["5.5", "19.2", "43.8", "70.7", "0.104"]


def test_a_narrow_terminal_folds_what_does_not_fit(evaluation, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    assert "\u2026" not in printed(evaluation)


def test_the_sentences_follow_the_tables(evaluation):
    text = " ".join(printed(evaluation).split())
    assert "Training raises Recall@100 from 32.0 % to 56.0 %" in text
    assert "Against TF-IDF (full text): TF-IDF still wins at Recall@1" in text
    assert "Against TF-IDF (same text): TF-IDF wins at no cut-off beyond doubt" in text


def test_the_language_model_is_named_where_it_is_known(evaluation):
    sentence = "Language model: SmolLM2-135M-Instruct, dequantised from Q4_1; products in bf16."
    assert sentence in printed(evaluation).splitlines()
    del evaluation["model"], evaluation["dtype"]  # as earlier versions wrote it
    assert "Language model" not in printed(evaluation)


def test_without_generation_there_is_no_such_table(evaluation):
    del evaluation["generation"]
    assert "ROUGE" not in printed(evaluation)


def test_what_is_not_measured_is_a_dash(evaluation):
    system = evaluation["generation"]["systems"][0]
    system["closed_set"] = system["macro_f1"] = system["hashtags"] = None
    rows = [line.split("|") for line in printed(evaluation).splitlines() if "| Zero-shot prompt |" in line]
    categories, hashtags = ([cell.strip() for cell in row[2:-1]] for row in rows[-2:])
    assert categories == ["1.5", "93.0", "-", "-", "-"]
    assert hashtags[-1] == "-"
    assert "-" not in hashtags[:-1]


def test_a_tree_of_another_kind_is_refused():
    with pytest.raises(DataError, match=r"evaluation\.json: must hold 'ks', but holds pool"):
        Evaluation.from_json({"pool": 1})


def test_what_texts_were_cut_into_is_said_where_it_is_known(evaluation):
    assert "cut into" not in printed(evaluation)  # as earlier versions wrote it
    for system in evaluation["systems"]:
        system["analyzer"] = "words and characters" if system["key"].startswith("tfidf") else ""
    evaluation["generation"] |= {"tokenizer": "characters", "bleu_tokenizer": "13a and characters"}
    evaluation["generation"]["systems"][0]["undefined"] = {"rouge2": 12}
    text = " ".join(printed(evaluation).split())
    sentence = (
        "Texts were cut into words and characters (TF-IDF (same text), TF-IDF (full text)); characters (ROUGE); "
        "13a and characters (BLEU)."
    )
    assert sentence in text
    assert "Left out, since their own hashtags are too short or hold no word: by ROUGE-2 12 notes." in text


def without(evaluation, *metrics):
    """The evaluation of notes of which none has what these metrics are about."""
    for system in evaluation["generation"]["systems"]:
        system |= dict.fromkeys(metrics)
    return evaluation


CATEGORY_METRICS = ["category_accuracy", "illusory", "macro_f1", "closed_set"]
HASHTAG_METRICS = ["bleu4", "rouge1", "rouge2", "rougeL", "hashtags"]


def test_what_no_note_has_is_no_table_of_dashes(evaluation):
    text = printed(without(evaluation, *CATEGORY_METRICS))
    assert "Categories" not in text
    assert "Hashtags" in text
    without(evaluation, *HASHTAG_METRICS)
    for system in evaluation["generation"]["systems"]:
        system["hashtag_notes"] = 0
    assert "Hashtags" not in printed(evaluation)


def test_a_cut_off_that_is_left_out_is_said(evaluation):
    assert "left out: in a pool" not in printed(evaluation)
    evaluation |= {"pool": 572, "ks_left_out": [1000, 2000]}
    text = " ".join(printed(evaluation).split())
    assert "Recall@1000, Recall@2000 are left out: in a pool of 572 notes every order reaches them." in text


def test_the_order_the_lists_and_what_came_next_have_tables(evaluation, with_more):
    lines = printed(with_more(evaluation)).splitlines()
    assert not any("\u2026" in line for line in lines)
    assert "User to item, what came next: 321 users, 900 notes" in " ".join(lines)
    order = lines[next(n for n, line in enumerate(lines) if "averages over 270 targets" in line) :]
    row = next(line for line in order if "NoteLLM trained" in line)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [
        *("23.0", "23.0", "64.0", "23.0", "56.0", "0.089", "64.0")
    ]
    shown = lines[next(n for n, line in enumerate(lines) if "The first 10 notes of each list" in line) :]
    row = next(line for line in shown if "NoteLLM trained" in line)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["25.0", "7.2", "75.0"]
