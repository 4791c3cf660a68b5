/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_ELEMENTWISE_H
#define WEFTI_OPS_ELEMENTWISE_H

#include "ops/operator.h"

/* The instruction of an operator that is one operation per element (Add, Relu, Where),
 * its registers being inputs 0, 1 and 2. False for all others. For passes that join
 * such nodes into one program. */
bool wefti_elementwise_instruction(const wefti_node_view *node,
                                   wefti_instruction *instruction);

#endif
