# find_package for what must be there; where it is not, says what to do.
include_guard()
# notellm_require(PACKAGE VERSION DEBIAN): a macro, since packages set variables in the caller's scope.
macro(notellm_require package version debian)
  find_package(${package} ${version} CONFIG QUIET)
  if(NOT ${package}_FOUND)
    set(_notellm_seen "")
    if(${package}_CONSIDERED_VERSIONS)
      set(_notellm_seen ", only ${${package}_CONSIDERED_VERSIONS}: ${${package}_CONSIDERED_CONFIGS}")
    endif()
    message(FATAL_ERROR
      "${package} ${version}, or a newer version compatible with it, was not found${_notellm_seen}. On Debian: "
      "apt-get install ${debian}; elsewhere name the folder that it is installed under: "
      "-DCMAKE_PREFIX_PATH=FOLDER, with pip --config-settings=cmake.define.CMAKE_PREFIX_PATH=FOLDER, or the environment's "
      "CMAKE_PREFIX_PATH.")
  endif()
  message(STATUS "${package} ${${package}_VERSION}: ${${package}_DIR}")
endmacro()
