"""The page: stands alone, says every number, breaks on no note, names what is missing and what is damaged."""

import json
import re
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from html_page import Page
from notellm import DataError
from notellm.app.config import compose, to_yaml
from notellm.app.numbers import percent
from notellm.app.report import write_report
from notellm.app.report.figures import COLOURS, WIDTH, Bar, bars, histogram, running_mean
from notellm.metrics import Interval

SYMBOLS = {"hit": "\u2713", "near": "\u2248", "invention": "\u2717"}


@pytest.fixture
def page(run_folder):
    return Page(write_report(run_folder).read_text())


def test_the_language_model_is_named_in_head_rules_and_origin(page):
    name = "SmolLM2-135M-Instruct, dequantised from Q4_1"
    assert f"seed 1234 \u00b7 {name} \u00b7 bf16 \u00b7 cpu" in page.text
    assert f"Language model: {name}; products in bf16. Prompt: paper." in page.text
    assert f"model {name} dtype bf16" in page.text


def swap(old, new):
    return lambda text: text.replace(old, new, 1)


def rewrite(path, change):
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def test_needs_no_network(run_folder):
    source = write_report(run_folder).read_text()
    page = Page(source)
    assert {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object"} == set()
    assert page.attributes("src") == []
    assert all(href.startswith("#") for href in page.attributes("href") + page.attributes("xlink:href"))
    assert re.findall(r"@import|url\((?!#)", source) == []
    named = set(re.findall(r"https?://[^\"' <)]+", source))
    assert named <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, never fetched


def test_ids_are_unique_and_links_lead_somewhere(page):
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    used = page.attributes("href") + page.attributes("xlink:href")
    used += [value[4:-1] for value in page.attributes("clip-path")]
    assert {name.removeprefix("#") for name in used} <= set(ids)
    assert {name for names in page.attributes("aria-labelledby") for name in names.split()} <= set(ids)


def test_every_number_of_the_evaluation_is_there(page, evaluation):
    def percents(*intervals):
        for interval in intervals:
            yield from (percent(interval[bound]) for bound in ("value", "low", "high"))

    expected = set()
    for system in evaluation["systems"]:
        sides = system["exposure"].values()
        expected |= set(percents(*system["recall"].values()))
        expected |= {f"{system['mrr'][bound]:.3f}" for bound in ("value", "low", "high")}
        expected |= {number for side in sides for number in percents(*side["recall"].values())}
    for writer in evaluation["generation"]["systems"]:
        scores = ("category_accuracy", "illusory", "bleu4", "rouge1", "rouge2", "rougeL")
        expected |= set(percents(*(writer[score] for score in scores)))
        expected |= set(percents(writer["closed_set"]["accuracy"], *writer["hashtags"].values()))
        expected |= {percent(writer["macro_f1"]), "6.2"}
    expected |= {number.removeprefix("-") for number in percents(*evaluation["differences"])}
    expected |= {"400", "2,938", "131", "38", "200", "71"}
    assert expected - set(re.findall(r"\d[\d,.]*\d|\d", page.text)) == set()


def test_what_texts_were_cut_into_stands_in_the_rules(run_folder):
    def name(tree):
        tree["systems"][0]["analyzer"] = "characters"
        tree["generation"]["tokenizer"] = "words"
        tree["generation"]["systems"][0]["undefined"] = {"rougeL": 3}

    rewrite(run_folder / "evaluation.json", name)
    text = Page(write_report(run_folder).read_text()).text
    assert "Texts were cut into characters (TF-IDF (same text)); words (ROUGE)." in text
    assert "hold no word: by ROUGE-L 3 notes." in text


def test_what_no_note_has_is_no_table_and_what_is_left_out_is_said(run_folder):
    def empty(tree):
        tree |= {"pool": 572, "ks_left_out": [1000]}
        for system in tree["generation"]["systems"]:
            system |= dict.fromkeys(["category_accuracy", "illusory", "macro_f1", "closed_set"])
            system["hashtag_notes"] = 0

    assert "Categories of 200" in Page(write_report(run_folder).read_text()).text
    rewrite(run_folder / "evaluation.json", empty)
    text = Page(write_report(run_folder).read_text()).text
    assert "Categories of" not in text
    assert "Hashtags of the" not in text
    assert "Recall@1000 is left out: in a pool of 572 notes every order reaches it." in text


def test_the_order_the_lists_and_what_came_next_are_there(run_folder, with_more):
    path = run_folder / "evaluation.json"
    path.write_text(json.dumps(with_more(json.loads(path.read_text()))))
    text = Page(write_report(run_folder).read_text()).text
    assert "User to item, what came next: 321 users, 900 notes" in text
    assert "Order, and averages over 270 targets" in text
    shown = text[text.index("The first 10 notes of each list") :]
    assert re.search(r"NoteLLM trained 25.0 7.2 75.0 72.0\u201378.3", shown)


def test_says_how_the_run_was_made(page):
    for fact in ("notellm demo train.steps=60", "1721d46", "1234", "2.13.0+cpu", "bf16", "alpha: 0.01"):
        assert fact in page.text
    for fact in ("45,785", "28,147", "60 steps of 48 notes", "167,040 tokens"):
        assert fact in page.text


def test_the_score_histogram_is_drawn_where_there_is_one(run_folder, page):
    assert "0.0078125 to 0.015625: 30,211" in page.text
    rewrite(run_folder / "data.json", lambda tree: tree.pop("mining"))
    without = Page(write_report(run_folder).read_text())
    assert "Scores of the pairs" not in without.text
    assert "151,327" in without.text


def test_note_text_cannot_become_markup(run_folder):
    hostile = '<script>alert(1)</script><b title="x">&amp;\''
    rewrite(run_folder / "neighbours.json", lambda tree: tree[0]["query"].update(title=hostile))
    lines = (run_folder / "generation.jsonl").read_text().splitlines()
    first = json.loads(lines[1])
    first["title"] = first["topics"][0] = hostile
    first["systems"]["trained"] = {"category": hostile, "hashtags": [hostile], "raw": hostile}
    (run_folder / "generation.jsonl").write_text(json.dumps(first) + "\n")
    page = Page(write_report(run_folder).read_text())
    assert "script" not in {tag for tag, _ in page.elements}
    assert page.text.count(hostile) >= 5


def test_names_of_systems_are_shown_as_they_are_in_tables_and_figures(run_folder):
    hostile = "<b>$x_1$ & 50 $\\alpha$</b> \"'"
    rewrite(run_folder / "evaluation.json", lambda tree: tree["systems"][0].update(name=hostile))
    rewrite(
        run_folder / "evaluation.json", lambda tree: tree["generation"]["systems"][0].update(name=hostile)
    )
    source = write_report(run_folder).read_text()
    page = Page(source)
    drawn = [
        element.text
        for svg in re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL)
        for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert drawn.count(hostile) == 4 + 2  # recall, exposure
    assert page.text.count(hostile) == 17 + 16  # of the one that only finds, of the one that writes


def test_target_is_marked_where_it_was_found(run_folder, page):
    assert page.text.count("target at rank") == 10
    found = sum(
        note["id"] == example["target"]["id"]
        for example in json.loads((run_folder / "neighbours.json").read_text())
        for system in example["systems"]
        for note in system["neighbours"]
    )
    assert found >= 5
    assert page.attributes("class").count("is-target") == found
    assert page.text.index("Zero-shot prompt target at rank") < page.text.index("NoteLLM trained target at")


def test_generated_words_are_judged_by_symbol_not_by_colour_alone(run_folder):
    line = {
        "id": "n", "title": "t", "category": "games", "topics": ["playing"],
        "systems": {"trained": {"category": "net", "hashtags": ["playing", "web", "gaming"], "raw": ""}},
    }  # fmt: skip
    (run_folder / "generation.jsonl").write_text(json.dumps(line) + "\n")
    text = Page(write_report(run_folder).read_text()).text
    for word, mark in {"net": "near", "playing": "hit", "web": "near", "gaming": "invention"}.items():
        assert f"{SYMBOLS[mark]} {word}" in text


def test_ten_notes_are_shown_tagged_ones_first(page):
    assert page.attributes("class").count("card note") == 10
    assert "no hashtags" not in page.text


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("evaluation.json", "evaluate"),
        ("train.jsonl", "train"),
        ("neighbours.json", "evaluate"),
        ("generation.jsonl", "evaluate"),
        ("data.json", "train"),
        ("run.json", "train"),
        ("config.yaml", "train"),
    ],
)
def test_a_missing_part_is_named_with_the_command_that_makes_it(run_folder, name, verb):
    (run_folder / name).unlink()
    text = Page(write_report(run_folder).read_text()).text
    assert f"Not there yet: {name}. Make it with notellm {verb} --run {run_folder} ." in text


