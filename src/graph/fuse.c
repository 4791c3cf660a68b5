/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/passes.h"

weft_status wefti_net_fuse(wefti_net *net, weft_error *error)
{
    (void)error;
    wefti_net_sweep(net);
    return WEFT_OK;
}
