#!/usr/bin/env bash
# One command for a machine with a GPU that can fetch nothing: builds the extension against its PyTorch, runs the tests
# marked `gpu`, then short benchmarks, most important first. See docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}  # that has PyTorch
bundle='' output='' device=cuda small='' seconds=540 only=()
work=$PWD/build/gpu_check

fail() {
  echo "gpu_check: $*" >&2
  exit 2
}

usage() {
  cat <<'EOF'
usage: tools/gpu_check.sh --bundle FOLDER --output FOLDER [options]
  --bundle FOLDER    what tools/gpu_bundle.sh made
  --output FOLDER    for one JSON of each part, and gpu_check.json with all of them, written anew after each
  --device DEVICE    cuda or cpu; default: cuda
  --small            sizes at which everything takes seconds, to see that it runs
  --seconds N        of all parts together, the build included; default: 540
  --only PART ...    these parts alone; default: all
  --list             says what the parts are
EOF
}

value() {
  if [ $# -lt 2 ] || [ -z "$2" ] || [[ $2 == --* ]]; then fail "$1 must be followed by a value"; fi
}

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --bundle) value "$@"; bundle=$2; shift 2 ;;
      --output) value "$@"; output=$2; shift 2 ;;
      --device) value "$@"; device=$2; shift 2 ;;
      --seconds) value "$@"; seconds=$2; shift 2 ;;
      --small) small=--small; shift ;;
      --only) value "$@"; shift; while [ $# -gt 0 ] && [[ $1 != --* ]]; do only+=("$1"); shift; done ;;
      --list) exec "$python" tools/gpu_parts.py --list ;;
      --help) usage; exit ;;
      *) usage >&2; fail "knows no $1" ;;
    esac
  done
  if [ -z "$bundle" ] || [ -z "$output" ]; then usage >&2; fail "needs --bundle and --output"; fi
  [[ $device =~ ^(cuda|cpu)$ ]] || fail "--device must be cuda or cpu, but is $device"
  [[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "--seconds must be a whole number above 0, but is $seconds"
}

# Sees the packages of the interpreter that has PyTorch, after the carried ones. Not by --system-site-packages: where that
# interpreter is in an environment itself, this would show the packages of the one behind it.
make_environment() {
  "$python" -m venv --without-pip --clear "$venv"
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$python" - >"$site/installed.pth" <<'EOF'
import site, sysconfig

folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
print("import site; " + "; ".join(f"site.addsitedir({folder!r})" for folder in dict.fromkeys(folders)))
EOF
  "$venv/bin/python" -m pip install --quiet --no-index --no-deps --ignore-installed --no-warn-script-location \
    "$bundle"/wheels/*.whl
  "$venv/bin/python" - "$site" <<'EOF'
import importlib.util, sys

for name in ("hydra", "omegaconf", "antlr4", "gguf", "pytest_timeout"):
    found = importlib.util.find_spec(name)
    if found is None or not (found.origin or "").startswith(sys.argv[1]):
        sys.exit(f"{name} must come from the bundle's wheels, but is {found and found.origin}")
EOF
}

# Ends a command with all that it started when half of the time is over, or when this script is ended.
limited() {
  timeout $((seconds / 2)) "$@" &
  child=$!
  trap 'kill "$child" 2>/dev/null; exit 130' INT TERM HUP
  local status=0
  wait "$child" || status=$?
  trap - INT TERM HUP
  return $status
}

# By pip, as everywhere, which puts yaml-cpp beside the extension. CMake's own search of lib/ARCHITECTURE depends on the
# compiler, so that the folder below is named, too. Where nvcc is of no use there are still LibTorch's operations.
build() {
  local prefix=$bundle/prefix
  CMAKE_PREFIX_PATH=$prefix:$(compgen -G "$prefix/lib/*/cmake" | paste -sd:)
  PATH=$(dirname "$(command -v "$python")"):$PATH  # CMake and ninja, where they are Python packages
  export CMAKE_PREFIX_PATH PATH NOTELLM_VENV=$venv
  if [ "$device" = cuda ] || [ "${NOTELLM_CUDA-}" = ON ]; then
    cuda_loops=built
    NOTELLM_CUDA=ON limited tools/setup.sh extension && return
    echo "  once more, without CUDA loops"
    cuda_loops="failed, see build/logs/extension_with_cuda.log"
    cp build/logs/extension.log build/logs/extension_with_cuda.log
  fi
  NOTELLM_CUDA=OFF limited tools/setup.sh extension
}

parse "$@"
"$python" -c 'import torch' 2>/dev/null || fail "needs PyTorch in $python; or set PYTHON"
"$python" tools/gpu_manifest.py check "$bundle" || fail "the bundle cannot be used"
[ "$device" = cpu ] || "$python" -c 'import torch; exit(not torch.cuda.is_available())' ||
  fail "--device cuda needs a GPU that PyTorch sees; or try --device cpu"
mkdir -p "$output" "$work"
bundle=$(cd "$bundle" && pwd) output=$(cd "$output" && pwd) venv=$work/venv
cuda_loops='not asked for'
make_environment
build || fail "the extension could not be built"
built=$SECONDS
exec "$venv/bin/python" tools/gpu_parts.py --bundle "$bundle" --output "$output" --device "$device" $small \
  --seconds $((seconds - built)) --build-seconds $built --cuda-loops "$cuda_loops" ${only[@]:+--only "${only[@]}"}
