# Finds the LibTorch inside the torch package of the interpreter we build for.
# Sets TORCH_LIBRARIES, TORCH_PYTHON_LIBRARY, NOTELLM_TORCH_VERSION.
include_guard()
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
    "import torch; print(torch.__version__, torch.compiled_with_cxx11_abi(), torch.utils.cmake_prefix_path, sep='\\n')"
  OUTPUT_VARIABLE _torch OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_VARIABLE _error RESULT_VARIABLE _result)
if(NOT _result EQUAL 0)
  message(FATAL_ERROR "`import torch` failed in ${Python_EXECUTABLE}. Install torch >= 2.9 there first; "
                      "with pip, build with --no-build-isolation.\n${_error}")
endif()
string(REPLACE "\n" ";" _torch "${_torch}")
list(GET _torch 0 NOTELLM_TORCH_VERSION)
list(GET _torch 1 _cxx11_abi)
list(GET _torch 2 _prefix)
if(NOT _cxx11_abi)
  message(FATAL_ERROR "torch ${NOTELLM_TORCH_VERSION} uses the old libstdc++ ABI; use torch >= 2.9.")
endif()
if(NOTELLM_TORCH_VERSION VERSION_LESS 2.9)
  message(FATAL_ERROR "torch must be at least 2.9, but is ${NOTELLM_TORCH_VERSION} in ${Python_EXECUTABLE}.")
endif()
list(PREPEND CMAKE_PREFIX_PATH "${_prefix}")
find_package(Torch REQUIRED)
find_library(TORCH_PYTHON_LIBRARY torch_python HINTS "${TORCH_INSTALL_PREFIX}/lib" REQUIRED)
message(STATUS "Building for torch ${NOTELLM_TORCH_VERSION} of ${Python_EXECUTABLE}")
