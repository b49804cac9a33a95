# Finds the LibTorch inside the torch package of the interpreter we build for: its headers and libraries as they lie in
# the package, whether that is a CPU or a CUDA build. (find_package(Torch) would ask for a CUDA toolkit with the latter,
# of which nothing is needed: we call LibTorch alone.)
# Sets the targets notellm_torch and notellm_torch_python, NOTELLM_TORCH_VERSION, NOTELLM_TORCH_CUDA (its version, or
# "None") and NOTELLM_TORCH_LIBRARIES (a folder).
include_guard()
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
    "import torch, pathlib; print(torch.__version__, torch.compiled_with_cxx11_abi(), torch.version.cuda, pathlib.Path(torch.__file__).parent.as_posix(), sep='\\n')"
  OUTPUT_VARIABLE _torch OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_VARIABLE _error RESULT_VARIABLE _result)
if(NOT _result EQUAL 0)
  message(FATAL_ERROR "`import torch` failed in ${Python_EXECUTABLE}. Install torch >= 2.9 there first; "
                      "with pip, build with --no-build-isolation.\n${_error}")
endif()
string(REPLACE "\n" ";" _torch "${_torch}")
list(GET _torch 0 NOTELLM_TORCH_VERSION)
list(GET _torch 1 _cxx11_abi)
list(GET _torch 2 NOTELLM_TORCH_CUDA)  # "13.0", or "None"
list(GET _torch 3 _package)
if(NOT _cxx11_abi)
  message(FATAL_ERROR "torch ${NOTELLM_TORCH_VERSION} uses the old libstdc++ ABI; use torch >= 2.9.")
endif()
if(NOTELLM_TORCH_VERSION VERSION_LESS 2.9)
  message(FATAL_ERROR "torch must be at least 2.9, but is ${NOTELLM_TORCH_VERSION} in ${Python_EXECUTABLE}.")
endif()
set(NOTELLM_TORCH_LIBRARIES "${_package}/lib")

# Libraries of the package by their paths, with the package's headers; once in each folder of a project that asks.
function(notellm_import_torch target)
  if(TARGET ${target})
    return()
  endif()
  add_library(${target} INTERFACE IMPORTED)
  target_include_directories(${target} SYSTEM INTERFACE
    "${_package}/include" "${_package}/include/torch/csrc/api/include")
  foreach(name ${ARGN})
    set(library "${NOTELLM_TORCH_LIBRARIES}/${CMAKE_SHARED_LIBRARY_PREFIX}${name}${CMAKE_SHARED_LIBRARY_SUFFIX}")
    if(NOT EXISTS "${library}")
      message(FATAL_ERROR "torch ${NOTELLM_TORCH_VERSION} in ${Python_EXECUTABLE} must bring ${library}, but does "
                          "not; try another build of torch, such as pip's.")
    endif()
    target_link_libraries(${target} INTERFACE "${library}")
  endforeach()
  # A CUDA build's libraries name further ones, which they find beside them when they are loaded.
  target_link_options(${target} INTERFACE "LINKER:--allow-shlib-undefined")
endfunction()
notellm_import_torch(notellm_torch torch_cpu c10)
notellm_import_torch(notellm_torch_python torch_python)
message(STATUS "Building for torch ${NOTELLM_TORCH_VERSION} of ${Python_EXECUTABLE}")
