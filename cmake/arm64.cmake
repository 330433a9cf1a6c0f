# Cross-compiles for ARM64 with Debian's compiler and runs tests under qemu-user (scripts/test_arm64.sh, which makes the
# folder LOWBIT_ARM64_ROOT of that architecture's libraries).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CXX_FLAGS_INIT -Wno-psabi)  # notes on how GCC 10 changed the passing of arguments
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LOWBIT_ARM64_ROOT)

set(CMAKE_FIND_ROOT_PATH ${LOWBIT_ARM64_ROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR}
  ${LOWBIT_ARM64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${LOWBIT_ARM64_ROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${LOWBIT_ARM64_ROOT})
# Libraries that libraries need are looked for there too.
set(CMAKE_EXE_LINKER_FLAGS_INIT
  "-Wl,-rpath-link,${LOWBIT_ARM64_ROOT}/usr/lib/aarch64-linux-gnu:${LOWBIT_ARM64_ROOT}/lib/aarch64-linux-gnu")
set(CMAKE_BUILD_RPATH ${LOWBIT_ARM64_ROOT}/usr/lib/aarch64-linux-gnu ${LOWBIT_ARM64_ROOT}/lib/aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
