"""What a run keeps is made anew where an option that decides it is another, and nothing else is: option by option."""

import json
import shutil
from dataclasses import replace as replace_in

import numpy as np
import pytest
import torch

from notellm.app.config import compose, config_keys, cost_keys, groups, replace
from notellm.app.pipeline import data as data_module
from notellm.app.pipeline import (
    evaluate,
    load_data,
    prepare,
    run_steps,
    select_queries,
    systems,
    written_words,
)
from notellm.app.run import AFTER_TRAINING, RunFolder
from notellm.app.studies.cell import Cell, Row
from notellm.data import Interactions
from notellm.errors import ConfigError, DataError

BARE = {"zero_shot_mean", "zero_shot_last"}
BACKBONE = BARE | {"zero_shot_prompt"}
ENCODER = {"sentence_bert_zero_shot", "sentence_bert"}
OWN = BACKBONE | {"trained"}

EXPECTED = {
    "seed": {"generation"},
    "device": OWN | ENCODER | {"generation"},
    "dtype": OWN | {"generation"},
    "model.path": BACKBONE | ENCODER | {"generation"},
    "model.layers": BACKBONE | {"generation"},
    "model.backend": BACKBONE | {"generation"},
    "model.encoder": ENCODER,
    "model.encoder_prompt": ENCODER,
    "model.encoder_pooling": ENCODER,
    "model.pooling": {"zero_shot_prompt"},
    "loss.contrastive": {"trained"},
    "embed.weights": OWN,
    "evaluation.generation_notes": {"generation"},
    "data.split_seed": {"generation"},  # which notes are written about
}
"""What is made anew, by option; see `expected` for whole groups."""


def expected(key):
    if key in cost_keys():
        return set()
    if key.startswith("prompt."):
        is_cut = key in ("prompt.title_tokens", "prompt.content_tokens", "prompt.max_hashtags")
        return {"zero_shot_prompt", "generation"} | ENCODER | (BARE if is_cut else set())
    if key.startswith("generation."):
        return {"generation"}
    return EXPECTED.get(key, set())


class Describer:
    """Says the same of every note."""

    def __init__(self, config, model, *, known_categories, writes):
        self.row = {"category": "web", "hashtags": ["web"], "best_category": "web", "confidence": 0.5}

    def __call__(self, notes, progress):
        return [dict(self.row) for _ in range(len(notes))]


def vectors(notes):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(len(notes), 4)).astype(np.float32))
    return torch.nn.functional.normalize(rows, dim=1)


def finish(folder, name, overrides):
    """A finished run with every system that keeps something, its models played."""
    names = ",".join([*systems.EMBEDDERS])
    changes = [f"evaluation.systems=[{names}]", "evaluation.bootstrap_samples=10", "dtype=fp32"]
    config = compose([*overrides, *changes, f"run_dir={folder / name}"])
    with pytest.MonkeyPatch.context() as patch:
        made = play(patch)
        run = RunFolder.open(config, command=["test"])
        for name, part in (("model", "notellm.json"), ("sentence_bert", "modules.json")):
            run.file(name).mkdir()
            run.file(f"{name}/{part}").write_text("{}")
        run_steps(run, load_data(config))
    assert sorted(made) == sorted([*systems.EMBEDDERS, "generation", "pairs"])
    return run


@pytest.fixture(scope="module")
def finished(folder, overrides, tiny_folder):
    """A finished run of baskets; beside it a backbone with the same tensors."""
    shutil.copytree(tiny_folder, folder / "same_shape")
    (folder / "same_shape" / "more.json").write_text("{}")
    return finish(folder, "kept", overrides)


@pytest.fixture(scope="module")
def ordered(folder, overrides):
    """A finished run of the same log with times, which has measured what came next."""
    log = Interactions.read(folder / "log.parquet")
    places = np.arange(len(log)) - np.searchsorted(log.users, log.users)  # in each user's basket
    replace_in(log, times=places).write(folder / "ordered.parquet")
    changes = [f"data.interactions={folder / 'ordered.parquet'}", "data.ordered=true"]
    return finish(folder, "ordered", [*overrides, *changes, "evaluation.next_notes=last"])


