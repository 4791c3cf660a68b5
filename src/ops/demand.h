/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_OPS_DEMAND_H
#define WEFTI_OPS_DEMAND_H

#include "ops/operator.h"

/* What an operator has to know before it can be planned. */

/* Whether input `index` must be a constant when a plan is made: it decides the shape
 * of the result, or something that is fixed when the node is lowered. */
bool wefti_operator_demands(const wefti_operator *op, size_t index);

/* Whether the result follows from the shapes of the inputs, whatever they hold. */
bool wefti_operator_reads_shapes(const wefti_operator *op);

/* Whether the size of the result depends on all that the inputs hold, so that it is
 * computed on the host where they are not constants. */
bool wefti_operator_sizes_by_data(const wefti_operator *op);

/* Whether the node holds graphs that it runs: If, Loop, Scan. */
bool wefti_operator_is_control(const wefti_operator *op);

#endif
