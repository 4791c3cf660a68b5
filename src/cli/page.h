/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_CLI_PAGE_H
#define WEFTI_CLI_PAGE_H

/* The files of src/cli/page, put in by the build. */
extern const char cli_page_inspect_css[];
extern const char cli_page_inspect_js[];
extern const char cli_page_inspect_html[];

#endif
