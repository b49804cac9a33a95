"""Configurations, run folders and studies."""

import json

from bad_inputs import case
from bad_inputs.texts import BAD_YAML


def run_with(**files):
    """A run folder that holds these files."""

    def make(path):
        path.mkdir()
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            (path / name.replace("__", ".")).write_bytes(content)

    return make


def study(**node):
    def make(path):
        (path.parent / "experiments/conf/experiment").mkdir(parents=True)
        text = json.dumps({"study": node})
        (path.parent / "experiments/conf/experiment/mine.yaml").write_text(f"# @package _global_\n{text}\n")

    return make


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijklmnopqrs", "bcdefghijklmnopqrst", strict=True)
)

OVERRIDES = [
    ("data.notes=d/小红书/n.csv", "try 'data.notes=\"d/小红书/n.csv\"' for this text"),
    ("data.notes=a=b.csv", "try 'data.notes=\"a=b.csv\"'"),
    (
        "data.notes=a,b.csv",
        "data.notes=a,b.csv: must be one value, but is several; try 'data.notes=\"a,b.csv\"'",
    ),
    ("data.notes=a#b.csv", "try 'data.notes=\"a#b.csv\"'"),
    ("data.notes=a(b).csv", "try 'data.notes=\"a(b).csv\"'"),
    ("data.notes=[x].csv", "try 'data.notes=\"[x].csv\"'"),
    ("data.notes={x}.csv", "try 'data.notes=\"{x}.csv\"'"),
    ("data.notes=it's.csv", "try 'data.notes=\"it'"),
    ('data.notes=a"b.csv', "try 'data.notes='"),
    ("data.notes=~/n.csv", "try 'data.notes=\"~/n.csv\"'"),
    ("data.notes=a&b.csv", "try 'data.notes=\"a&b.csv\"'"),
    ("data.notes=файл.csv", "try 'data.notes=\"файл.csv\"'"),
    (
        "data.notes=${HOME}/n.csv",
        "data.notes: must be a value that can be resolved, but: Interpolation key 'HOME' not found",
    ),
    ("data.notes=", "data: notes and interactions must be given where source is files"),
    ("data.notes", "data.notes: must be KEY=VALUE"),
    ("=x", "=x: must be KEY=VALUE, but has no key"),
    ("data.notes=null", "data.notes must be a text, but is null"),
    ("data.notes=12", "data.notes must be a text, but is the integer 12"),
    ("data.notes=[a]", "data.notes must be a text, but is a list"),
    ("negatives.last_rank=3", "negatives: last_rank must be at least first_rank=10, but is 3"),
    ("negatives.absolute_margin=3", "negatives.absolute_margin must be at most 2, but is 3"),
    ("negatives=hard", "negatives/hard: no such configuration; there are: first, none"),
    ("loss.log_q=-1", "loss.log_q must be at least 0, but is -1"),
    ("data@x=1", "data@x=1: must be KEY=VALUE without a package (@), but has one"),
    ("data=nothing", "data/nothing: no such configuration; there are: debian, files"),
    ("prompt=paperr", "prompt/paperr: no such configuration; there are: bare, "),
    ("experiment=nothing", "experiment/nothing: no such configuration"),
    ("seed=1.5", "seed must be an integer, but is the number 1.5"),
    ("seed=1,2", "seed=1,2: must be one value, but is several"),
    ("seed=-1", "seed must be at least 0, but is -1"),
    (
        "+seed=1",
        "Could not append to config. An item is already at 'seed'. Either remove + prefix: "
        "'seed=1' Or add a second + to add or override 'seed': '++seed=1'",
    ),
    ("train.lr=nan", "train.lr must be finite, but is nan"),
    ("train.lr=-1", "train.lr must be at least 0, but is -1"),
    ("train.lrr=1", "train.lrr=1: unknown key train.lrr; did you mean train.lr?"),
    ("train.max_steps=-1", "train.max_steps must be at least 0, but is -1"),
    ("train.pairs_per_step=0", "train.pairs_per_step must be at least 1, but is 0"),
    ("train.optimizer=adamw9", "train.optimizer=adamw9: unknown key train.optimizer"),
    ("loss.alpha=-1", "loss.alpha must be at least 0, but is -1"),
    ("loss.hashtag_ratio=2", "loss.hashtag_ratio must be at most 1, but is 2"),
    ("model.dim=0", "model.dim must be at least 1, but is 0"),
    ("model.pooling=max", "model.pooling must be compression or mean, but is 'max'"),
    ("lora.r=-1", "lora.r must be at least 0, but is -1"),
    (
        "lora.targets=[k]",
        "lora.targets[0] must be q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj, but is 'k'",
    ),
    ("evaluation.ks=[1,2", "try 'evaluation.ks=\"[1,2\"'"),
    ("evaluation.ks=1", "evaluation.ks must be a list, but is the integer 1"),
    ("evaluation.ks=[]", "evaluation.ks must not be empty"),
    ("evaluation.ks=[1,a]", "evaluation.ks[1] must be an integer, but is the text 'a'"),
    (
        "evaluation.ks=[1,10,1]",
        "evaluation.ks must hold each value once, but holds the integer 1 more than once",
    ),
    (
        "evaluation.systems=[tfidf,trained,tfidf]",
        "evaluation.systems must hold each value once, but holds the text 'tfidf' more than once",
    ),
    (
        "lora.targets=[q_proj,q_proj]",
        "lora.targets must hold each value once, but holds the text 'q_proj' more than once",
    ),
    ("evaluation.ks=[0]", "evaluation.ks[0] must be at least 1, but is 0"),
    (
        "evaluation.systems=[nothing]",
        "evaluation.systems[0] must be random, popularity, tfidf, tfidf_full, bm25, cooccurrence, zero_shot_mean, "
        "zero_shot_last, zero_shot_prompt, sentence_bert_zero_shot, sentence_bert or trained, but "
        "is 'nothing'",
    ),
    (
        "evaluation.systems=[cooccurrence]",
        "evaluation.systems: co-occurrence must be measured on users that are held out, but notes are",
    ),
    ("evaluation.bootstrap_samples=0", "evaluation.bootstrap_samples must be at least 1, but is 0"),
    ("embed.batch_tokens=0", "embed.batch_tokens must be at least 1, but is 0"),
    ("embed.weights=int4", "embed.weights must be same or int8, but is 'int4'"),
    ("generation.temperature=-1", "generation.temperature must be at least 0, but is -1"),
    ("generation.max_new_tokens=0", "generation.max_new_tokens must be at least 1, but is 0"),
    (
        "generation.hashtag_count=11",
        "generation.hashtag_count must be at most prompt.max_hashtags, but is 11 beside 10",
    ),
    ("generation.top_p=0", "generation.top_p must be above 0, but is 0"),
    ("mining.lower=2 mining.upper=1", "mining: lower must not be above upper, but are 2 and 1"),
    ("mining.top=-1", "mining.top must be at least 0, but is -1"),
    ("prompt.title_tokens=0", "prompt.title_tokens must be at least 1, but is 0"),
    (
        "prompt.category=[hello]",
        "prompt: prompt 'paper': category: there must be exactly one <emb>, but there are 0",
    ),
    (
        'prompt.category=["<titel>","<emb>"]',
        "prompt: prompt 'paper': category: there is no slot <titel>; did you mean '<title>'?",
    ),
    ("prompt.category=[<titel>,<emb>]", "try quotes around each text of the list"),
    ("threads=-1", "threads must be at least 0, but is -1"),
    ("device=tpu", "device must be cpu or cuda, but is 'tpu'"),
    ("dtype=fp16", "dtype must be auto, fp32 or bf16, but is 'fp16'"),
    (
        "name=${oc.env:NOPE}",
        "name: must be a value that can be resolved, but: KeyError raised while resolving "
        "interpolation: \"Environment variable 'NOPE' not found",
    ),
    ("run_dir=", "run_dir must not be empty"),
]

