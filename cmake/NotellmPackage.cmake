# Installs notellm as a package of CMake's: headers, the library and what `find_package(notellm)` reads. pip's build of
# the extension leaves it out (SKBUILD); `cmake --install build --component core` asks for it there, too.
include_guard()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# notellm_install_package(TARGET): TARGET is a static library that holds all objects.
function(notellm_install_package target)
  set(exclude "")
  if(SKBUILD)
    set(exclude EXCLUDE_FROM_ALL)
  endif()
  set(folder "${CMAKE_INSTALL_LIBDIR}/cmake/notellm")
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/notellmConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/notellmConfig.cmake" INSTALL_DESTINATION "${folder}"
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/notellmConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
  install(FILES "$<TARGET_FILE:${target}>" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT core ${exclude})
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/cpp/include/notellm" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    COMPONENT core ${exclude})
  install(FILES
    "${PROJECT_BINARY_DIR}/notellmConfig.cmake" "${PROJECT_BINARY_DIR}/notellmConfigVersion.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/FindTorchFromPython.cmake" "${PROJECT_SOURCE_DIR}/cmake/NotellmFaiss.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/NotellmCudaRuntime.cmake"
    DESTINATION "${folder}" COMPONENT core ${exclude})
endfunction()