def test_an_evaluation_without_generation_and_exposure(run_folder):
    def strip(tree):
        del tree["generation"]
        for system in tree["systems"]:
            del system["exposure"]

    rewrite(run_folder / "evaluation.json", strip)
    text = Page(write_report(run_folder).read_text()).text
    assert f"Not there yet: generation. Make it with notellm evaluate --run {run_folder} ." in text
    assert "Seldom and often" not in text


def test_generation_that_is_switched_off_is_said(run_folder):
    (run_folder / "config.yaml").write_text(to_yaml(compose(["evaluation.generation_notes=0"])))
    rewrite(run_folder / "evaluation.json", lambda tree: tree.pop("generation"))
    (run_folder / "generation.jsonl").unlink()
    text = Page(write_report(run_folder).read_text()).text
    command = f"Make it with notellm evaluate --run {run_folder} evaluation.generation_notes=200 ."
    for name in ("generation", "generation.jsonl"):
        assert f"Not there yet: {name} (evaluation.generation_notes is 0). {command}" in text


def test_statistics_are_explained_as_they_are_computed(page):
    """Whole targets, of which queries share some; claims for all comparisons together."""
    interval = page.text[page.text.index("95 % interval Whole targets are drawn") :]
    assert "at Student\u2019s quantile" in interval
    assert "Holm\u2019s correction" in interval[: interval.index("Exposure")]
    assert "is more than luck" not in page.text


