"""Long functions are found, however their signatures are written."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools/lengths.py"
spec = importlib.util.spec_from_file_location("lengths", TOOL)
lengths = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lengths)

BODY = "  work();\n" * 3
ONE_LINE = "int f(int a) {\n" + BODY + "}\n"
WRAPPED_AT_THE_BRACKET = "int f(int a,\n      int b) {\n" + BODY + "}\n"
WRAPPED_BEHIND_IT = "std::vector<int> f(\n    const std::vector<int>& a,\n    int b) const {\n" + BODY + "}\n"
WRAPPED_WITH_INITIALISERS = (
    "F::F(int a,\n     int b)\n    : a_(a), b_{b},\n      c_(a + b) {\n" + BODY + "}\n"
)
TEMPLATE = "template <class T>\nint f(T a,\n      T b) noexcept {\n" + BODY + "}\n"


@pytest.mark.parametrize(
    ("text", "begins", "lines"),
    [
        (ONE_LINE, "int f(int a) {", 5),
        (WRAPPED_AT_THE_BRACKET, "int f(int a,", 5),
        (WRAPPED_BEHIND_IT, "std::vector<int> f(", 5),
        (WRAPPED_WITH_INITIALISERS, "F::F(int a,", 5),
        (TEMPLATE, "int f(T a,", 5),
    ],
)
@pytest.mark.parametrize("indent", ["", "  "])
def test_a_function_of_cpp_is_measured_from_brace_to_brace(text, begins, lines, indent):
    inside = "".join(indent + line for line in text.splitlines(keepends=True))
    around = f"class C {{\n public:\n{inside}}};\n" if indent else inside
    assert list(lengths.cpp_functions("#include <x>\n\n" + around)) == [(begins, lines)]


def test_what_a_function_has_inside_is_no_function():
    text = (
        "int f() {\n  for (int i = 0; i < 3;\n       ++i) {\n    g(i,\n      [&] (int j) {\n        h();\n"
        "      });\n  }\n}\n\nint g(int a,\n      int b) {\n  return a;\n}\n"
    )
    assert list(lengths.cpp_functions(text)) == [("int f() {", 9), ("int g(int a,", 3)]


def test_namespaces_and_classes_are_no_functions():
    text = "namespace n {\nclass A : public B,\n          public C {\n public:\n"
    text += "  int f(int a,\n        int b) {\n  }\n};\n}\n"
    assert list(lengths.cpp_functions(text)) == [("int f(int a,", 2)]


def test_a_long_function_with_a_wrapped_signature_is_a_complaint(tmp_path):
    path = tmp_path / "a.cpp"
    path.write_text("int f(int a,\n      int b) {\n" + "  work();\n" * 60 + "}\n")
    assert list(lengths.complaints(path)) == [f"{path}: int f(int a, must have at most 50 lines, but has 62"]
