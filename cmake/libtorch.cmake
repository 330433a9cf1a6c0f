# libtorch as its Python wheel ships it: only libtorch_cpu and libc10 are linked. The wheel's own
# find_package asks for a CUDA tool kit, so two imported targets stand in for it.
if(NOT LOWBIT_LIBTORCH AND DEFINED ENV{LOWBIT_LIBTORCH})
  set(LOWBIT_LIBTORCH $ENV{LOWBIT_LIBTORCH} CACHE PATH "" FORCE)
endif()
if(NOT LOWBIT_LIBTORCH)
  if(DEFINED ENV{LOWBIT_CACHE})
    set(cache $ENV{LOWBIT_CACHE})
  elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(cache $ENV{XDG_CACHE_HOME}/lowbit)
  else()
    set(cache $ENV{HOME}/.cache/lowbit)
  endif()
  set(LOWBIT_LIBTORCH ${cache}/libtorch-2.15.0 CACHE PATH "" FORCE)
endif()
if(NOT EXISTS ${LOWBIT_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "no libtorch in ${LOWBIT_LIBTORCH}: run scripts/setup.sh, or pass -DLOWBIT_LIBTORCH=DIR, "
                      "or build without training (-DLOWBIT_TRAIN=OFF)")
endif()

add_library(libtorch_c10 SHARED IMPORTED)
set_target_properties(libtorch_c10 PROPERTIES IMPORTED_LOCATION ${LOWBIT_LIBTORCH}/lib/libc10.so)
add_library(libtorch_cpu SHARED IMPORTED)
set_target_properties(libtorch_cpu PROPERTIES IMPORTED_LOCATION ${LOWBIT_LIBTORCH}/lib/libtorch_cpu.so)
target_include_directories(libtorch_cpu SYSTEM INTERFACE
  ${LOWBIT_LIBTORCH}/include ${LOWBIT_LIBTORCH}/include/torch/csrc/api/include)
# The wheel carries headers of a newer fmt, which stand before the system's; used header-only they need no library.
target_compile_definitions(libtorch_cpu INTERFACE FMT_HEADER_ONLY)
# libtorch_cpu names libcudart and libcupti as needed; they lie beside it and need no GPU and no driver.
target_link_options(libtorch_cpu INTERFACE
  -Wl,-rpath-link,${LOWBIT_LIBTORCH}/lib -Wl,-rpath,${LOWBIT_LIBTORCH}/lib -Wl,--no-as-needed)
target_link_libraries(libtorch_cpu INTERFACE libtorch_c10)
# The wheel brings its own OpenMP run time; a libtorch built elsewhere uses the system's.
if(EXISTS ${LOWBIT_LIBTORCH}/lib/libgomp.so.1)
  target_link_libraries(libtorch_cpu INTERFACE ${LOWBIT_LIBTORCH}/lib/libgomp.so.1)
else()
  target_link_libraries(libtorch_cpu INTERFACE gomp)
endif()
