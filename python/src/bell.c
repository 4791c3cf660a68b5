/* SPDX-License-Identifier: Apache-2.0 */
#include "door.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/types.h>
#include <unistd.h>

/* A bell tells Python of ended requests by a file descriptor: an event loop watches it,
 * or a thread waits for it. Weft's threads ring it without the GIL.
 *
 * The child of a fork shares the descriptor with its parent and may have inherited the
 * lock in the hands of a thread that it has not. There a bell of the parent's does
 * nothing, and its memory and descriptor stay until the child ends. */
struct door_bell {
    int fd;      /* immutable after create */
    pid_t owner; /* immutable after create: the process that made it */
    pthread_mutex_t lock;
    int32_t references;        /* guarded by lock */
    bool deaf;                 /* guarded by lock: the Python object is gone */
    door_watch *first, **last; /* guarded by lock: rung, not yet taken */
};

typedef struct bell_object {
    PyObject_HEAD door_bell *bell;
} bell_object;

static door_bell *bell_create(void)
{
    door_bell *bell = calloc(1, sizeof(*bell));
    if (!bell) {
        return (door_bell *)PyErr_NoMemory();
    }
    bell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (bell->fd < 0) {
        free(bell);
        return (door_bell *)PyErr_SetFromErrno(PyExc_OSError);
    }
    bell->owner = getpid();
    pthread_mutex_init(&bell->lock, NULL);
    bell->references = 1;
    bell->last = &bell->first;
    return bell;
}

static bool is_parents(const door_bell *bell)
{
    return bell->owner != getpid();
}

void door_bell_drop(door_bell *bell)
{
    if (is_parents(bell)) {
        return;
    }
    pthread_mutex_lock(&bell->lock);
    bool last = --bell->references == 0;
    pthread_mutex_unlock(&bell->lock);
    if (last) {
        close(bell->fd);
        pthread_mutex_destroy(&bell->lock);
        free(bell);
    }
}

static void wake(door_bell *bell)
{
    uint64_t one = 1;
    ssize_t written = write(bell->fd, &one, sizeof(one));
    (void)written; /* full: then it is readable already */
}

bool door_bell_ring(door_bell *bell, door_watch *watch)
{
    if (is_parents(bell)) {
        return false;
    }
    pthread_mutex_lock(&bell->lock);
    bool deaf = bell->deaf;
    if (!deaf) {
        bool first = !bell->first;
        watch->next = NULL;
        *bell->last = watch;
        bell->last = &watch->next;
        if (first) {
            wake(bell);
        }
    }
    pthread_mutex_unlock(&bell->lock);
    return !deaf;
}

void door_watch_free(door_watch *watch)
{
    Py_XDECREF(watch->object);
    door_bell_drop(watch->bell);
    free(watch);
}

static door_watch *take_all(door_bell *bell, bool deafen)
{
    if (is_parents(bell)) {
        return NULL;
    }
    uint64_t rung;
    pthread_mutex_lock(&bell->lock);
    ssize_t got = read(bell->fd, &rung, sizeof(rung));
    (void)got; /* nothing: it had not been rung */
    door_watch *watches = bell->first;
    bell->first = NULL;
    bell->last = &bell->first;
    bell->deaf |= deafen;
    pthread_mutex_unlock(&bell->lock);
    return watches;
}

door_bell *door_bell_of(PyObject *object)
{
    if (!PyObject_TypeCheck(object, door.bell)) {
        PyErr_SetString(PyExc_TypeError, "not a bell");
        return NULL;
    }
    door_bell *bell = ((bell_object *)object)->bell;
    if (!is_parents(bell)) {
        pthread_mutex_lock(&bell->lock);
        bell->references++;
        pthread_mutex_unlock(&bell->lock);
    }
    return bell;
}

/* --- the Python object -------------------------------------------------------------
 */

static PyObject *bell_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    (void)arguments;
    (void)named;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    bell_object *self = (bell_object *)allocate(type, 0);
    if (self && !(self->bell = bell_create())) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static void bell_dealloc(PyObject *object)
{
    bell_object *self = (bell_object *)object;
    if (self->bell) {
        door_watch *watch = take_all(self->bell, true);
        while (watch) {
            door_watch *next = watch->next;
            door_watch_free(watch);
            watch = next;
        }
        door_bell_drop(self->bell);
    }
    door_free(object);
}

PyDoc_STRVAR(fileno_doc, "fileno()\n--\n\nThe file descriptor that is readable while "
                         "something waits for take().");

static PyObject *bell_fileno(PyObject *self, PyObject *none)
{
    (void)none;
    return PyLong_FromLong(((bell_object *)self)->bell->fd);
}

PyDoc_STRVAR(ring_doc, "ring()\n--\n\nMakes the descriptor readable; take() may then "
                       "find nothing.");

static PyObject *bell_ring(PyObject *self, PyObject *none)
{
    (void)none;
    if (!is_parents(((bell_object *)self)->bell)) {
        wake(((bell_object *)self)->bell);
    }
    return Py_NewRef(Py_None);
}

PyDoc_STRVAR(take_doc, "take()\n--\n\nThe objects whose requests have ended since, in "
                       "order, as a list.");

static PyObject *bell_take(PyObject *self, PyObject *none)
{
    (void)none;
    PyObject *list = PyList_New(0);
    door_watch *watch = list ? take_all(((bell_object *)self)->bell, false) : NULL;
    while (watch) {
        door_watch *next = watch->next;
        if (list && PyList_Append(list, watch->object)) {
            Py_CLEAR(list);
        }
        door_watch_free(watch);
        watch = next;
    }
    door_pending_sweep();
    return list;
}

static PyMethodDef bell_methods[] = {
    {"fileno", bell_fileno, METH_NOARGS, fileno_doc},
    {"ring", bell_ring, METH_NOARGS, ring_doc},
    {"take", bell_take, METH_NOARGS, take_doc},
    {0},
};

static PyType_Slot bell_slots[] = {
    {Py_tp_new, (void *)bell_new},
    {Py_tp_dealloc, (void *)bell_dealloc},
    {Py_tp_methods, bell_methods},
    {Py_tp_doc, (void *)(uintptr_t) "Tells of ended requests by a file descriptor."},
    {0},
};

PyType_Spec door_bell_spec = {
    .name = "weft._weft.Bell",
    .basicsize = sizeof(bell_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = bell_slots,
};
