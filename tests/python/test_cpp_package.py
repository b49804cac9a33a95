"""The library as C++ users have it: installed, found by CMake, and the same bytes as from Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import notellm
from notellm.app.config import compose, to_yaml

ROOT = Path(notellm.__file__).parents[2]
BUILD = ROOT / "build/py"
BESIDE_PYTHON = Path(sys.executable).with_name("cmake")  # pip's, which made the build tree
CMAKE = BESIDE_PYTHON if BESIDE_PYTHON.exists() else "cmake"


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if not (BUILD / "CMakeCache.txt").exists():
        pytest.skip("there is no build tree build/py; `make setup-test` makes it")
    folder = tmp_path_factory.mktemp("package")
    run(CMAKE, "--build", BUILD, "--target", "notellm_core")
    run(CMAKE, "--install", BUILD, "--component", "core", "--prefix", folder / "prefix")
    run(
        CMAKE,
        "-S",
        ROOT / "cpp/examples",
        "-B",
        folder / "build",
        f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DCMAKE_BUILD_TYPE=Debug",
    )
    run(CMAKE, "--build", folder / "build")
    return folder / "build/mine_and_rank"


class Log:
    """Events of some users with some notes."""

    events = None
    ordered = True

    def __init__(self, events):
        self.users, self.notes, self.times = (np.ascontiguousarray(column) for column in events.T)
        self.user_ids, self.note_ids = range(self.users.max() + 1), range(self.notes.max() + 1)


def test_the_example_reads_a_runs_options_and_finds_what_python_finds(program, tmp_path):
    draw = np.random.default_rng(0)
    events = np.stack(
        [draw.integers(0, 60, 900), draw.integers(0, 40, 900), draw.integers(0, 10_000, 900)], axis=1
    )
    vectors = torch.from_numpy(draw.standard_normal((events[:, 1].max() + 1, 8)).astype(np.float32))
    config = compose(["mining.lower=0.1", "mining.top=5", "mining.max_gap_seconds=4000", "name='a: b'"])
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    np.savetxt(tmp_path / "log.txt", events, fmt="%d")
    (tmp_path / "vectors.bin").write_bytes(vectors.numpy().tobytes())
    files = [tmp_path / name for name in ("config.yaml", "log.txt", "vectors.bin", "out.txt")]
    run(program, *files)

    pairs = notellm.mine_pairs(Log(events), config.mining)
    matrix = pairs.to_csr().tocoo()
    source, target = (
        torch.from_numpy(matrix.row.astype(np.int64)),
        torch.from_numpy(matrix.col.astype(np.int64)),
    )
    ranks = notellm.target_ranks(vectors[source], vectors, target, exclude=source)
    rows = zip(source.tolist(), target.tolist(), matrix.data.tolist(), ranks.greater.tolist(), strict=True)
    expected = "".join(f"{a} {b} {score:.17g} {rank}\n" for a, b, score, rank in rows)
    assert len(pairs) > 50
    assert (tmp_path / "out.txt").read_text() == expected


def test_the_example_names_what_is_wrong(program, tmp_path):
    text = to_yaml(compose([])).replace("  top: 10\n", "  top: many\n")
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    line = text.split("\n").index("  top: many") + 1
    done = subprocess.run(
        [program, tmp_path / "config.yaml", "-", "-", "-"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"mine_and_rank: {tmp_path / 'config.yaml'}:{line}: mining.top must be an integer, but is many\n"
    )


LOG = "0 0 5\n0 1 6\n1 0 5\n1 1 7\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"log": None}, "{log}: must be a file that can be read, but is not"),
        ({"log": ""}, "{log}: must have a line for every event, but has none"),
        ({"log": "user note time\n" + LOG}, "{log}:1: must be {three}, but is 'user note time'"),
        ({"log": LOG + "2 0 2.5\n" + LOG}, "{log}:5: must be {three}, but is '2 0 2.5'"),
        ({"log": LOG + "0 1\n"}, "{log}:5: must be {three}, but is '0 1'"),
        ({"log": "0 1 2 3\n"}, "{log}:1: must be {three}, but is '0 1 2 3'"),
        ({"log": "0 -1 2\n"}, "{log}:1: must be {three}, but is '0 -1 2'"),
        ({"log": "9999999999 1 2\n"}, "{log}:1: must be {three}, but is '9999999999 1 2'"),
        ({"vectors": None}, "{vectors}: must be a file that can be read, but is not"),
        ({"vectors": b""}, "{vectors}: {rows}, but has 0 bytes"),
        ({"vectors": bytes(20)}, "{vectors}: {rows}, but has 20 bytes"),
        ({"out": "/dev/full"}, "/dev/full: must be written, but cannot be"),
        ({"out": "none/out.txt"}, "none/out.txt: must be written, but cannot be"),
    ],
)
def test_the_example_says_which_file_is_wrong(program, tmp_path, files, message):
    (tmp_path / "config.yaml").write_text(to_yaml(compose(["mining.lower=0"])), encoding="utf-8")
    contents = {"log": LOG, "vectors": np.ones((2, 3), np.float32).tobytes(), "out": "out.txt"} | files
    for name in ("log", "vectors"):
        if (content := contents[name]) is not None:
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    arguments = [tmp_path / name for name in ("config.yaml", "log", "vectors")]
    done = subprocess.run(
        [program, *arguments, contents["out"]], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    expected = message.format(
        log=tmp_path / "log",
        vectors=tmp_path / "vectors",
        three="'user note time', whole numbers of which the first two are in [0, 2^31)",
        rows="must have rows of fp32 numbers for the 2 notes of the log",
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"mine_and_rank: {expected}\n")