def test_the_page_of_the_folder_that_one_is_in_has_its_name(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder)
    assert "<h1>demo</h1>" in write_report(".").read_text()


def test_an_empty_folder_still_gives_a_page(tmp_path):
    text = Page(write_report(tmp_path).read_text()).text
    assert text.count("Not there yet") == 7
    with pytest.raises(FileNotFoundError, match="must be a run folder, but does not exist"):
        write_report(tmp_path / "absent")


def test_a_resumed_run_counts_no_step_twice(run_folder):
    log = run_folder / "train.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:47] + lines[40:]))
    assert "60 steps of 48 notes, 167,040 tokens" in Page(write_report(run_folder).read_text()).text


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("train.jsonl", lambda text: text[:-20], r"train\.jsonl:60: must be JSON, but is damaged"),
        ("train.jsonl", swap('"tau"', '"tau'), r"train\.jsonl:1: must be JSON"),
        ("train.jsonl", swap('"scale"', '"size"'), r"train\.jsonl:1: must hold 'scale'"),
        ("evaluation.json", lambda text: text[: len(text) // 2], r"evaluation\.json:\d+: must be JSON"),
        (
            "evaluation.json",
            swap('"recall"', '"remember"'),
            r"evaluation\.json: systems\[0\]: must hold 'recall', but holds key, name, remember",
        ),
        (
            "evaluation.json",
            swap('"pool": 2938', '"pool": "all"'),
            r"evaluation\.json: pool: must be a number, but is 'all'",
        ),
        (
            "evaluation.json",
            swap('"ties": "mean"', '"ties": "best"'),
            r"evaluation\.json: ties: must be mean, optimistic or pessimistic, but is 'best'",
        ),
        ("evaluation.json", swap('"1000"', '"999"'), r"recall: must hold '1000'"),
        ("neighbours.json", swap('"target_rank"', '"rank"'), "must hold 'target_rank'"),
        ("generation.jsonl", swap('"topics": [', '"topics": 1, "x": ['), ":1: topics"),
        ("data.json", swap("0.0078125,", ""), r"data\.json: mining must have one histogram edge more"),
        ("run.json", lambda text: "[]", r"run\.json:1: must be an object, but is a list"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_with_its_place(run_folder, name, damage, message):
    path = run_folder / name
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    with pytest.raises(DataError, match=message):
        write_report(run_folder)
    assert not (run_folder / "report.html").exists()


def test_bytes_that_are_not_text_are_named_with_their_line(run_folder):
    (run_folder / "config.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(DataError, match=r"config\.yaml:2: must be UTF-8, but byte 8 is not"):
        write_report(run_folder)


def test_figures_are_well_formed_accessible_and_follow_the_theme(run_folder):
    source = write_report(run_folder).read_text()
    svgs = re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL)
    assert len(svgs) == 4 + 2 + 2 + 3 + 1  # recall, exposure, calibration, training, scores of pairs
    for svg in svgs:
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert [child.tag.split("}")[1] for child in root][:2] == ["title", "desc"]
        assert root.findall(".//{http://www.w3.org/2000/svg}text")
        assert not root.findall(".//{http://www.w3.org/2000/svg}metadata")
    light, dark = (
        set(re.findall(r"(--[\w-]+): #", palette))
        for palette in source.split("@media (prefers-color-scheme: dark)", 1)
    )
    assert light == dark
    assert set(re.findall(r"var\((--[\w-]+)\)", source)) <= light


def test_every_colour_of_a_figure_is_one_that_the_style_sheet_replaces(run_folder):
    source = write_report(run_folder).read_text()
    drawn = set()
    for svg in re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL):
        for element in ElementTree.fromstring(svg).iter():
            painted = re.findall(r"(?:fill|stroke): [^;]+", element.get("style", ""))
            if element.tag.endswith(("text", "path", "use")) and "clip" not in element.tag:
                assert painted  # black is what matplotlib does not write down
            drawn |= {colour for colour in painted if colour != "fill: none"}
    rules = dict(re.findall(r'\[style\*="([^"]+)"\] { (.+?) !important; }', source))
    assert len(drawn) > 10
    assert drawn <= rules.keys()
    assert len({value.split()[1] for value in rules.values()}) == len(COLOURS)
    assert all(colour.split(":")[0] == value.split(":")[0] for colour, value in rules.items())


def test_the_same_run_gives_the_same_page(run_folder):
    first = re.sub(r"Made [\d :-]+", "", write_report(run_folder).read_text())
    assert re.sub(r"Made [\d :-]+", "", write_report(run_folder).read_text()) == first


def test_a_histogram_names_its_last_edge_in_full():
    drawn = histogram("Scores", [2.0**power for power in range(-7, 9)], [1] * 15)
    labels = re.findall(r">([0-9.,e+]+)</text>", drawn.content)
    assert labels[:6] == ["0.0078", "0.062", "0.5", "4", "32", "256"]  # every third edge


def test_a_long_name_makes_its_panel_wider_and_is_there_from_its_beginning():
    """Names end left of the axes, at the place of their text; an SVG has nothing left of 0."""
    names = ["NoteLLM trained", "NoteLLM trained, 16 numbers, int8", "$x_1$ " * 12]
    for name, least in zip(names, (0, 70, 200), strict=True):
        drawn = bars("Recall@10", [Bar("other", name, Interval(0.5, 0.4, 0.6))])
        end = re.search(r'x="([\d.]+)"[^>]*>' + re.escape(name.rstrip()), drawn.content)
        assert end is not None
        assert drawn.width - WIDTH >= least
        assert float(end[1]) > 5.5 * len(name)
    assert bars("Recall@10", [Bar("trained", names[0], Interval(0.5, 0.4, 0.6))]).width == WIDTH


def test_the_running_mean_of_a_long_training_is_that_of_its_windows_and_takes_no_time():
    values = np.random.default_rng(0).normal(2.0, 1.0, 400).tolist()
    means = running_mean(values, share=0.1)
    for step in (0, 1, 39, 200, 398, 399):
        side = min(40, step, 399 - step)
        assert means[step] == pytest.approx(np.mean(values[step - side : step + side + 1]))
    begin = time.process_time()
    assert len(running_mean(values * 500)) == 200_000
    assert time.process_time() - begin < 5  # a window of 20,000 steps each took minutes
