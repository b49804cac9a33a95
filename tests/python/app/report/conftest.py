"""A run folder as a run leaves it: the shapes of the real one, numbers and notes from a seeded generator."""

import json
import math

import numpy as np
import pytest

KS = [1, 10, 100, 1000]
SYSTEMS = {
    "tfidf": ("TF-IDF (same text)", [0.055, 0.192, 0.438, 0.707]),
    "tfidf_full": ("TF-IDF (full text)", [0.062, 0.218, 0.495, 0.755]),
    "zero_shot_mean": ("Zero-shot mean", [0.021, 0.082, 0.221, 0.602]),
    "zero_shot_prompt": ("Zero-shot prompt", [0.032, 0.145, 0.320, 0.765]),
    "trained": ("NoteLLM trained", [0.047, 0.230, 0.560, 0.892]),
}
TITLES = [
    "ncurses-based hex editor with insert and delete", "terminal weather forecast in colour",
    "lightweight RSS reader for the desktop", "network traffic analyser (console version)",
    "3D chess for X11", "Python bindings for the libgit2 library", "fast incremental file transfer program",
    "Perl module to parse MIME messages", "graphical password manager with browser plug-in",
    "OCR engine for scanned documents", "JavaScript engine embedded in <script> tags & more",
    "modular software synthesiser",
    "ray tracer with a very long synopsis that does not fit on one line of a phone",
]  # fmt: skip
CATEGORIES = ["utils", "net", "games", "python", "perl", "sound", "graphics", "web", "editors", "admin"]
TAGS = [
    "user-interface",
    "console",
    "editor",
    "x11",
    "playing",
    "network",
    "client",
    "library",
    "web",
    "viewer",
]
CONFIG = """\
model:
  path: models/smollm2-135m
  dim: 128
prompt: paper
loss:
  alpha: 0.01
  hashtag_ratio: 0.4
train:
  pairs_per_step: 24
  steps: 60
  lr: 5.0e-05
seed: 7
"""


def interval(value, width=0.03):
    return {"value": value, "low": max(0.0, value - width), "high": min(1.0, value + 1.1 * width)}


def retrieval_system(key, name, recall):
    def shifted(shift):
        return {str(k): interval(min(1.0, value * shift), 0.05) for k, value in zip(KS, recall, strict=True)}

    return {
        "key": key,
        "name": name,
        "recall": {str(k): interval(value) for k, value in zip(KS, recall, strict=True)},
        "mrr": interval(recall[0] * 1.9, 0.015),
        "exposure": {
            "low": {"queries": 131, "recall": shifted(1.1)},
            "high": {"queries": 38, "recall": shifted(0.8)},
        },
    }


def with_order_and_lists(evaluation):
    """What newer evaluations have: metrics of the order, averages by target, lists, and what came next."""
    evaluation |= {"targets": 270, "effective_targets": 117.2}
    for place, system in enumerate(evaluation["systems"]):
        recall, score = system["recall"], interval(0.6 + place / 100)
        system |= {"ndcg": recall, "map": recall, "log_score": score}
        system["by_target"] = {"recall": recall, "ndcg": recall, "mrr": system["mrr"], "log_score": score}
        shown = {"coverage": 0.25, "novelty": interval(7.25, 0.5), "popularity": interval(0.75)}
        system["lists"] = {"10": shown | {"novelty": {"value": 7.25, "low": 7.0, "high": 7.5}}}
    known = [{key: own[key] for key in ("key", "name", "recall", "mrr")} for own in evaluation["systems"]]
    evaluation["next_notes"] = {"pool": 900, "queries": 321, "ks": evaluation["ks"], "systems": known}
    evaluation["next_notes"] |= {"exposure_fractions": {}}
    return evaluation


def differences():
    trained = SYSTEMS["trained"][1]
    rows = []
    for other in ("zero_shot_prompt", "tfidf", "tfidf_full"):
        for k, a, b in zip(KS, trained, SYSTEMS[other][1], strict=True):
            width = 0.01 if k == 1 else 0.04
            low_high = {"value": a - b, "low": a - b - width, "high": a - b + width}
            rows.append({"a": "trained", "b": other, "k": k, **low_high})
    return rows


def make_evaluation():
    scores = [("zero_shot_prompt", 0.015, 0.93, 0.081), ("trained", 0.465, 0.05, 0.322)]
    generation = [
        {
            "key": key,
            "name": SYSTEMS[key][0],
            "category_accuracy": interval(accuracy, 0.05),
            "illusory": interval(illusory, 0.04),
            "macro_f1": accuracy * 0.8,
            "confusions": [{"true": "games", "written": "net", "notes": 7}],
            "closed_set": {
                "accuracy": interval(accuracy + 0.1, 0.05),
                "calibration_error": 0.062,
                "calibration": [
                    {"from": 0.2, "to": 0.3, "notes": 40, "confidence": 0.26, "accuracy": 0.2},
                    {"from": 0.8, "to": 0.9, "notes": 160, "confidence": 0.84, "accuracy": 0.75},
                ],
            },
            "bleu4": interval(rouge * 0.5, 0.03),
            "rouge1": interval(rouge, 0.03),
            "rouge2": interval(rouge * 0.6, 0.03),
            "rougeL": interval(rouge * 0.9, 0.03),
            "hashtags": {name: interval(rouge * 0.7, 0.03) for name in ("precision", "recall", "f1")},
            "hashtag_notes": 71,
        }
        for key, accuracy, illusory, rouge in scores
    ]
    return {
        "pool": 2938,
        "queries": 400,
        "ks": KS,
        "ties": "mean",
        "model": "SmolLM2-135M-Instruct, dequantised from Q4_1",
        "dtype": "bf16",
        "prompt": "paper",
        "truncation": {"title": 20, "content": 32},
        "systems": [retrieval_system(key, name, recall) for key, (name, recall) in SYSTEMS.items()],
        "differences": differences(),
        "generation": {
            "notes": 200, "systems": generation, "known_categories": CATEGORIES, "known_hashtags": TAGS,
        },
    }  # fmt: skip


