include_guard()
# Every flag our own targets get; dependencies never see them.
function(notellm_configure_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic $<IF:$<CXX_COMPILER_ID:Clang>,-Wshadow,-Wshadow=local> -Wnon-virtual-dtor -Woverloaded-virtual
    $<$<BOOL:${NOTELLM_WARNINGS_AS_ERRORS}>:-Werror>)
  if(NOTELLM_SANITIZERS)
    target_compile_options(${target} PRIVATE -fsanitize=${NOTELLM_SANITIZERS} -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${NOTELLM_SANITIZERS})
  endif()
endfunction()
