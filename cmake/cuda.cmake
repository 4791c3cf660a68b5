# SPDX-License-Identifier: Apache-2.0
# The CUDA kernels: one image for each architecture, in one file that the library
# carries. The host's part needs neither nvcc nor headers of CUDA; it is always built.

set(WEFT_CUDA AUTO CACHE STRING "CUDA kernels: ON, OFF, or AUTO (where nvcc is)")
set(WEFT_CUDA_ARCHITECTURES 80 90 100 CACHE STRING
  "Architectures of the CUDA kernels, as far as nvcc knows them")
set_property(CACHE WEFT_CUDA PROPERTY STRINGS AUTO ON OFF)
set(WEFT_CUDA_OBJECTS "")
set(WEFT_CUDA_DEFINITION "")

# Sets <result> to the -gencode flags for the architectures that this nvcc knows, with
# PTX of the last for what comes later.
function(weft_cuda_architectures nvcc result)
  execute_process(COMMAND ${nvcc} --list-gpu-arch OUTPUT_VARIABLE known ERROR_QUIET)
  set(flags "")
  set(last "")
  foreach(architecture ${WEFT_CUDA_ARCHITECTURES})
    if(known MATCHES "compute_${architecture}")
      list(APPEND flags -gencode
        arch=compute_${architecture},code=sm_${architecture})
      set(last ${architecture})
    endif()
  endforeach()
  if(last)
    list(APPEND flags -gencode arch=compute_${last},code=compute_${last})
  endif()
  set(${result} "${flags}" PARENT_SCOPE)
endfunction()

function(weft_cuda_kernels)
  find_program(WEFT_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(WEFT_NVCC AND NOT CMAKE_CROSSCOMPILING)
    weft_cuda_architectures(${WEFT_NVCC} flags)
  endif()
  if(NOT flags)
    if(WEFT_CUDA STREQUAL ON)
      message(FATAL_ERROR "WEFT_CUDA is ON, but there is no nvcc for sm_80 or later")
    endif()
    message(STATUS "CUDA kernels: left out, there is no nvcc")
    return()
  endif()
  set(folder ${PROJECT_SOURCE_DIR}/src/backend/cuda/kernels)
  set(image ${PROJECT_BINARY_DIR}/cuda/kernels.fatbin)
  set(carrier ${PROJECT_BINARY_DIR}/cuda/kernels_image.c)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/cuda)
  # No contraction but where it is written, no flushing, exact division and roots: the
  # bits are the host's.
  add_custom_command(OUTPUT ${image}
    COMMAND ${WEFT_NVCC} -fatbin -std=c++17 -O3 -fmad=false -ftz=false -prec-div=true
      -prec-sqrt=true ${flags} -I${PROJECT_SOURCE_DIR}/src
      -I${PROJECT_SOURCE_DIR}/include -MD -MF ${image}.d -MT ${image} -o ${image}
      ${folder}/kernels.cu
    DEPENDS ${folder}/kernels.cu DEPFILE ${image}.d VERBATIM
    COMMENT "Compiling the CUDA kernels")
  file(WRITE ${carrier}.new "/* Made by cmake/cuda.cmake. */
__asm__(\".section .rodata\\n.balign 64\\n.global wefti_cuda_kernels\\n\"
        \".hidden wefti_cuda_kernels\\nwefti_cuda_kernels:\\n\"
        \".incbin \\\"${image}\\\"\\n.byte 0\\n.previous\\n\");\n")
  file(COPY_FILE ${carrier}.new ${carrier} ONLY_IF_DIFFERENT)
  add_library(weft_cuda_image OBJECT ${carrier})
  set_property(SOURCE ${carrier} PROPERTY OBJECT_DEPENDS ${image})
  set(WEFT_CUDA_OBJECTS $<TARGET_OBJECTS:weft_cuda_image> PARENT_SCOPE)
  set(WEFT_CUDA_DEFINITION WEFTI_CUDA_IMAGE=1 PARENT_SCOPE)
  message(STATUS "CUDA kernels: ${flags}")
endfunction()

# Sanitizers see the host's part; the kernels are the same.
if(WEFT_CUDA STREQUAL ON OR (WEFT_CUDA STREQUAL AUTO AND NOT WEFT_SANITIZE))
  weft_cuda_kernels()
endif()
