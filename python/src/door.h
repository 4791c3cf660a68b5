/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_PYTHON_SRC_DOOR_H
#define WEFTI_PYTHON_SRC_DOOR_H

/* What the files of the extension weft._weft share. It uses Weft's public headers and
 * CPython's limited API of 3.11, so that one binary serves every later version. For
 * free-threaded interpreters, which have no such API before 3.15, it is compiled for
 * the version.
 *
 * Rules of this folder:
 *   - Everything runs with the GIL held (where there is none: attached to the
 *     interpreter) unless its comment says otherwise. What two threads may touch at
 * once without a GIL is DOOR_SHARED, or has a door_lock, or a lock of its own.
 *   - A mutex of the system is not held over anything of Python, where a thread may be
 *     made to stop; a door_lock may be.
 *   - Weft's own threads never take the GIL and never touch a Python object. What a
 *     request must let go when it ends waits on a list for the next call (pending.c).
 *   - A function that returns int or a pointer returns -1 or NULL with an exception set
 *     when it fails. */
#define PY_SSIZE_T_CLEAN
#include <pyconfig.h>
#if !defined(Py_GIL_DISABLED) && !defined(Py_LIMITED_API)
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include <weft/weft.h>

#include "dlpack.h"

/* Before 3.13 names of arguments are no constants to CPython, though it does not write
 * to them. */
#define DOOR_KEYWORDS(names) ((char **)(uintptr_t)(names))

/* --- without a GIL ------------------------------------------------------------- */

/* What the GIL guards, where there is one: a number that several threads change, and a
 * lock. And of a caller's own dict, which others may change while it is walked. */
#ifdef Py_GIL_DISABLED
#define DOOR_SHARED _Atomic
typedef PyMutex door_lock;

static inline void door_lock_acquire(door_lock *lock)
{
    PyMutex_Lock(lock);
}

static inline void door_lock_release(door_lock *lock)
{
    PyMutex_Unlock(lock);
}

#define DOOR_BEGIN_DICT(dict) Py_BEGIN_CRITICAL_SECTION(dict)
#define DOOR_END_DICT() Py_END_CRITICAL_SECTION()
#else
#define DOOR_SHARED
typedef struct door_lock {
    char unused;
} door_lock;

static inline void door_lock_acquire(door_lock *lock)
{
    (void)lock;
}

static inline void door_lock_release(door_lock *lock)
{
    (void)lock;
}

#define DOOR_BEGIN_DICT(dict) {
#define DOOR_END_DICT() }
#endif

/* --- module.c ----------------------------------------------------------------- */

/* What the module keeps for its one interpreter. Set when it is imported. */
typedef struct door_module {
    PyObject *make_error;   /* hook: (status, message) -> exception */
    PyObject *make_outputs; /* hook: (names) -> class of several outputs */
    PyTypeObject *future;   /* hook: the class of what submit returns */
    PyTypeObject *device, *model, *request, *queue, *bell;
    PyObject *DOOR_SHARED numpy_empty; /* NULL until the first output; set last */
    PyObject *dtypes[WEFT_TYPE_BF16 + 1];
    PyObject *bfloat16; /* NULL: numpy has no such type here */
    door_lock numpy_lock;
    PyObject *dlpack_arguments;
    PyObject *str_dlpack, *str_exchange, *str_is_neg;
    PyObject *str_out, *str_timeout_us, *str_priority, *str_deadline_us;
} door_module;

extern door_module door;

/* Names come from files and texts are cut by bytes: what is not UTF-8 is replaced. */
PyObject *door_text(const char *text);

/* Raises weft.Error or the class that fits the status. Returns -1. */
int door_raise(const weft_error *error);

/* The same with own words. Returns -1. */
int door_refuse(weft_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes a type from its spec and adds it to the module. */
PyTypeObject *door_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base);

/* Frees an object of one of the types and drops its type. */
void door_free(PyObject *self);

/* How long a wait goes on before it looks for Ctrl-C. */
enum { DOOR_SIGNAL_NS = 100000000 };

/* Nanoseconds of a clock that only goes on. Needs no GIL. */
int64_t door_now_ns(void);

/* Reads a whole number that may be None or absent (NULL): then `fallback`. */
int door_read_number(PyObject *object, const char *name, int64_t fallback,
                     int64_t *result);

/* Reads seconds or None (for ever) as nanoseconds. */
int door_read_seconds(PyObject *object, int64_t *timeout_ns);

/* --- view.c ------------------------------------------------------------------- */

