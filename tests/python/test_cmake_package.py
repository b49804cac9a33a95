"""What `find_package(notellm)` reads, with small libraries in place of ours and torch's: CUDA builds are tried, too."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import notellm

ROOT = Path(notellm.__file__).parents[2]
BESIDE_PYTHON = Path(sys.executable).with_name("cmake")
CMAKE = BESIDE_PYTHON if BESIDE_PYTHON.exists() else "cmake"

TORCH = {
    "torch/lib/libtorch_cpu.so": "",
    "torch/lib/libtorch_python.so": "",
    "torch/lib/libc10.so": "",
    "torch/lib/libc10_cuda.so": "int current_stream() { return 1; }",
    "torch/lib/libtorch_cuda.so": (
        '#include <cstdio>\nstatic const int registered = std::puts("torch_cuda is there");'
    ),
    "nvidia/cu13/lib/libcudart.so.13": "int launch_kernel() { return 2; }",
}
"""The libraries of a torch for CUDA."""

MODULE = """
from types import SimpleNamespace
__version__, version = "9.0+cu130", SimpleNamespace(cuda="13.0")
def compiled_with_cxx11_abi(): return True
"""

CORE = "int current_stream();\nint launch_kernel();\nint answer() { return launch_kernel() - current_stream(); }\n"

LIBRARY = """
cmake_minimum_required(VERSION 3.25)
project(notellm VERSION 0.1.0 LANGUAGES CXX)
list(APPEND CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/cmake")
include(FindTorchFromPython)
include(NotellmFaiss)
include(NotellmPackage)
find_package(yaml-cpp REQUIRED)
set(NOTELLM_HAVE_CUDA ON)
add_library(notellm_core STATIC core.cpp)
notellm_install_package(notellm_core)
"""

USES = "cmake_minimum_required(VERSION 3.25)\nproject(uses LANGUAGES CXX)\n"
FIND = "find_package(notellm 0.1 REQUIRED)\n"
PROGRAM = (
    "add_executable(program ${CMAKE_SOURCE_DIR}/main.cpp)\n"
    "target_link_libraries(program PRIVATE notellm::core)\n"
)
MAIN = "int answer();\nint main() { return answer(); }\n"


def run(*command, **environment):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ | environment
    )


def write(folder, **texts):
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class Package(NamedTuple):
    """Where it is installed, and the torch that it was built for."""

    prefix: Path
    site: Path

    def build(self, folder):
        """Builds the project of a folder, and returns the folder with what was built."""
        options = [
            f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--as-needed",  # as some systems have it
        ]
        for command in (["-S", folder, "-B", folder / "build", *options], ["--build", folder / "build"]):
            done = run(CMAKE, *command, PYTHONPATH=str(self.site))
            assert done.returncode == 0, done.stdout + done.stderr
        return folder / "build"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    if not (ROOT / "build/py/CMakeCache.txt").exists():
        pytest.skip("there is no build tree build/py, and perhaps nothing to build with")
    folder = tmp_path_factory.mktemp("package")
    made = Package(folder / "prefix", folder / "site")
    write(made.site, **{"torch/__init__.py": MODULE, **{f"{name}.cpp": text for name, text in TORCH.items()}})
    (made.site / "torch/include/torch/csrc/api/include").mkdir(parents=True)
    for library in (made.site / name for name in TORCH):
        flags = ("-shared", "-fPIC", f"-Wl,-soname,{library.name}")
        done = run("c++", *flags, f"{library}.cpp", "-o", library)
        assert done.returncode == 0, done.stderr
    write(folder / "library", **{"CMakeLists.txt": LIBRARY, "core.cpp": CORE})
    for name in ("cmake", "cpp"):
        (folder / "library" / name).symlink_to(ROOT / name)
    tree = made.build(folder / "library")
    done = run(CMAKE, "--install", tree, "--component", "core", "--prefix", made.prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


IN_A_FUNCTION = f"function(find_it)\n{FIND}endfunction()\nfind_it()\nfind_it()\n{FIND}"


@pytest.mark.parametrize(
    ("top", "below"),
    [
        (FIND + PROGRAM, {}),
        (FIND + FIND + PROGRAM, {}),
        (IN_A_FUNCTION + PROGRAM, {}),
        (FIND + "add_subdirectory(a)\n", {"a": FIND + PROGRAM}),
        ("add_subdirectory(a)\n" + FIND + PROGRAM, {"a": FIND}),
        ("add_subdirectory(a)\nadd_subdirectory(b)\n", {"a": FIND, "b": FIND + PROGRAM}),
    ],
    ids=["once", "twice", "in a function", "in a folder below", "in a folder above", "beside"],
)
def test_a_project_finds_it_as_often_as_it_likes(package, tmp_path, top, below):
    """And for CUDA links torch_cuda, which nobody calls by name, but without which there are no CUDA tensors."""
    write(tmp_path, **{"main.cpp": MAIN, "CMakeLists.txt": USES + top})
    write(tmp_path, **{f"{name}/CMakeLists.txt": text for name, text in below.items()})
    program = next(path for path in package.build(tmp_path).rglob("program") if path.is_file())
    done = run(program)
    assert (done.returncode, done.stdout, done.stderr) == (1, "torch_cuda is there\n", "")
