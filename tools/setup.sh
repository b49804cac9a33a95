#!/usr/bin/env bash
# The steps of `make setup` and `make test`, one function each: `tools/setup.sh STEP`.
# Each may be interrupted anywhere and called again.
set -euo pipefail
cd "$(dirname "$0")/.."
step=$PWD/tools/step.sh
logs=build/logs
python=${PYTHON:-python3}
venv=${NOTELLM_VENV:-$PWD/.venv}
export PATH=$venv/bin:$PATH
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
# ccache, where it is there, keeps what is compiled with precompiled headers on this condition alone
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:+$CCACHE_SLOPPINESS,}pch_defines,time_macros
unset PYTHONPATH PYTHONHOME  # only .venv counts

fail() {
  echo "setup: $*" >&2
  exit 2
}

# --- Debian packages ---------------------------------------------------------------------------

# Looks where the compiler does, and under the prefixes where CMake does too.
has_header() {
  local folder folders
  IFS=':;' read -ra folders <<<"${CPATH-}"
  for folder in /usr/include /usr/local/include "${folders[@]}"; do
    [ -e "$folder/$1" ] && return
  done
  IFS=':;' read -ra folders <<<"${CMAKE_PREFIX_PATH-}"
  for folder in "${folders[@]}"; do
    [ -e "$folder/include/$1" ] && return
  done
  return 1
}

has_python_headers() {
  "$python" -c 'import os, sysconfig as s; exit(not os.path.exists(s.get_paths()["include"] + "/Python.h"))'
}

missing=() required=()  # packages to install; those without which nothing works

# `need PACKAGE REASON CHECK ...` notes PACKAGE unless the command CHECK succeeds.
need() {
  if want "$@"; then return; fi
  required+=("$1")
}
want() {
  local package=$1 reason=$2
  shift 2
  "$@" >/dev/null 2>&1 && return
  echo "  needs $package: $reason"
  missing+=("$package")
  return 1
}

debian_packages_to_build() {
  need g++ "compiles the core" command -v "${CXX:-g++}"
  need libeigen3-dev "sparse matrices of the miner" has_header eigen3/Eigen/Core
  need libyaml-cpp-dev "reads configurations" has_header yaml-cpp/yaml.h
  need python3-dev "Python.h, for the extension module" has_python_headers
  need python3-venv "creates .venv" "$python" -c "import ensurepip, venv"
  want libfaiss-dev "approximate neighbour indexes (optional)" has_header faiss/IndexFlat.h || true
  want libopenblas-pthread-dev "linear algebra under FAISS (optional)" \
    compgen -G "/usr/lib/*/liblapack.so" || true
  install_missing
}

debian_packages_to_test() {
  need libgtest-dev "C++ tests" has_header gtest/gtest.h
  install_missing
}

# Installs what is missing; where that is impossible, says how, and goes on if nothing is required.
install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  local line="apt-get install --no-install-recommends ${missing[*]}"
  if can_install; then
    "$step" "Debian packages" $logs/debian.log "$PWD/tools/setup.sh" install-debian "${missing[@]}" &&
      return
  fi
  [ ${#required[@]} -eq 0 ] || fail "needs ${required[*]}; as root: $line"
  echo "  goes on without ${missing[*]}; for them, as root: $line"
}

can_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && sudo -v; }
}

# The lists of packages are fetched only when they lack what we need.
install_debian() {
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo -n)
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300)
  "${root[@]}" dpkg --configure -a  # an earlier installation may have been interrupted
  "${apt[@]}" install --no-install-recommends "$@" && return
  "${apt[@]}" update
  "${apt[@]}" install --no-install-recommends "$@"
}

# --- Python ------------------------------------------------------------------------------------

create_venv() {
  "$python" -c 'import sys; exit(sys.version_info < (3, 11))' ||
    fail "needs Python 3.11 or newer, but $python is $("$python" --version 2>&1); try make PYTHON=..."
  "$step" "Python environment" $logs/venv.log "$python" -m venv --clear "$venv"
}