RUNS = [
    case(
        "train --run full {d}",
        "full: must be a run folder or empty, but holds other files",
        full=run_with(thesis__txt="x"),
    ),
    case("train --run log.csv {d}", "log.csv: must be written, but: File exists"),
    case(
        "train --run r1",
        "r1/config.yaml:1: unknown key lr; did you mean train.lr?",
        r1=run_with(config__yaml="lr: 1\n"),
    ),
    case(
        "train --run r2",
        "r2/config.yaml:2: the key seed is given twice, first on line 1",
        r2=run_with(config__yaml="seed: 1\nseed: 2\n"),
    ),
    *(
        case(
            f"train --run y{number}",
            f"y{number}/config.yaml:{message}",
            **{f"y{number}": run_with(config__yaml=text)},
        )
        for number, (text, message) in enumerate(BAD_YAML)
    ),
    case(
        "train --run r4",
        "r4/config.yaml:1: a file must hold at most 100000 values",
        r4=run_with(config__yaml=BOMB),
    ),
    case(
        "train --run r5",
        "r5/config.yaml:1: values must be at most 16 deep",
        r5=run_with(config__yaml="train: &x [*x]\n"),
    ),
    case(
        "train --run r6",
        "r6/config.yaml:1: a configuration must be a group of keys, but is a list",
        r6=run_with(config__yaml="- 1\n"),
    ),
    case(
        "train --run r7",
        "r7/config.yaml:1: a configuration must be a group of keys, but is null",
        r7=run_with(config__yaml=""),
    ),
    case(
        "train --run r8 --resume {d}",
        "r8: must hold a checkpoint to resume from, but holds none; leave out --resume",
    ),
    case("report --run none", "report: none must be a run folder, but does not exist"),
    case("explore --run none", "none: must be a run folder, but has no config.yaml"),
    case("explore --run none --notes 1", "explore: notes must be at least 2, but is 1"),
    case("explore --run none -k 0", "explore: k must be at least 1, but is 0"),
    case("explore --run none --seed -1", "explore: seed must be at least 0, but is -1"),
    case("explore --run none --map umap", "explore: map must be one of tsne, pca, but is 'umap'"),
    case("explore --run none --output log.csv/page.html", "log.csv: must be written, but: File exists"),
    case(
        "explore --run other --output other/config.yaml",
        "other/config.yaml: must be another file than those read, but is one of them; try another name",
        other=lambda path: (path.mkdir(), (path / "config.yaml").write_text("seed: 1\n")),
    ),
    case("report --run log.csv", "report: log.csv must be a run folder, but is a file"),
    case(
        "report --run r9",
        "r9/evaluation.json: must hold 'ks', but holds nothing",
        r9=run_with(evaluation__json="{}"),
    ),
    case(
        "report --run r10",
        "r10/evaluation.json:1: must be JSON, but is damaged",
        r10=run_with(evaluation__json="{"),
    ),
    case(
        "report --run r11",
        "r11/train.jsonl:1: must hold 'step', but holds nothing",
        r11=run_with(train__jsonl="{}\n"),
    ),
    case(
        "report --run r12",
        "r12/generation.jsonl:1: must hold 'title', but holds nothing",
        r12=run_with(generation__jsonl="{}\n"),
    ),
    case(
        "show-prompt {d} train.pairs_per_step=4 --pair 900",
        "show-prompt: the pair must be in [0, 4), a pair of the first step, but is 900",
    ),
    case(
        "show-prompt {d} train.pairs_per_step=4 --pair -1",
        "show-prompt: the pair must be in [0, 4), a pair of the first step, but is -1",
    ),
    case("options nothing", "options: unknown key nothing"),
    case("options train.lrr", "options: unknown key train.lrr; did you mean train.lr?"),
]

