#!/usr/bin/env bash
# Fills one folder with what a machine with a GPU may lack and cannot fetch: `tools/gpu_bundle.sh FOLDER`. It is for
# tools/gpu_check.sh, which needs nothing else but Python with PyTorch and its usual companions, a compiler and nvcc.
#
#   wheels/         Python packages of ours that do not come with those
#   prefix/         yaml-cpp, Eigen and GoogleTest from Debian's packages, for CMAKE_PREFIX_PATH
#   model/          the tokenizer and the shape of SmolLM2-135M; its weights (93 MB) would not fit
#   notes.parquet   notes of the Debian catalogue, which benchmarks embed and train on
#   manifest.json   sizes and SHA-256 of all files, and what they were made for
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$tools")
folder='' for_python=3.12
own_python=${PYTHON:-$root/.venv/bin/python}  # of a checkout after `make setup`: it reads the model and the notes

fail() {
  echo "gpu_bundle: $*" >&2
  exit 2
}

usage() { echo "usage: tools/gpu_bundle.sh FOLDER [--python 3.12]   (the version that the GPU machine has)"; }

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --python) for_python=${2-} && shift ;;
      --help) usage && exit ;;
      -*) fail "knows --python, but got $1" ;;
      *) [ -z "$folder" ] || fail "takes one folder, but got $folder and $1"; folder=$1 ;;
    esac
    [ $# -eq 0 ] || shift
  done
  [ -n "$folder" ] || { usage >&2; exit 2; }
  [[ $for_python =~ ^3\.[0-9]+$ ]] || fail "--python must be a version such as 3.12, but is '$for_python'"
  [ ! -e "$folder" ] || python3 "$tools/gpu_manifest.py" is-bundle "$folder" ||
    fail "$folder must be absent, or an earlier bundle to be replaced, but is neither"
}

pinned() { grep -ihE "^$1==" "$root"/requirements*.txt | head -n 1; }

# hydra-core and omegaconf compose configurations (antlr4 reads their grammar: omegaconf 2.3 needs 4.9), gguf reads
# quantised weights, and pytest's configuration names a time limit.
fetch_wheels() {
  local requirement
  for requirement in "$(pinned hydra-core)" "$(pinned omegaconf)" antlr4-python3-runtime==4.9.3 "$(pinned gguf)" \
    "$(pinned pytest-timeout)"; do
    fetch_wheel "$requirement" || fail "$requirement could not be fetched"
  done
}

# A package that is offered as source alone is built here, and may hold Python alone.
fetch_wheel() {
  local pip=("$own_python" -m pip) quiet=(--quiet --disable-pip-version-check --no-deps)
  "$own_python" -m pip --version >/dev/null 2>&1 || pip=(python3 -m pip)
  "${pip[@]}" download "${quiet[@]}" --only-binary=:all: --python-version "$for_python" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --dest "$scratch/wheels" "$1" \
    2>"$scratch.log" && return
  "${pip[@]}" wheel "${quiet[@]}" --wheel-dir "$scratch/built" "$1" >"$scratch.log" 2>&1 ||
    { cat "$scratch.log" >&2; return 1; }
  mv "$scratch"/built/*-none-any.whl "$scratch/wheels" || fail "$1 must be of Python alone, but is not"
  rm -r "$scratch/built"
}

# yaml-cpp's static library is not for shared objects (Debian compiles it without -fPIC), so the shared one travels; it
# asks for glibc 2.32 or newer, which the manifest says and the check compares. The others are headers, and a static
# library for C++ tests.
fetch_libraries() {
  command -v apt-get dpkg >/dev/null || fail "needs Debian's apt-get and dpkg, for yaml-cpp, Eigen and GoogleTest"
  mkdir "$scratch/debian"
  (cd "$scratch/debian" &&
    apt-get download -q libyaml-cpp-dev libyaml-cpp0.7 libeigen3-dev libgtest-dev >"$scratch.log" 2>&1) ||
    { cat "$scratch.log" >&2; fail "packages could not be fetched; try apt-get update"; }
  local package usr=$scratch/debian/usr
  for package in "$scratch"/debian/*.deb; do dpkg -x "$package" "$scratch/debian"; done
  rm -r "$usr"/src "$usr"/lib/*/pkgconfig "$usr"/share/pkgconfig "$usr"/lib/*/libyaml-cpp.a \
    "$usr"/include/eigen3/unsupported
  cp -rL "$usr" "$scratch/prefix"  # without links, which not everything carries
  rm -r "$scratch/debian"
}

write_data() {
  "$own_python" -W ignore - "$scratch" "$root/benchmarks/python" <<'EOF'
import shutil
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
from workloads import backbone, related_notes

folder = Path(sys.argv[1])
(folder / "model").mkdir()
for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
    shutil.copy(backbone() / name, folder / "model")
related_notes()[0].write(folder / "notes.parquet")
EOF
}

parse "$@"
[ -x "$own_python" ] || fail "needs the environment of \`make setup\`, but $own_python is not there; or set PYTHON"
scratch=$(mktemp -d "${folder%/}.XXXXXX")
trap 'rm -rf "$scratch" "$scratch.log"' EXIT
mkdir "$scratch/wheels"
echo "  wheels" && fetch_wheels
echo "  libraries" && fetch_libraries
echo "  tokenizer and notes" && write_data
commit=$(git -C "$root" describe --always --dirty=+ 2>/dev/null || true)
python3 "$tools/gpu_manifest.py" write "$scratch" --python "$for_python" --commit "$commit" |
  sed "s|^[^:]*|  $folder|"
[ "${PIPESTATUS[0]}" -eq 0 ] || exit 1
rm -rf "$folder"
chmod 755 "$scratch"
mv "$scratch" "$folder"
