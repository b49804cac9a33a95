"""The wheel, installed into an environment of its own: it brings every library that torch and Linux do not."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from notellm import _core
from pages import blocks, commands, on_tiny

ROOT = Path(__file__).parents[2]
PACKAGES = Path(sysconfig.get_path("purelib"))
LINUX = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|gcc_s|stdc\+\+))\.so.*")
"""What every Linux with a Python has."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def run(*command, **options):
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, **options
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with the wheel and, lent, the packages of this one, but not its notellm."""
    if not (ROOT / "CMakeLists.txt").exists():
        pytest.skip("the sources are not here")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    # the tree of `make setup`, with its settings (tools/setup.sh), so that little is compiled again
    settings = ["--config-settings=build-dir=build/py", "--config-settings=build.targets=notellm_python"]
    quietly = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    run(*pip, "wheel", *quietly, "--no-build-isolation", *settings, "-w", folder, ".", cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    run(*pip, "--python", folder / "venv/bin/python", "install", *quietly, wheel)
    # a .pth file in a folder that a .pth file names is not read: the editable notellm stays outside
    site_packages(folder / "venv").joinpath("lent.pth").write_text(f"{PACKAGES}\n")
    return folder / "venv"


def site_packages(environment):
    return next(environment.glob("lib/python*/site-packages"))


@pytest.mark.skipif(not shutil.which("ldd"), reason="no ldd")
def test_needs_no_library_but_those_of_torch_and_of_every_linux(environment):
    ours = site_packages(environment) / "notellm"
    listed = run("ldd", next(ours.glob("_core*.so")))
    assert "not found" not in listed
    paths = [Path(path) for path in re.findall(r"=> (/\S+)", listed)]
    other = [path for path in paths if not LINUX.fullmatch(path.name)]
    foreign = [path for path in other if not path.is_relative_to(ours) and not path.is_relative_to(PACKAGES)]
    assert foreign == []
    brought = {path.name.partition(".")[0] for path in other if path.is_relative_to(ours / "libs")}
    assert "libyaml-cpp" in brought
    assert not any(name.startswith(("libgomp", "libtorch", "libc10")) for name in brought)
    assert brought == {path.name.partition(".")[0] for path in (ours / "libs").iterdir()}  # and no more


USE = """
import ctypes, json, sys
import torch, notellm
from notellm import _core

notes = notellm.Notes.read(sys.argv[1] + "/notes.parquet")
log = notellm.Interactions.read(sys.argv[1] + "/log.parquet", notes=notes)
pairs = notellm.mine_pairs(log, lower=0.0, upper=1e9, top=3)
vectors = notellm.NoteLLM.from_pretrained(sys.argv[2], dim=8).embed(notes)
index = "Flat" if _core.has_faiss else None
near = notellm.neighbours(vectors[:5], vectors, 3, index=index)


def home(name):  # the library in which the extension finds a function
    address = ctypes.cast(getattr(ctypes.CDLL(_core.__file__), name), ctypes.c_void_p).value
    for line in open("/proc/self/maps"):
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if begin <= address < end:
            return line.split()[-1]


print(json.dumps({
    "file": notellm.__file__,
    "pairs": len(pairs.source),
    "is_unit": bool(torch.allclose(vectors.norm(dim=1), torch.ones(len(notes)), atol=1e-4)),
    "first": near.indices[:, 0].tolist(),
    "torch_has": hasattr(ctypes.CDLL(torch.__path__[0] + "/lib/libtorch_cpu.so"), "sgemm_"),
    "sgemm": home("sgemm_") if _core.has_faiss else None,
}))
"""


def test_mines_embeds_and_searches(environment, folder, tiny_folder):
    found = json.loads(run(environment / "bin/python", "-c", USE, folder, tiny_folder, cwd=environment))
    assert Path(found["file"]).is_relative_to(environment)
    assert found["pairs"] > 0
    assert found["is_unit"]
    assert found["first"] == list(range(5))
    if found["sgemm"] and found["torch_has"]:  # torch's product, not that of the BLAS beside us
        assert Path(found["sgemm"]).name == "libtorch_cpu.so"


def test_the_page_leads_from_the_wheel_to_sentence_transformers(environment, overrides, tmp_path):
    pytest.importorskip("sentence_transformers")
    text = (ROOT / "docs/export.md").read_text()
    (installed,) = commands(text, "pip")
    found = run(
        environment / "bin/python", "-c", "import importlib.metadata as m; print(m.metadata('notellm'))"
    )
    for extra in re.search(r"\[(.+)\]", installed[-1])[1].split(","):
        assert f"Provides-Extra: {extra}\n" in found
    for arguments in commands(text, "notellm"):
        run(environment / "bin/notellm", *on_tiny(arguments, overrides), cwd=tmp_path)
    code = (
        "\n".join(blocks(text, "python"))
        + "print(notellm.__file__, abs(vectors - again.numpy()).max() < 1e-5)"
    )
    *_, where, is_close = run(
        environment / "bin/python", "-c", "import notellm\n" + code, cwd=tmp_path
    ).split()
    assert Path(where).is_relative_to(environment)
    assert is_close == "True"


def test_doctor_finds_nothing_broken(environment):
    found = json.loads(run(environment / "bin/notellm", "doctor", "--json", cwd=environment))
    states = {finding["name"]: finding["state"] for finding in found}
    assert "broken" not in states.values()
    assert states["notellm._core"] == states["OpenMP"] == "ok"
    assert states["FAISS"] == ("ok" if _core.has_faiss else "missing")