/* Memory of a caller's object for the time of a call. */
typedef struct door_view {
    enum { DOOR_NOTHING, DOOR_ARRAY, DOOR_BUFFER, DOOR_MANAGED, DOOR_LEGACY } kind;
    bool may_lend;
    PyObject *array; /* owned */
    Py_buffer buffer;
    dl_managed_versioned *managed;
    dl_managed *legacy;
    void *copy; /* what is not dense, made dense */
} door_view;

/* A tensor as its owner describes it. */
typedef struct door_layout {
    void *data;
    weft_type type;     /* NONE: Weft has no such type */
    const char *format; /* of a buffer, for messages; else NULL */
    int64_t item_bytes;
    int32_t rank;
    bool read_only;
    const int64_t *dims;
    int64_t strides[WEFT_MAX_RANK]; /* in bytes */
} door_layout;

/* Opens an argument as an input: any object with the buffer protocol or DLPack, in the
 * CPU's memory and of the right type. What is not dense or not aligned is copied.
 * `may_lend`: the object is kept, and the memory is needed for this call only, not
 * after it has returned. `role` is for messages: "input". */
int door_view_input(door_view *view, PyObject *object, const char *role,
                    const weft_value_info *info, bool may_lend, weft_tensor *tensor);

/* Opens an argument as an output: as above, but writable and dense. */
int door_view_output(door_view *view, PyObject *object, const weft_value_info *info,
                     weft_tensor *tensor);

/* Gives the memory back. */
void door_view_close(door_view *view);

/* The exchange by C calls of an object's type, or NULL. No exception is set. */
const dl_exchange *door_exchange_of(PyObject *object);

/* --- array.c ------------------------------------------------------------------ */

/* Opens a plain numpy array of the type that is dense and aligned, and writable if that
 * is wanted. False, with no exception: it is something else. The memory stays where it
 * is while somebody holds the array besides its owners. */
bool door_array_open(PyObject *object, weft_type type, bool writable,
                     weft_tensor *tensor);

/* Whether arrays can be opened and made here. */
bool door_array_is_known(void);

/* Makes an empty array of the type and dims of `tensor` and sets its data. */
PyObject *door_array_make(weft_tensor *tensor);

/* Learns how to, from the module numpy, once; door.dtypes are there. */
void door_array_learn(PyObject *module);

/* --- tensor.c ----------------------------------------------------------------- */

/* Memory of a tensor, with what describes it in front. Whom it belongs to is counted:
 * the library of the tensor is one, until it lets go. Needs no GIL. */
typedef struct door_block door_block;

door_block *door_block_retain(door_block *block);
void door_block_release(door_block *block);
void *door_block_data(const door_block *block);

/* Was made for the type and dims of `wanted`. */
bool door_block_is_for(const door_block *block, const weft_tensor *wanted);

typedef struct door_spares door_spares;

/* Makes an empty tensor of the type, dims and size of `tensor` and sets its data. With
 * `spares`, which may be NULL, it may be one that was given out before. */
PyObject *door_make_tensor(weft_tensor *tensor, const dl_exchange *exchange,
                           door_spares *spares);

/* --- spare.c ------------------------------------------------------------------ */

enum { DOOR_SPARES = 16 };

typedef struct door_print door_print;

/* A tensor that was given out. */
typedef struct door_spare {
    PyObject *tensor;  /* owned; NULL: none */
    PyObject *storage; /* owned */
    door_block *block; /* owned */
    door_print *print; /* owned; how it was when it was new */
    bool is_inference; /* made in torch.inference_mode() */
} door_spare;

struct door_spares {
    door_spare places[DOOR_SPARES];
    size_t turn;
    uint64_t used_count; /* tensors given out again */
};

/* Takes one of the type and dims of `wanted` that nobody else has and that is as it was
 * when it was made, and sets the data of `wanted`. NULL, with no exception: there is
 * none. */
PyObject *door_spares_take(door_spares *spares, weft_tensor *wanted);

/* Keeps a tensor made of `block` as `made` says, if it can be told later whether it may
 * be used again. */
void door_spares_keep(door_spares *spares, PyObject *tensor, door_block *block,
                      const weft_tensor *made, const dl_exchange *exchange);

/* Lets go of all, which may run any code: also calls that keep and take others. */
void door_spares_clear(door_spares *spares);

/* For the garbage collector. What is being looked at is in no place, so it counts as
 * held by the call that looks. */
int door_spares_traverse(const door_spares *spares, visitproc visit, void *arg);

/* --- result.c ----------------------------------------------------------------- */

/* Gets ready for numpy's arrays if numpy has been imported. No exception is set. */
void door_meet_numpy(void);

