# Run at installation: copies what NOTELLM_MODULE needs to NOTELLM_DESTINATION. (See NotellmBundle.cmake. CMake's own
# install(RUNTIME_DEPENDENCY_SET) keeps chains of symlinks, of which a wheel would hold one copy each.)
file(GET_RUNTIME_DEPENDENCIES
  MODULES "${NOTELLM_MODULE}"
  RESOLVED_DEPENDENCIES_VAR libraries
  UNRESOLVED_DEPENDENCIES_VAR absent
  PRE_EXCLUDE_REGEXES
    "^lib(c10|c10_cuda|torch|torch_cpu|torch_cuda|torch_python|cudart|gomp|omp|iomp5)\\."  # torch's: one of each
    "^(ld-linux.*|lib(c|m|dl|rt|pthread|util|mvec|gcc_s|stdc\\+\\+))\\.")  # every Linux with a Python has them
if(absent)
  message(FATAL_ERROR "The shared libraries ${absent} must be found to be installed beside the extension, but are not; "
                      "try LD_LIBRARY_PATH, or run ldconfig.")
endif()
foreach(library ${libraries})
  get_filename_component(name "${library}" NAME)  # the name that is asked for
  file(REAL_PATH "${library}" file)
  file(INSTALL DESTINATION "${CMAKE_INSTALL_PREFIX}/${NOTELLM_DESTINATION}" TYPE FILE RENAME "${name}" FILES "${file}")
endforeach()
