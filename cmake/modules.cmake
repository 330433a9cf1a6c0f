# The standard library and fmt, read once for every module that lacks torch (torch brings another fmt). The preset
# debug-sanitized builds without it, which shows a file that forgot an include.
file(WRITE ${PROJECT_BINARY_DIR}/standard_headers.cpp "")
add_library(lowbit_standard_headers STATIC ${PROJECT_BINARY_DIR}/standard_headers.cpp)
target_link_libraries(lowbit_standard_headers PRIVATE lowbit_flags lowbit_warnings fmt::fmt Threads::Threads)
target_precompile_headers(lowbit_standard_headers PRIVATE <algorithm> <array> <atomic> <charconv> <cmath> <cstdint>
  <cstring>
  <filesystem> <functional> <iostream> <map> <memory> <mutex> <optional> <set> <span> <sstream> <string> <unordered_map>
    <vector>
  <fmt/format.h>)

# A module's include root is a folder of the build tree that holds one link, to itself. It sees its own
# headers and those of DEPENDS, so an include against the arrows does not compile.
#
#   lowbit_module(NAME SOURCES a.cpp ... DEPENDS other modules... LIBRARIES what only the sources need
#                 [PUBLIC_LIBRARIES what the headers need too] [TORCH: it sees torch's headers]
#                 [PRECOMPILE headers instead of the standard ones])
function(lowbit_module name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPENDS;LIBRARIES;PUBLIC_LIBRARIES;PRECOMPILE" ${ARGN})
  set(root ${PROJECT_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root}/lowbit)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/lowbit/${name} ${root}/lowbit/${name} SYMBOLIC)
  add_library(lowbit_${name} STATIC ${ARG_SOURCES})
  target_include_directories(lowbit_${name} PUBLIC ${root})
  foreach(dependency IN LISTS ARG_DEPENDS)
    if(NOT TARGET lowbit_${dependency})
      message(FATAL_ERROR "${name} needs ${dependency}: declare it above, which also rules out cycles")
    endif()
    target_link_libraries(lowbit_${name} PUBLIC lowbit_${dependency})
  endforeach()
  if(ARG_PRECOMPILE)
    target_precompile_headers(lowbit_${name} PRIVATE ${ARG_PRECOMPILE})
  elseif(NOT ARG_TORCH)
    target_precompile_headers(lowbit_${name} REUSE_FROM lowbit_standard_headers)
  endif()
  target_link_libraries(lowbit_${name} PUBLIC lowbit_flags ${ARG_PUBLIC_LIBRARIES} PRIVATE ${ARG_LIBRARIES}
    lowbit_warnings)
endfunction()

# One test program of a folder under tests/; each of its cases is a ctest of its own.
#   lowbit_test(NAME SOURCES a_test.cpp ... DEPENDS modules... [LABELS long] [PROCESSORS n])
# PROCESSORS: how many a case keeps busy, so that ctest does not run two such cases over each other.
function(lowbit_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT;PROCESSORS" "SOURCES;DEPENDS;LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPENDS PREPEND lowbit_)
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} ${ARG_LIBRARIES} lowbit_test_support GTest::gtest lowbit_flags
    lowbit_warnings)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  if(NOT ARG_PROCESSORS)
    set(ARG_PROCESSORS 1)
  endif()
  set(labels ${ARG_LABELS})
  if(NOT labels)
    set(labels quick)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${labels}" TIMEOUT ${ARG_TIMEOUT} PROCESSORS ${ARG_PROCESSORS})
endfunction()

# With LOWBIT_FUZZ: machine and kernels read no bytes from outside, and clang 14 does not take their intrinsics, so they
# come from a release build that another compiler made in LOWBIT_FUZZ_KERNELS.
set(LOWBIT_FUZZ_KERNELS "" CACHE PATH "Build folder that holds modules/machine and modules/kernels, for LOWBIT_FUZZ")
function(lowbit_fuzz_import name)
  set(root ${PROJECT_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${root}/lowbit)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/lowbit/${name} ${root}/lowbit/${name} SYMBOLIC)
  add_library(lowbit_${name} STATIC IMPORTED GLOBAL)
  set_target_properties(lowbit_${name} PROPERTIES
    IMPORTED_LOCATION ${LOWBIT_FUZZ_KERNELS}/modules/${name}/liblowbit_${name}.a)
  target_include_directories(lowbit_${name} INTERFACE ${root})
  if(name STREQUAL machine)
    target_link_libraries(lowbit_machine INTERFACE lowbit_base)
  else()
    target_link_libraries(lowbit_kernels INTERFACE lowbit_formats lowbit_machine hwy::hwy)
  endif()
endfunction()
