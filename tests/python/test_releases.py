"""What only others' machines read is well-formed, and agrees with what is read here: pins, extras, workflows."""

import itertools
import json
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
BUILD = ["scikit-build-core>=0.11", "cmake>=3.25", "ninja"]
ZIZMOR = Path(sys.executable).with_name("zizmor")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FILES = {
    "requirements.txt": PROJECT["dependencies"] + EXTRAS["demo"] + BUILD,
    "requirements-test.txt": EXTRAS["test"],
    "requirements-docs.txt": EXTRAS["docs"],
}
"""A file of pins, and the requirements whose versions it chooses."""


def by_name(requirements):
    found = {}
    for text in requirements:
        requirement = Requirement(text)
        found[canonicalize_name(requirement.name)] = requirement
    return found


def pins(file):
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return by_name(filter(None, lines))


def refused(requirements, pinned):
    """Pins that a requirement of the same package does not allow, or that are no pins."""
    for name, pin in pinned.items():
        (choice,) = pin.specifier
        allowed = requirements.get(name)
        if choice.operator != "==" or (allowed and not allowed.specifier.contains(choice.version)):
            yield str(pin)


@pytest.mark.parametrize("file", FILES)
def test_a_file_pins_what_its_extra_asks_for(file):
    assert sorted(pins(file)) == sorted(by_name(FILES[file]))


@pytest.mark.parametrize("file", [*FILES, "benchmarks/requirements.txt"])
@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_pins_are_versions_that_every_extra_allows(file, extra):
    requirements = PROJECT["dependencies"] if extra is None else EXTRAS[extra]
    assert list(refused(by_name(requirements), pins(file))) == []


def test_a_pin_that_an_extra_does_not_allow_is_found():
    asked = by_name(["one>=2", "two<3"])
    assert list(refused(asked, by_name(["one==1.9", "two==2", "three>=1"]))) == ["one==1.9", "three>=1"]


def test_benchmarks_pin_their_extra():
    everything = set().union(*(pins(file) for file in [*FILES, "benchmarks/requirements.txt"]))
    assert set(by_name(EXTRAS["bench"])) <= everything


def test_hooks_have_the_pinned_versions():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    versions = {Path(repo["repo"]).name: repo.get("rev", "").removeprefix("v") for repo in hooks}
    pinned = {name: str(pin.specifier)[2:] for name, pin in pins("requirements-test.txt").items()}
    of_hooks = {
        "ruff-pre-commit": "ruff",
        "mirrors-clang-format": "clang-format",
        "check-jsonschema": "check-jsonschema",
    }
    assert {hook: versions[hook] for hook in of_hooks} == {hook: pinned[of_hooks[hook]] for hook in of_hooks}


def untidy(text):
    """What end-of-file-fixer and trailing-whitespace would change in a text, as number of the line."""
    lines = text.splitlines()
    yield from (number for number, line in enumerate(lines, 1) if line != line.rstrip(" \t"))
    if text and (not text.endswith("\n") or text.endswith("\n\n") or text == "\n"):
        yield len(lines)


def test_lines_and_files_end_as_the_hooks_want():
    excluded = re.compile(yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["exclude"])
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("the repository is not here")
    names = [name for name in listed.stdout.split("\0") if name and not excluded.match(name)]
    contents = {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}
    texts = {name: content.decode() for name, content in contents.items() if b"\0" not in content}
    assert len(texts) > 100
    assert [f"{name}:{number}" for name, text in texts.items() for number in untidy(text)] == []


def test_untidy_ends_are_found():
    assert list(untidy("a\nb \n\tc\t\n")) == [2, 3]
    assert [list(untidy(text)) for text in ("", "a\n", "a", "a\n\n", "\n")] == [[], [], [1], [2], [1]]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", [ROOT / f".github/ISSUE_TEMPLATE/{name}.yml" for name in ("fault", "wish")]),
        ("github-issue-config", [ROOT / ".github/ISSUE_TEMPLATE/config.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="needs check-jsonschema")
def test_forms_are_valid(schema, files):
    assert files
    status, output = run(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files
    )
    assert status == 0, output


@pytest.mark.skipif(not ZIZMOR.exists(), reason="needs zizmor")
def test_workflows_do_nothing_unsafe():
    settings = ["--offline", "--no-progress", "--config", ROOT / ".github/zizmor.yml"]
    status, output = run(ZIZMOR, *settings, *WORKFLOWS)
    assert status == 0, output


def commands(workflow):
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return "\n".join(step.get("run", "") for job in jobs for step in job["steps"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_is_there(workflow):
    text = commands(workflow)
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
    named = re.findall(r"(?:tools|tests)/[\w./]+\.(?:sh|py)", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    steps = set(re.findall(r"^  ([a-z-]+)\) ", (ROOT / "tools/setup.sh").read_text(), re.MULTILINE))
    assert set(re.findall(r"tools/setup\.sh ([a-z-]+)", text)) <= steps


def test_the_matrix_has_all_that_is_supported():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    cells = jobs["matrix"]["strategy"]["matrix"]["include"]
    assert {cell["compiler"] for cell in cells} == {"g++", "clang++"}
    assert {cell["faiss"] for cell in cells} == {"ON", "OFF"}
    pythons = sorted({cell["python"] for cell in cells})
    assert pythons == ["3.11", "3.12", "3.13"]
    supported = SpecifierSet(PROJECT["requires-python"])
    assert [supported.contains(f"3.{minor}") for minor in (10, 11)] == [False, True]
    oldest = str(by_name(PROJECT["dependencies"])["torch"].specifier).removeprefix(">=")
    assert {cell["torch"] for cell in cells} == {"", f"=={oldest}.*"}


def test_the_image_installs_what_the_build_needs():
    needed = set(re.findall(r"^  (?:need|want) (\S+)", (ROOT / "tools/setup.sh").read_text(), re.MULTILINE))
    tools = (ROOT / "Dockerfile").read_text().split("\nFROM ")[1]
    assert needed
    assert needed <= set(tools.split())


def test_the_devcontainer_uses_a_stage_of_the_image():
    build = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())["build"]
    folder = ROOT / ".devcontainer"
    assert (folder / build["context"]).resolve() == ROOT.resolve()
    assert f" AS {build['target']}\n" in (folder / build["dockerfile"]).read_text()


def test_licence_and_versions_are_named_alike():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = re.search(r"project\(notellm VERSION (\S+) ", (ROOT / "CMakeLists.txt").read_text())[1]
    assert (cited["license"], cited["version"]) == (PROJECT["license"], version)


def test_scripts_are_bash():
    for script in itertools.chain((ROOT / "tools").glob("*.sh"), (ROOT / ".ci").iterdir()):
        done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