# pip takes a package whose installation was cut short for installed; such a one has no RECORD.
remove_unfinished() {
  local info
  for info in "$venv"/lib/python*/site-packages/*.dist-info; do
    [ -e "$info/RECORD" ] || rm -rf "$info"
  done
}

# torch first: nothing that follows may choose another.
install_packages() {
  remove_unfinished
  install_torch "$(grep '^torch==' requirements.txt)"
  "$step" "Python packages" $logs/packages.log pip install --progress-bar off -r requirements.txt
}

# Without a GPU the build for CPUs, if pip's indexes have one: a tenth of what the build for CUDA takes.
install_torch() {
  local torch=$1
  if ! has_gpu; then
    if is_offered "$torch+cpu"; then
      torch+=+cpu
    else
      echo "  no GPU is here, but pip offers no $torch+cpu; $torch may be several GB for CUDA"
    fi
  fi
  "$step" "PyTorch (${torch#torch==})" $logs/torch.log pip install --progress-bar off "$torch"
  describe_torch
}

has_gpu() { compgen -G "/dev/nvidia[0-9]*" >/dev/null || nvidia-smi -L >/dev/null 2>&1; }

is_offered() { pip install --quiet --dry-run --no-deps "$1" >/dev/null 2>&1; }

describe_torch() {
  "$venv/bin/python" -W ignore - <<'EOF'
import torch
from importlib.metadata import distributions

parts = [d for d in distributions() if d.name.partition("-")[0] in ("torch", "triton", "nvidia", "cuda")]
size = sum(file.size or 0 for part in parts for file in part.files) / 1e9
build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
print(f"  PyTorch {torch.__version__}, built {build}: {size:.1f} GB on disk")
EOF
}

install_test_packages() {
  remove_unfinished
  "$step" "Packages for the tests" $logs/test-packages.log \
    pip install --progress-bar off -r requirements.txt -r requirements-test.txt
}

install_docs_packages() {
  remove_unfinished
  "$step" "Packages for the documentation" $logs/docs-packages.log \
    pip install --progress-bar off -c requirements.txt -c requirements-test.txt -r requirements-docs.txt
}

# --- The extension -----------------------------------------------------------------------------

# The largest job (bindings, or torch's precompiled headers) takes 1.2 GiB.
build_jobs() {
  local by_memory
  by_memory=$(awk '/MemAvailable/ {print int($2 / 1310720)}' /proc/meminfo 2>/dev/null || echo 4)
  echo $((by_memory < 1 ? 1 : by_memory < $(nproc) ? by_memory : $(nproc)))
}

# Warnings are errors with the compiler our tests run on; another's new warnings stop nobody.
warnings_as_errors() {
  [ "$(${CXX:-g++} -dumpversion | cut -d. -f1)" = 12 ] && echo ON || echo OFF
}

build_extension() {
  # by the long name: Debian 12's pip 23.0 does not know -C
  local settings=(build-dir=build/py build.targets=notellm_python
    "cmake.define.NOTELLM_WARNINGS_AS_ERRORS=$(warnings_as_errors)"
    "cmake.define.Python_EXECUTABLE=$venv/bin/python")
  if command -v ccache >/dev/null; then
    settings+=(cmake.define.CMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  local choice
  for choice in NOTELLM_CUDA NOTELLM_FAISS; do  # AUTO, ON or OFF, as in CMakeLists.txt
    if [ -n "${!choice-}" ]; then settings+=("cmake.define.$choice=${!choice}"); fi
  done
  CMAKE_BUILD_PARALLEL_LEVEL=$(build_jobs) "$step" "notellm (C++ extension)" $logs/extension.log \
    "$venv/bin/python" -m pip install -v --no-build-isolation --no-deps --no-index \
    "${settings[@]/#/--config-settings=}" -e .
}

# The C++ tests join the extension's build tree and share its objects.
build_tests() {
  "$step" "C++ tests: configure" $logs/configure-tests.log cmake -S . -B build/py -G Ninja \
    "-DPython_EXECUTABLE=$venv/bin/python" -DNOTELLM_BUILD_TESTS=ON \
    "-DNOTELLM_WARNINGS_AS_ERRORS=$(warnings_as_errors)"
  "$step" "C++ tests: build" $logs/build-tests.log \
    cmake --build build/py --target notellm_tests --parallel "$(build_jobs)"
}

# The same tests, and the extension, in a tree of their own, whose objects watch memory and undefined behaviour.
build_asan() {
  local settings=()
  if command -v ccache >/dev/null; then settings+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  "$step" "Sanitizers: configure" $logs/configure-asan.log cmake --preset asan "${settings[@]}"
  "$step" "Sanitizers: build" $logs/build-asan.log \
    cmake --build --preset asan --target notellm_tests notellm_python --parallel "$(build_jobs)"
  mkdir -p build/asan/package/notellm
  ln -sfn "$PWD"/python/notellm/* "$PWD"/build/asan/cpp/bindings/_core*.so build/asan/package/notellm
}

case ${1-} in
  debian) debian_packages_to_build ;;
  debian-test) debian_packages_to_test ;;
  install-debian) install_debian "${@:2}" ;;
  venv) create_venv ;;
  packages) install_packages ;;
  test-packages) install_test_packages ;;
  docs-packages) install_docs_packages ;;
  extension) build_extension ;;
  tests) build_tests ;;
  asan) build_asan ;;
  *) fail "must be called with a step, but got '${1-}'" ;;
esac
