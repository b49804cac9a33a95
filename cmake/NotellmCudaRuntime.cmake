# Finds the CUDA runtime that torch loads: sets NOTELLM_CUDA_RUNTIME, the file in torch's package or beside it. It is empty
# where there is none: torch then takes the toolkit's.
include_guard()
set(NOTELLM_CUDA_RUNTIME "")
string(REGEX MATCH "^[0-9]+" _major "${NOTELLM_TORCH_CUDA}")
if(_major)
  file(GLOB _runtimes "${NOTELLM_TORCH_LIBRARIES}/libcudart*.so*"
       "${NOTELLM_TORCH_LIBRARIES}/../../nvidia/*/lib/libcudart.so.*")
  list(FILTER _runtimes INCLUDE REGEX "/libcudart[^/]*\\.so\\.${_major}[^/]*$")
  if(_runtimes)
    list(GET _runtimes 0 NOTELLM_CUDA_RUNTIME)
    file(REAL_PATH "${NOTELLM_CUDA_RUNTIME}" NOTELLM_CUDA_RUNTIME)
  endif()
endif()
