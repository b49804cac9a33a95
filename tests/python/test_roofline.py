"""The tables of docs/gpu.md are those that the tool makes, and its counts are those of a small example by hand."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def roofline():
    spec = importlib.util.spec_from_file_location("roofline", ROOT / "tools" / "roofline.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["roofline"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["roofline"]


def test_the_document_has_the_tables(roofline):
    assert roofline.tables() in roofline.DOCUMENT.read_text(encoding="utf-8")


def test_the_tool_prints_them(roofline):
    printed = subprocess.run(
        [sys.executable, ROOT / "tools" / "roofline.py"], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == roofline.tables().strip()


def test_products_of_a_model_are_its_parameters(roofline):
    """A pass does two operations for each weight of a layer and each token, beside attention."""
    shape = roofline.SHAPES[1]
    weights = sum(a * b for a, b in shape.matrices.values())
    assert weights * shape.layers + shape.vocabulary * shape.width == pytest.approx(1.236e9, rel=1e-3)
    attention = 4 * roofline.CONTEXT * shape.heads * shape.head_dim
    operations = sum(step.operations for step in roofline.layer(shape, 1))
    assert operations == 2 * weights + attention


def test_a_step_takes_the_longer_of_both(roofline):
    gpu = roofline.Gpu("none", operations=10.0, bytes=100.0)
    assert roofline.Step(20, 10).seconds(gpu) == 2
    assert roofline.Step(1, 1000).seconds(gpu) == 10
    assert roofline.share([roofline.Step(20, 10), roofline.Step(0, 200)], gpu) == pytest.approx(0.5)