/* Makes an empty tensor of the type and dims of `tensor` and sets its data: a numpy
 * array of the shape `shape`, or what `exchange` makes, with `spares` or NULL. */
PyObject *door_make_output(weft_tensor *tensor, PyObject *shape,
                           const dl_exchange *exchange, door_spares *spares);

/* --- shapes.c ----------------------------------------------------------------- */

enum { DOOR_SHAPE_SLOTS = 256 };

/* What is known of a model at one set of input shapes. */
typedef struct door_shape {
    DOOR_SHARED int64_t references;
    DOOR_SHARED int64_t run_ns; /* least time measured; INT64_MAX: none yet */
    DOOR_SHARED uint64_t run_count, queued_count;
    size_t output_count;
    weft_tensor *outputs; /* type, dims and size */
    PyObject **shapes;    /* the same as tuples */
    size_t key_length;
    int64_t key[];
} door_shape;

typedef struct door_shapes {
    door_lock lock;
    door_shape *slots[DOOR_SHAPE_SLOTS]; /* guarded by lock */
} door_shapes;

typedef struct door_model door_model;

/* Finds the entry of the inputs' shapes, or asks the model, without the GIL. The caller
 * drops it with door_shape_drop. */
PyObject *door_shape_tuple(const weft_tensor *tensor); /* None: only a run tells */
door_shape *door_shapes_find(door_model *model, const weft_io *io);
void door_shape_drop(door_shape *shape);
void door_shapes_clear(door_shapes *shapes);

/* --- misfit.c ----------------------------------------------------------------- */

/* Raises an exception that says which axis of which input is not as the model wants it,
 * or not as another input's axis of that name. 0, with no exception: all are. */
int door_explain_inputs(const door_model *model, const weft_io *io);

/* The same of an output's memory, whose shape should be that of `wanted`. */
int door_explain_output(const weft_value_info *info, const weft_tensor *given,
                        const weft_tensor *wanted);

/* --- device.c, model.c --------------------------------------------------------- */

typedef struct door_device {
    PyObject_HEAD weft_device *device;
    uint64_t in_flight; /* guarded by the lock of pending.c */
} door_device;

extern PyType_Spec door_device_spec;

struct door_model {
    PyObject_HEAD weft_model *model;
    PyObject *device;
    size_t input_count, output_count;
    weft_value_info *inputs, *outputs; /* strings are the model's */
    bool *input_is_value;              /* see weft_model_input_is_value */
    bool *input_is_mask;               /* that calls may leave out; the same block */
    PyObject **input_names, **output_names;
    PyObject *outputs_class; /* what makes a result of a tuple; NULL: the one output */
    int64_t hold_below_ns;   /* runs shorter than this keep the GIL */
    DOOR_SHARED uint64_t held_count, released_count;
    door_shapes shapes;
    door_spares spares;
};

extern PyType_Spec door_model_spec;

/* --- call.c ------------------------------------------------------------------- */

enum { DOOR_FEW = 6 };

/* Arguments that are no inputs. */
typedef struct door_options {
    PyObject *out, *timeout_us, *priority, *deadline_us; /* borrowed; may be NULL */
} door_options;

/* One call of a model: its arguments on their way to weft_run or weft_submit. Not
 * moved while it is open. */
typedef struct door_call {
    door_model *model; /* borrowed */
    weft_io io;
    weft_tensor *tensors; /* inputs, then outputs: those of io */
    door_view *views;     /* inputs, then outputs that the caller gave */
    PyObject **objects;   /* the arguments, owned */
    PyObject **results;   /* owned */
    door_shape *shape;
    bool is_direct; /* it runs at once, on this thread */
    void *block;    /* of the arrays, when there are more than a few */
    struct {
        weft_tensor tensors[DOOR_FEW];
        door_view views[DOOR_FEW];
        PyObject *objects[DOOR_FEW];
        PyObject *results[DOOR_FEW];
    } few;
} door_call;

/* What a call is for says which options it may have. */
typedef enum door_way { DOOR_RUN, DOOR_SUBMIT, DOOR_QUEUE } door_way;

/* A call begins, gets its arguments, is made ready (inputs opened, outputs made) and
 * ends; it is ended after a failure too, except one of door_call_begin. */

/* Copies the outputs of a request that has ended well whose shapes nobody knew before.
 */
int door_call_take_ended(door_call *call, const weft_request *request);

int door_call_begin(door_call *call, door_model *model);
int door_call_positional(door_call *call, PyObject *const *arguments, Py_ssize_t count);
int door_call_named(door_call *call, door_way way, door_options *options,
                    PyObject *name, PyObject *object);