def play(patch):
    """Models that take no time; what is made meanwhile stands in the list that it gives."""
    made = []

    def save(path, ids, rows):
        made.append(path.name.partition("-")[0])
        save_embeddings(path, ids, rows)

    def mine(*arguments, **options):
        made.append("pairs")
        return mine_pairs(*arguments, **options)

    def describer(*arguments, **options):
        if "generation" not in made:
            made.append("generation")
        return Describer(*arguments, **options)

    save_embeddings, mine_pairs = systems.save_embeddings, data_module.mine_pairs
    patch.setattr(systems, "save_embeddings", save)
    patch.setattr(data_module, "mine_pairs", mine)
    patch.setattr(written_words, "Describer", describer)
    patch.setattr(systems, "_embed", lambda config, model, notes, *_, **__: vectors(notes))
    patch.setattr(systems, "encode", lambda config, notes, *_: vectors(notes))
    for module in (systems, written_words):
        patch.setattr(module, "load_backbone", lambda *_: None)
        patch.setattr(module, "load_trained", lambda *_: None)
    return made


OTHERS = {
    "data.source": "debian",
    "device": "cuda",
    "evaluation.analyzer": "characters",
    "evaluation.dims": [2],
    "evaluation.ks": [1, 5],
    "evaluation.next_notes": "last",
    "evaluation.systems": ["zero_shot_prompt", "trained"],
    "lora.targets": ["q_proj"],
    "train.loggers": [],
    "loss.nested_dims": [2],
}


def changed_in(key, config, folder):
    """The configuration with another value of one option, and of what must go with it."""
    values = {key: other_value(key, config, folder)}
    if key == "prompt.topics_in_hashtag_prompt":
        values["prompt.hashtags"] = ["<topics>", *config.prompt.hashtags]
    return replace(config, values)


def other_value(key, config, folder):
    """Another value that the option may have."""
    group, _, name = key.rpartition(".")
    described = next(one for of in groups() if of.name == group for one in of.options if one.name == name)
    tree = config.to_dict()
    value = tree[group][name] if group else tree[name]
    if key == "model.path":
        return str(folder / "same_shape")
    if key in ("prompt.category", "prompt.hashtags"):
        return [value[0] + " Well.", *value[1:]]
    if key in OTHERS:
        return OTHERS[key]
    if isinstance(value, bool):
        return not value
    if described.choices:
        return next(choice for choice in described.choices if choice not in (value, "auto"))
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.25
    return f"{value}x"


