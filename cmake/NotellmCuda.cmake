# Finds nvcc where CUDA loops are wanted and torch is a CUDA build; sets NOTELLM_HAVE_CUDA. Without them the library
# computes on CUDA tensors by LibTorch's operations.
include_guard()
set(NOTELLM_HAVE_CUDA OFF)
if(NOT NOTELLM_CUDA STREQUAL "OFF")
  find_program(NOTELLM_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)
  set(_nvcc_version "")
  if(NOTELLM_NVCC)
    execute_process(COMMAND "${NOTELLM_NVCC}" --version OUTPUT_VARIABLE _nvcc_says ERROR_QUIET)
    string(REGEX MATCH "release ([0-9]+)\\.[0-9]+" _ "${_nvcc_says}")
    set(_nvcc_version "${CMAKE_MATCH_1}")
  endif()
  string(REGEX MATCH "^[0-9]+" _torch_cuda "${NOTELLM_TORCH_CUDA}")
  if(_torch_cuda AND _nvcc_version STREQUAL _torch_cuda)
    set(NOTELLM_HAVE_CUDA ON)
    set(CMAKE_CUDA_COMPILER "${NOTELLM_NVCC}")
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90)  # and what is newer, through the code for 90
    endif()
    # The CUDA runtime is torch's own: nvcc would link a second one in, with a state of its own. Where torch's package
    # has none, torch takes the toolkit's, which is then shared.
    include(NotellmCudaRuntime)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
    if(NOTELLM_CUDA_RUNTIME)
      set(CMAKE_CUDA_RUNTIME_LIBRARY None)
    endif()
    enable_language(CUDA)
  elseif(NOTELLM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "NOTELLM_CUDA=ON, but torch ${NOTELLM_TORCH_VERSION} is built for CUDA '${NOTELLM_TORCH_CUDA}' and "
                        "nvcc is of version '${_nvcc_version}' (${NOTELLM_NVCC}); both must be there, of the same major "
                        "version. Set CUDA_HOME, or NOTELLM_CUDA=AUTO.")
  endif()
endif()
message(STATUS "CUDA loops: ${NOTELLM_HAVE_CUDA}")
