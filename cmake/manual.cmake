# SPDX-License-Identifier: Apache-2.0
# Man pages and shell completion, written by the command itself from the texts of its
# --help, and installed where man, bash and zsh look.
set(WEFT_MANUAL ${PROJECT_BINARY_DIR}/manual)
set(made ${WEFT_MANUAL}/weft.1 ${WEFT_MANUAL}/weft.bash ${WEFT_MANUAL}/_weft)
set(steps
  COMMAND ${CMAKE_COMMAND} -E make_directory ${WEFT_MANUAL}
  COMMAND weft_command help --man > ${WEFT_MANUAL}/weft.1
  COMMAND weft_command help --completion bash > ${WEFT_MANUAL}/weft.bash
  COMMAND weft_command help --completion zsh > ${WEFT_MANUAL}/_weft)
set(pages ${WEFT_MANUAL}/weft.1)
foreach(command run inspect info bench check soak report)
  list(APPEND pages ${WEFT_MANUAL}/weft-${command}.1)
  list(APPEND steps
    COMMAND weft_command help --man ${command} > ${WEFT_MANUAL}/weft-${command}.1)
endforeach()
list(APPEND made ${pages})
list(REMOVE_DUPLICATES made)
add_custom_command(OUTPUT ${made} ${steps} DEPENDS weft_command VERBATIM)
add_custom_target(weft_manual ALL DEPENDS ${made})

install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${WEFT_MANUAL}/weft.bash RENAME weft
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${WEFT_MANUAL}/_weft
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