@pytest.mark.filterwarnings("ignore:embed. vectors are cut to dim=1, but were trained for no nested_dims")
@pytest.mark.parametrize("key", config_keys())
def test_what_depends_on_an_option_is_made_anew_and_nothing_else(
    key, finished, folder, tmp_path, monkeypatch
):
    config = finished.config
    changed = changed_in(key, config, folder)
    assert changed != config
    path = tmp_path / "run"
    shutil.copytree(finished.path, path)
    if key not in ("run_dir", *cost_keys()) and not key.startswith(AFTER_TRAINING):
        with pytest.raises(ConfigError, match=f"{key} was"):
            RunFolder.open(replace(changed, {"run_dir": str(path)}))
    dataset = load_data(config)
    made = play(monkeypatch)
    run = RunFolder(path, changed)  # past the door: what decides a thing is in its name, whoever let us in
    if key.startswith("mining."):
        with pytest.raises(DataError, match="options of mining have changed since"):
            prepare(run, dataset)
        return
    if key == "evaluation.next_notes":  # needs an order, which this log has not
        with pytest.raises(DataError, match="evaluation.next_notes: "):
            evaluate(run, dataset, select_queries(config, dataset, *prepare(run, dataset).test))
        return
    evaluate(run, dataset, select_queries(config, dataset, *prepare(run, dataset).test))
    assert set(made) == expected(key), key
    assert len(made) == len(set(made))
    held = [entry.name.partition("-")[0] for entry in (path / "embeddings").iterdir()]
    assert sorted(held) == sorted(systems.EMBEDDERS)  # no other system's has gone, none is there twice
    made.clear()
    evaluate(run, dataset, select_queries(config, dataset, *prepare(run, dataset).test))
    assert made == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("evaluation.next_notes", ""),
        ("evaluation.next_notes", "2"),
        ("evaluation.history_notes", 1),
        ("evaluation.history_decay", 0.5),
    ],
)
def test_what_came_next_is_measured_anew_from_vectors_that_are_kept(
    key, value, ordered, tmp_path, monkeypatch
):
    path = tmp_path / "run"
    shutil.copytree(ordered.path, path)
    before = json.loads((path / "evaluation.json").read_text())
    config = replace(ordered.config, {key: value, "run_dir": str(path)})
    run, dataset, made = RunFolder.open(config), load_data(config), play(monkeypatch)
    evaluate(run, dataset, select_queries(config, dataset, *prepare(run, dataset).test))
    after = json.loads((path / "evaluation.json").read_text())
    assert made == []
    assert before.pop("next_notes") != after.pop("next_notes", None)
    assert before == after  # nothing but what came next


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("model/notellm.json", {"trained", "generation"}),
        ("sentence_bert/modules.json", {"sentence_bert"}),
        ("backbone", BACKBONE | ENCODER | {"generation"}),
        ("title", OWN | ENCODER | {"generation"}),
    ],
)
def test_what_depends_on_a_content_is_made_anew_and_nothing_else(
    file, expected, finished, folder, tiny_folder, tmp_path, monkeypatch
):
    path = tmp_path / "run"
    shutil.copytree(finished.path, path)
    shutil.copytree(tiny_folder, tmp_path / "backbone")
    config = replace(finished.config, {"model.path": str(tmp_path / "backbone")})
    run, dataset, made = RunFolder(path, config), load_data(config), play(monkeypatch)
    queries = select_queries(config, dataset, *prepare(run, dataset).test)
    evaluate(run, dataset, queries)
    made.clear()
    if file == "title":
        dataset.notes.titles[queries.pool[written_words.evaluated_notes(config, len(queries.pool))[0]]] += "x"
    elif file == "backbone":
        (tmp_path / "backbone" / "more.json").write_text("{}")
    else:
        run.file(file).write_text('{"another": 1}')
    evaluate(run, dataset, queries)
    assert set(made) == expected


@pytest.mark.parametrize("system", ["trained", "tfidf", "zero_shot_prompt"])
def test_cells_are_named_by_all_options_that_decide_their_numbers(system, finished, folder):
    config = finished.config

    def name(config):
        return Cell(Row("row", "Row", system=system), 0, config).key

    free = {"name", "run_dir", *cost_keys()}
    if system != "trained":
        free |= {key for key in config_keys() if key.startswith(("train.", "loss.", "lora."))} | {"seed"}
    same = {key for key in config_keys() if name(changed_in(key, config, folder)) == name(config)}
    assert same == free


def test_cells_share_data_only_where_hashtags_are_split_alike(finished):
    config = finished.config
    cells = [
        Cell(Row("row", "Row"), 0, one)
        for one in (config, replace(config, {"prompt.hashtag_separator": " / "}))
    ]
    assert cells[0].sources != cells[1].sources
    assert cells[0].sources == Cell(Row("row", "Row"), 0, replace(config, {"data.queries": 3})).sources


def test_vectors_made_anew_leave_those_of_a_system_whose_name_begins_alike(finished, tmp_path, monkeypatch):
    """``sentence_bert`` must not take ``sentence_bert_zero_shot`` for an older file of its own."""
    path = tmp_path / "run"
    shutil.copytree(finished.path, path)
    run, notes = RunFolder(path, finished.config), load_data(finished.config).notes
    play(monkeypatch)
    systems.sentence_bert_zero_shot(run, notes)
    before = set((path / "embeddings").glob("sentence_bert_zero_shot-*"))
    run.file("sentence_bert/modules.json").write_text('{"another": 1}')
    systems.sentence_bert(run, notes)
    assert set((path / "embeddings").glob("sentence_bert_zero_shot-*")) == before
    assert len(before) == 1
    assert len(list((path / "embeddings").glob("sentence_bert-*"))) == 1
