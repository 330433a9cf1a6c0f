# Compiler flags that every target of the project shares.
#
# -ffp-contract=off: a product and a sum are two roundings unless the code says fma (docs/reference/arithmetic.md).
add_library(lowbit_flags INTERFACE)
target_compile_options(lowbit_flags INTERFACE -ffp-contract=off -fno-math-errno)
add_library(lowbit_warnings INTERFACE)
target_compile_options(lowbit_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers)

option(LOWBIT_SANITIZE "Build with the address and undefined-behaviour sanitizers" OFF)
if(LOWBIT_SANITIZE)
  target_compile_options(lowbit_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer)
  target_link_options(lowbit_flags INTERFACE -fsanitize=address,undefined)
endif()

# Coverage for libFuzzer, and both sanitizers; a fuzzer links -fsanitize=fuzzer beside these.
if(LOWBIT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    message(FATAL_ERROR "LOWBIT_FUZZ needs clang++, and the compiler is ${CMAKE_CXX_COMPILER_ID}; "
                        "scripts/fuzz.sh sets it")
  endif()
  target_compile_options(lowbit_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(lowbit_flags INTERFACE -fsanitize=address,undefined)
endif()
