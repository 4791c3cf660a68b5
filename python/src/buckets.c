/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

/* What weft._buckets.flatten has made: (dimension, sizes, mask, pad, pads). The strings
 * are borrowed from it. */

static int read_sizes(PyObject *tuple, weft_bucket_params *params)
{
    Py_ssize_t count = PyTuple_Size(tuple);
    int64_t *sizes = PyMem_Calloc((size_t)count + 1, sizeof(*sizes));
    if (!sizes) {
        PyErr_NoMemory();
        return -1;
    }
    params->sizes = sizes;
    params->size_count = (size_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        sizes[i] = PyLong_AsLongLong(PyTuple_GetItem(tuple, i));
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

static int read_pads(PyObject *tuple, weft_bucket_params *params)
{
    Py_ssize_t count = PyTuple_Size(tuple);
    weft_bucket_pad *pads = PyMem_Calloc((size_t)count + 1, sizeof(*pads));
    if (!pads) {
        PyErr_NoMemory();
        return -1;
    }
    params->pads = pads;
    params->pad_count = (size_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = PyTuple_GetItem(tuple, i);
        if (!PyArg_ParseTuple(pair, "sd:buckets", &pads[i].input, &pads[i].value)) {
            return -1;
        }
    }
    return 0;
}

int door_buckets_read(PyObject *list, weft_model_params *params)
{
    Py_ssize_t count = list == Py_None ? 0 : PyList_Size(list);
    if (count <= 0) {
        return (int)count;
    }
    weft_bucket_params *buckets = PyMem_Calloc((size_t)count, sizeof(*buckets));
    if (!buckets) {
        PyErr_NoMemory();
        return -1;
    }
    params->buckets = buckets;
    params->bucket_count = (size_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        weft_bucket_params *bucket = &buckets[i];
        PyObject *sizes, *pads, *item = PyList_GetItem(list, i);
        *bucket = (weft_bucket_params)WEFT_BUCKET_PARAMS_INIT;
        if (!PyTuple_Check(item) ||
            !PyArg_ParseTuple(item, "sO!zdO!:buckets", &bucket->dimension,
                              &PyTuple_Type, &sizes, &bucket->mask_input,
                              &bucket->pad_value, &PyTuple_Type, &pads) ||
            read_sizes(sizes, bucket) || read_pads(pads, bucket)) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_TypeError, "buckets must be made by weft.load");
            }
            return -1;
        }
    }
    return 0;
}

void door_buckets_free(weft_model_params *params)
{
    for (size_t i = 0; i < params->bucket_count; i++) {
        PyMem_Free((void *)(uintptr_t)params->buckets[i].sizes);
        PyMem_Free((void *)(uintptr_t)params->buckets[i].pads);
    }
    PyMem_Free((void *)(uintptr_t)params->buckets);
    params->buckets = NULL;
    params->bucket_count = 0;
}
