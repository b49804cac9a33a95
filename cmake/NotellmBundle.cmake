# Installs, beside a module, the shared libraries that it needs and that neither torch nor the base of every Linux
# brings: yaml-cpp, and the BLAS and LAPACK behind FAISS with what those need. So a wheel needs no packages of a system.
include_guard()
# notellm_bundle_libraries(TARGET DESTINATION): DESTINATION is relative to the installation's root; TARGET's RPATH must
# name it, as a DT_RPATH: a DT_RUNPATH would not be asked for what the libraries there need in turn.
function(notellm_bundle_libraries target destination)
  target_link_options(${target} PRIVATE "LINKER:--disable-new-dtags")
  install(CODE "set(NOTELLM_MODULE \"$<TARGET_FILE:${target}>\")\nset(NOTELLM_DESTINATION \"${destination}\")")
  install(SCRIPT "${PROJECT_SOURCE_DIR}/cmake/InstallLibraries.cmake")
endfunction()
