# Compiler flags that every target of the project shares.
#
# -ffp-contract=off: a product and a sum are two roundings unless the code says fma (docs/reference/arithmetic.md).
add_library(lowbit_flags INTERFACE)
target_compile_options(lowbit_flags INTERFACE -ffp-contract=off -fno-math-errno)
add_library(lowbit_warnings INTERFACE)
target_compile_options(lowbit_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers)

option(LOWBIT_SANITIZE "Build with the address and undefined-behaviour sanitizers" OFF)
if(LOWBIT_SANITIZE)
  target_compile_options(lowbit_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(lowbit_flags INTERFACE -fsanitize=address,undefined)
endif()
