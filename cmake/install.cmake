# SPDX-License-Identifier: Apache-2.0
# Filled in with headers, libraries, weft.pc and the CMake package.
install(DIRECTORY include/weft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