int door_call_ready(door_call *call, const door_options *options);
PyObject *door_call_result(const door_call *call);
int door_call_open_inputs(door_call *call);

/* Buckets in the params of a model, from what weft._buckets.flatten has made; freed
 * also after a failure. */
int door_buckets_read(PyObject *list, weft_model_params *params);
void door_buckets_free(weft_model_params *params);
void door_call_let_go(door_call *call); /* of the memory, not of the results */
void door_call_end(door_call *call);

/* All of the above for the arguments of a METH_FASTCALL method. */
int door_call_bind(door_call *call, door_way way, door_options *options,
                   PyObject *const *arguments, Py_ssize_t count, PyObject *names);

/* Runs it, with the GIL or without, as the model's measured time says. */
PyObject *door_call_run(door_call *call);

/* --- pending.c: requests in flight ---------------------------------------------- */

typedef struct door_bell door_bell;

/* One to be told when a request has ended. */
typedef struct door_watch {
    struct door_watch *next;
    door_bell *bell;  /* owned */
    PyObject *object; /* owned; what the bell hands out */
} door_watch;

/* A submitted call. Owned by its Python object and, until its end, by the library;
 * the last to drop it leaves it to a thread with the GIL. */
typedef struct door_pending {
    struct door_pending *next, *previous; /* guarded by the lock of pending.c */
    door_watch *watches;                  /* guarded by the lock of pending.c */
    bool ended;                           /* guarded by the lock of pending.c */
    int32_t references;                   /* guarded by the lock of pending.c */
    uint64_t *queue_count;                /* guarded by the lock of pending.c */
    bool given_up;                        /* guarded by the lock of pending.c */
    DOOR_SHARED bool let_go; /* what the call read and wrote is given back */
    weft_request *request;   /* the lock of pending.c once handed over */
    PyObject *owners[2];     /* the model and the queue; the GIL */
    door_call call;          /* the GIL */
} door_pending;

door_pending *door_pending_new(door_model *model, PyObject *queue,
                               uint64_t *queue_count);

/* The library's callback. Needs no GIL. */
void door_pending_ended(void *user, weft_request *request, weft_status status);

/* Counts it as handed over, before it is; door_pending_refused takes that back. With
 * WEFT_CLOSED when the interpreter is ending. */
int door_pending_start(door_pending *pending);
void door_pending_refused(door_pending *pending);

/* Keeps the request once it is handed over. */
void door_pending_accepted(door_pending *pending, weft_request *request);

/* Gives the memory of an ended call back; the first to come does it. */
void door_pending_let_go(door_pending *pending);

/* Drops the Python object's part. */
void door_pending_drop(door_pending *pending);

/* Tells a bell of the end, at once when it was before. Takes `watch` over. */
void door_pending_watch(door_pending *pending, door_watch *watch);

/* Frees what ended requests left. */
void door_pending_sweep(void);

/* weft_queue_drain or weft_device_drain of a Python object. Needs no GIL. */
typedef weft_status (*door_drain)(PyObject *self, int64_t timeout_ns,
                                  weft_error *error);

/* The method drain(timeout) of an object whose requests in flight are counted. Hears
 * Ctrl-C while it waits for them; then they go on. */
PyObject *door_pending_drain(PyObject *self, const uint64_t *count, door_drain drain,
                             PyObject *timeout);

/* Cancels and awaits all; later ones are refused. */
void door_pending_shut_down(int64_t timeout_ns);

/* Before the first call; again does nothing. */
void door_pending_init(void);

/* In the child of a fork: forgets what was in flight. */
void door_pending_forked(void);

/* How many of a queue are in flight. */
uint64_t door_pending_count(const uint64_t *queue_count);

/* --- bell.c ------------------------------------------------------------------- */

extern PyType_Spec door_bell_spec;

/* Rings: hands over a watch. False when nobody listens any more; then the watch stays
 * the caller's. Needs no GIL. */
bool door_bell_ring(door_bell *bell, door_watch *watch);
void door_bell_drop(door_bell *bell); /* needs no GIL */
void door_watch_free(door_watch *watch);

/* The bell of a Python object, owned by the caller; NULL when it is none. */
door_bell *door_bell_of(PyObject *object);

/* --- request.c, queue.c ---------------------------------------------------------- */

extern PyType_Spec door_request_spec;
extern PyType_Spec door_queue_spec;

/* The Python object of a pending call, which it takes over, also when it fails. */
PyObject *door_request_new(door_pending *pending);

/* Model.submit. */
PyObject *door_model_submit(PyObject *self, PyObject *const *arguments,
                            Py_ssize_t count, PyObject *names);

#endif
