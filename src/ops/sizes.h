/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_SIZES_H
#define WEFTI_OPS_SIZES_H

#include "ops/operator.h"

/* For operators whose inputs decide by what they hold how large the result is: all of
 * them must be constant (or have no elements) by then, else WEFT_UNSUPPORTED. */
weft_status wefti_check_holds(const wefti_node_view *node, const wefti_known *inputs,
                              weft_error *error);

#endif
