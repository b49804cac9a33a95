# Finds FAISS where it is wanted and there; sets NOTELLM_HAVE_FAISS and the target notellm_faiss.
include_guard()
set(NOTELLM_HAVE_FAISS OFF)
if(NOT NOTELLM_FAISS STREQUAL "OFF")
  find_package(OpenMP QUIET)  # Debian's faiss is static and names these three without finding them
  find_package(BLAS QUIET)
  find_package(LAPACK QUIET)
  find_package(faiss CONFIG QUIET)
  if(faiss_FOUND AND BLAS_FOUND AND LAPACK_FOUND)
    set(NOTELLM_HAVE_FAISS ON)
    add_library(notellm_faiss INTERFACE)
    target_link_libraries(notellm_faiss INTERFACE faiss LAPACK::LAPACK BLAS::BLAS)
  elseif(NOTELLM_FAISS STREQUAL "ON")
    message(FATAL_ERROR "NOTELLM_FAISS=ON, but FAISS, BLAS or LAPACK was not found. "
                        "On Debian: apt-get install libfaiss-dev libopenblas-dev; or set NOTELLM_FAISS=AUTO.")
  endif()
endif()
message(STATUS "FAISS: ${NOTELLM_HAVE_FAISS}")
