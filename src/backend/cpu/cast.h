/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_BACKEND_CPU_CAST_H
#define WEFTI_BACKEND_CPU_CAST_H

#include "backend/host_cast.h" /* cast.c is what stands behind it */

#endif