def train_lines(rng, steps=60):
    for step in range(1, steps + 1):
        contrastive = 1.4 + 2.5 * math.exp(-step / 18) + rng.normal(0, 0.12)
        generative = 1.1 + 3.4 * math.exp(-step / 9) + rng.normal(0, 0.15)
        tau = 3.0 + 0.004 * step
        yield {
            "step": step, "contrastive": contrastive, "generative": generative,
            "loss": (contrastive + 0.01 * generative) / 1.01, "tau": tau, "scale": math.exp(tau),
            "lr": 5e-5 * min(1, step / 6), "grad_norm": 1.0, "tokens": 2784, "notes": 48,
            "hashtag_shortfall": 0, "seconds": 10.5,
        }  # fmt: skip


def make_neighbours(rng):
    def note(number):
        return {
            "id": f"note-{number}",
            "title": TITLES[number],
            "category": CATEGORIES[number % len(CATEGORIES)],
        }

    def found(key, target, rank):
        others = [n for n in rng.permutation(len(TITLES)).tolist() if n != target][:5]
        if rank <= 5:
            others[rank - 1] = target
        scores = sorted(rng.uniform(0.4, 0.95, 5).tolist(), reverse=True)
        notes = [{**note(n), "score": score} for n, score in zip(others, scores, strict=True)]
        return {"key": key, "name": SYSTEMS[key][0], "neighbours": notes, "target_rank": rank}

    examples = []
    for query in range(5):
        target = query + 6
        systems = [found("trained", target, query + 1), found("zero_shot_prompt", target, 1204 - 97 * query)]
        examples.append({"query": note(query), "target": note(target), "systems": systems})
    return examples


def generation_lines(rng):
    for number in range(40):
        topics = rng.choice(TAGS, 3, replace=False).tolist() if number % 3 else []
        category = CATEGORIES[number % len(CATEGORIES)]
        guess = CATEGORIES[rng.integers(len(CATEGORIES))] if number % 2 else category
        systems = {
            "zero_shot_prompt": {
                "category": "The note",
                "hashtags": ["compression", "x11"],
                "raw": "The note",
            },
            "trained": {"category": guess, "hashtags": [*topics[:2], "web", "terminal"], "raw": guess},
        }
        title = TITLES[number % len(TITLES)]
        note = {"id": f"note-{number}", "title": title, "category": category, "topics": topics}
        yield {**note, "systems": systems}


RUN = {
    "command": ["notellm", "demo", "train.steps=60"],
    "started": "2025-11-23 19:40",
    "seed": 1234,
    "versions": {"notellm": "0.1.0", "torch": "2.13.0+cpu", "python": "3.11.7", "commit": "1721d46"},
    "machine": {"cpu": "a processor", "cores": 2, "memory_gib": 15.6, "device": "cpu"},
    "threads": 2,
    "model": "SmolLM2-135M-Instruct, dequantised from Q4_1",
    "dtype": "bf16",
}
DATA = {
    "notes": 45785, "train_notes": 32041, "test_notes": 13744, "baskets": 37689, "pairs_mined": 151327,
    "pairs_train": 88012, "pairs_test": 9120, "pairs_within_groups_left_out": 28147, "hashtag_notes": 16097,
    "mining": {
        "users": 37689, "users_too_long": 0, "pairs_found": 402113, "notes_without_partner": 24378,
        "histogram_edges": [2.0**power for power in range(-7, 4)],
        "histogram_counts": [30211, 81944, 120410, 88120, 51004, 20117, 8120, 1711, 420, 56],
    },
}  # fmt: skip


@pytest.fixture
def evaluation():
    """The tree of an ``evaluation.json``."""
    return make_evaluation()


@pytest.fixture
def run_folder(tmp_path):
    """A complete run folder named ``demo``."""
    rng = np.random.default_rng(7)
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    trees = {"run": RUN, "data": DATA, "evaluation": make_evaluation(), "neighbours": make_neighbours(rng)}
    for name, tree in trees.items():
        (folder / f"{name}.json").write_text(json.dumps(tree, indent=1))
    for name, lines in {"train": train_lines(rng), "generation": generation_lines(rng)}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def with_more():
    """Adds to an evaluation what older versions lack."""
    return with_order_and_lists
