#!/usr/bin/env bash
# Builds, in a container of cibuildwheel, the libraries that wheels are made with and the container's system lacks or has
# in older versions; OpenBLAS is the system's.
set -euo pipefail
dnf install -y epel-release git
dnf install -y --enablerepo=powertools openblas-devel

# build NAME REPOSITORY TAG SETTING ...
build() {
  local name=$1 repository=$2 tag=$3
  shift 3
  git clone --quiet --depth 1 --branch "$tag" "$repository" "/tmp/$name"
  cmake -S "/tmp/$name" -B "/tmp/$name/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
    -DBUILD_TESTING=OFF -DBUILD_SHARED_LIBS=OFF "$@"
  cmake --build "/tmp/$name/build" --target install --parallel "$(nproc)"
}
build eigen https://gitlab.com/libeigen/eigen.git 3.4.0
build yaml-cpp https://github.com/jbeder/yaml-cpp.git yaml-cpp-0.9.0 -DYAML_CPP_BUILD_TESTS=OFF
build faiss https://github.com/facebookresearch/faiss.git v1.9.0 -DFAISS_ENABLE_GPU=OFF -DFAISS_ENABLE_PYTHON=OFF
