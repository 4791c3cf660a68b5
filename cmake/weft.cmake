# SPDX-License-Identifier: Apache-2.0
# How the parts of Weft are compiled.

include(CheckCCompilerFlag)

set(WEFT_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wundef)
if(CMAKE_C_COMPILER_ID MATCHES Clang)
  list(APPEND WEFT_WARNINGS -Wthread-safety)
endif()
if(WEFT_WERROR)
  list(APPEND WEFT_WARNINGS -Werror)
endif()

# No fast-math and no contraction but where it is written: the bits depend on it.
function(weft_compile_options target)
  target_compile_options(${target} PRIVATE ${WEFT_WARNINGS} -ffp-contract=off
    -fno-math-errno)
  weft_sanitizer_options(${target})
endfunction()

function(weft_sanitizer_options target)
  if(WEFT_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${WEFT_SANITIZE}
      -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
    target_link_options(${target} PUBLIC -fsanitize=${WEFT_SANITIZE})
  endif()
  if(WEFT_FUZZ)
    # Loops unrolled by hand take clang minutes with all these checks in them.
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link
      "SHELL:-mllvm -pragma-unroll-threshold=200" -Wno-pass-failed)
  endif()
endfunction()

# The ONNX messages, generated from the schema that libonnx-dev installs.
function(weft_onnx_proto result)
  find_file(ONNX_PROTO onnx/onnx.proto REQUIRED)
  find_program(PROTOC_C protoc-c REQUIRED)
  set(directory ${PROJECT_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${directory})
  cmake_path(GET ONNX_PROTO PARENT_PATH proto_directory)
  add_custom_command(
    OUTPUT ${directory}/onnx.pb-c.c ${directory}/onnx.pb-c.h
    COMMAND ${PROTOC_C} --c_out=${directory} --proto_path=${proto_directory}
      onnx.proto
    DEPENDS ${ONNX_PROTO} VERBATIM)
  set(${result} ${directory}/onnx.pb-c.c ${directory}/onnx.pb-c.h PARENT_SCOPE)
  add_custom_target(weft_proto_files DEPENDS ${directory}/onnx.pb-c.c)
endfunction()

# Instruction sets whose vector kernels this compiler can build. Each compiles the
# same sources, src/backend/cpu/kernels/*.c, with its own flags and WEFTI_ISA name.
set(WEFT_ISAS "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(WEFT_ISAS sse2 avx2 avx512)
  set(WEFT_ISA_FLAGS_sse2 -msse2)
  set(WEFT_ISA_FLAGS_avx2 -mavx2 -mfma)
  set(WEFT_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
    -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(WEFT_ISAS neon)
  set(WEFT_ISA_FLAGS_neon "")
endif()

function(weft_library_settings target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_BINARY_DIR}/proto)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE
    WEFT_BUILD_TYPE="${CMAKE_BUILD_TYPE}" ${ARGN})
  weft_compile_options(${target})
endfunction()

# An object library of kernels for one instruction set, with its definitions.
function(weft_kernel_objects target isa sources)
  add_library(${target} OBJECT ${sources})
  target_compile_options(${target} PRIVATE ${WEFT_ISA_FLAGS_${isa}})
  weft_library_settings(${target} WEFTI_ISA=${isa} WEFTI_ISA_${isa}=1 ${ARGN})
endfunction()

# Kernels that look at the hooks of base/testing.h or hold tests' probes; all others
# are compiled once for the product and the tests, for they take half of the time.
set(WEFT_HOOKED_KERNELS matmul simd_testing)
set(WEFT_KERNELS src/backend/cpu/kernels)

# Compiles what product and tests share and sets WEFT_SHARED_OBJECTS. base/testing.h
# refuses to be included there.
function(weft_shared_objects)
  file(GLOB plain CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/backend/cpu/reference/*.c)
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${WEFT_KERNELS}/*.c)
  list(FILTER plain EXCLUDE REGEX "_test\\.c$")
  list(FILTER kernels EXCLUDE REGEX "_test\\.c$")
  foreach(name ${WEFT_HOOKED_KERNELS})
    list(REMOVE_ITEM kernels ${PROJECT_SOURCE_DIR}/${WEFT_KERNELS}/${name}.c)
  endforeach()
  add_library(weft_plain OBJECT ${plain} ${WEFT_PROTO_SOURCES})
  add_dependencies(weft_plain weft_proto_files)
  weft_library_settings(weft_plain WEFT_NO_HOOKS=1)
  set(objects $<TARGET_OBJECTS:weft_plain>)
  foreach(isa ${WEFT_ISAS})
    weft_kernel_objects(weft_${isa} ${isa} "${kernels}" WEFT_NO_HOOKS=1)
    list(APPEND objects $<TARGET_OBJECTS:weft_${isa}>)
  endforeach()
  set(WEFT_SHARED_OBJECTS ${objects} PARENT_SCOPE)
endfunction()

# Compiles the rest of the library once with the given definition ("" for the product)
# and sets <name>_OBJECTS.
function(weft_library_objects name definition)
  set(sources "")
  foreach(folder base backend backend/common backend/null backend/cpu backend/cuda
      runtime ops graph formats formats/onnx formats/npy queue)
    file(GLOB found CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*.c)
    list(APPEND sources ${found})
  endforeach()
  list(FILTER sources EXCLUDE REGEX "_test\\.c$|/fuzz_")
  add_library(${name}_objects OBJECT ${sources})
  add_dependencies(${name}_objects weft_proto_files)
  weft_library_settings(${name}_objects ${WEFT_CUDA_DEFINITION} ${definition})
  set(objects ${WEFT_SHARED_OBJECTS} $<TARGET_OBJECTS:${name}_objects>
    ${WEFT_CUDA_OBJECTS})
  list(TRANSFORM WEFT_HOOKED_KERNELS PREPEND ${PROJECT_SOURCE_DIR}/${WEFT_KERNELS}/
    OUTPUT_VARIABLE hooked)
  list(TRANSFORM hooked APPEND .c)
  foreach(isa ${WEFT_ISAS})
    weft_kernel_objects(${name}_hooked_${isa} ${isa} "${hooked}" ${definition})
    list(APPEND objects $<TARGET_OBJECTS:${name}_hooked_${isa}>)
  endforeach()
  set(${name}_OBJECTS ${objects} PARENT_SCOPE)
endfunction()