STUDIES = [
    case("sweep scale=smoke", "sweep: a study must be named; try experiment=table6"),
    case("sweep experiment=nothing", "experiment/nothing: no such configuration"),
    case(
        "sweep experiment=demo",
        "experiment=demo: must be a study, but its file has no `study` node with rows",
    ),
    case(
        "sweep experiment=mine scale=huge", "scale/huge: no such configuration", study=study(rows={"a": {}})
    ),
    case("sweep mine", "experiment=mine: rows: must be an object, but is 'a'", study=study(rows="a")),
    case("sweep mine", "experiment=mine: must have rows, but has none", study=study(rows={})),
    case(
        "sweep mine", "experiment=mine: row a must be a group of keys, but is 5", study=study(rows={"a": 5})
    ),
    case(
        "sweep mine",
        "experiment=mine: row a may hold name, set, system, paper, tune, but holds sets",
        study=study(rows={"a": {"sets": []}}),
    ),
    case(
        "sweep mine",
        "experiment=mine: row a.set[0]: must be a string, but is 5",
        study=study(rows={"a": {"set": [5]}}),
    ),
    case(
        "sweep mine",
        "row a: loss.alpa=1: unknown key loss.alpa",
        study=study(rows={"a": {"set": ["loss.alpa=1"]}}),
    ),
    case(
        "sweep mine",
        "experiment=mine: rows must differ, but a and b come to the same at scale=laptop",
        study=study(rows={"a": {}, "b": {}}),
    ),
    case(
        "sweep mine",
        "experiment=mine: seeds[0]: must be a number, but is 'one'",
        study=study(rows={"a": {}}, seeds=["one"]),
    ),
    case(
        "sweep mine",
        "experiment=mine: seeds must be one or more, each once, but are [1, 1]",
        study=study(rows={"a": {}}, seeds=[1, 1]),
    ),
    case(
        "sweep mine",
        "experiment=mine: columns must be one or more, each once, but are ['mrr', 'mrr']",
        study=study(rows={"a": {}}, columns=["mrr", "mrr"]),
    ),
    case(
        "sweep mine",
        "experiment=mine, row a: tune.values must be given once each, but are [0.1, 0.1]",
        study=study(rows={"a": {}}, tune={"values": [0.1, 0.1]}),
    ),
    case(
        "sweep mine",
        "experiment/mine.yaml:2: text must be UTF-8, but byte 9 is 0xe9",
        study=lambda path: (
            study()(path)
            or (path.parent / "experiments/conf/experiment/mine.yaml").write_bytes(b"study:\n title: \xe9\n")
        ),
    ),
    case(
        "sweep mine",
        "experiment=mine: against must be one of its rows, but is 'z'",
        study=study(rows={"a": {}}, against="z"),
    ),
    case(
        "sweep mine",
        "experiment=mine: columns must be measured, but recall@7 is not in row a",
        study=study(rows={"a": {}}, columns=["recall@7"]),
    ),
    case(
        "sweep mine",
        "experiment=mine: a study may hold title, columns, seeds, against, rows, tune, but holds colums",
        study=study(rows={"a": {}}, colums=[]),
    ),
    case(
        "sweep mine",
        "experiment=mine, row a: tune.key must be a key of the configuration, but is 'lr'",
        study=study(rows={"a": {}}, tune={"key": "lr"}),
    ),
    case(
        "sweep mine",
        "experiment=mine, row a: tune.values: must be a list, but is 5",
        study=study(rows={"a": {}}, tune={"values": 5}),
    ),
    case(
        "sweep mine --again z",
        "sweep: --again must name rows, of a, but names z",
        study=study(rows={"a": {}}),
    ),
    case("sweep mine seed=5", "seed=5: is set by the study itself", study=study(rows={"a": {}})),
    case(
        "table mine --against z",
        "make_table: against must be one of a, but is 'z'",
        study=study(rows={"a": {}}),
    ),
    case(
        "plot mine --output p.txt",
        "plot_table: there must be a finished run, but there is none",
        study=study(rows={"a": {}}),
    ),
    case(
        "plot mine --output p.svg",
        "plot_table: there must be a finished run, but there is none",
        study=study(rows={"a": {}}),
    ),
    case(
        "plot mine --row a --output p.svg",
        "--row: must come with --kind map, but the kind is table",
        study=study(rows={"a": {}}),
    ),
    case(
        "plot mine --kind recall --k 5 --output p.svg",
        "--k: must come with --kind exposure, but the kind is recall",
        study=study(rows={"a": {}}),
    ),
    case(
        "plot mine --kind map --row z --output p.svg",
        "plot_map: the row must be one of a, but is 'z'",
        study=study(rows={"a": {}}),
    ),
]
