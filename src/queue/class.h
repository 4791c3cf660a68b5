/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFTI_QUEUE_CLASS_H
#define WEFTI_QUEUE_CLASS_H

#include <weft/queue.h>

#include "base/sorted.h"
#include "base/thread.h"
#include "graph/plan.h"

/* What requests have in common that may be joined, and the batches that they make. */

enum { WEFTI_QUEUE_LEVELS = WEFT_QUEUE_LOWEST_PRIORITY };

typedef struct wefti_queue_request wefti_queue_request;
typedef struct wefti_queue_model wefti_queue_model;
typedef struct wefti_queue_class wefti_queue_class;

/* A tensor of a batch that may be left where the callers have its rows. */
typedef struct wefti_queue_apart {
    size_t row_bytes; /* 0: the tensor is copied; else as the plan takes it in rows */
    int64_t per_row;  /* such rows in one row of a request */
    size_t table;     /* offset among the tables: the addresses of all rows */
} wefti_queue_apart;

/* Which tensors of a batch may be left there. Immutable. */
typedef struct wefti_queue_layout {
    size_t tables_bytes;         /* of all tables; 0: all tensors are copied */
    wefti_queue_apart tensors[]; /* inputs, then outputs */
} wefti_queue_layout;

/* A batch of this many rows: where each tensor lies in the staging memory. Immutable
 * once it is in its class, but for `ran` and `layout`. */
typedef struct wefti_queue_form {
    int32_t rows;
    bool joins; /* rows were shown to be independent at this size */
    bool ran;   /* guarded by queue->lock: its plan is built */
    /* atomic: who ran it first -> any; a wefti_queue_layout; NULL: not known yet */
    wefti_atomic_ptr layout;
    weft_error why_not;
    size_t staging_bytes;
    struct wefti_queue_form *next;
    /* Inputs, then outputs, as the model wants them; data is the offset. */
    weft_tensor tensors[];
} wefti_queue_form;

/* Requests of one model that differ in nothing but the number of their rows and in
 * sizes that are rounded up to the same buckets. */
struct wefti_queue_class {
    /* immutable after create */
    wefti_queue_model *model;
    weft_tensor *tensors;  /* inputs, outputs: of a request; batch axis: 0 */
    int32_t *axes;         /* of inputs, outputs; -1 everywhere: no batch axis */
    int64_t *rows_per_row; /* rows of the tensor for one row of a request */
    char *values;          /* of value inputs; the tensors point there; NULL: none */
    /* Of a model with buckets: which bucket each dimension of an output is cut by; then
     * the tensors have the sizes of buckets. NULL: it has none. */
    wefti_bucket_cuts *cuts;
    /* Masks that the calls of this class leave out (weft_bucket_params), for as many
     * rows; the tensors point there. NULL: they give them. */
    char *ones;
    int64_t ones_rows;

    /* atomic: who has queue->lock -> who posts; hints */
    wefti_atomic_u64 hint_row_ns;   /* alone_ns or joined_ns; 0: not known */
    wefti_atomic_u64 hint_least_ns; /* least_ns */
    /* Nothing is left to callers before where a core may be idle: one did not come. */
    wefti_atomic_u64 hint_promises_ns;
    wefti_atomic_u32 hint_crowded;

    /* guarded by queue->lock */
    bool joins;              /* until a size turns out to mix rows */
    weft_error why_not;      /* in words, when it does not join */
    wefti_queue_class *next; /* in the model's list */
    wefti_sorted waiting[WEFTI_QUEUE_LEVELS];
    int64_t waiting_rows;
    size_t live_count; /* requests, waiting or not, and what else holds on to it */
    /* Accepted ones of the thread that came first, and of others. */
    uint64_t first_thread;
    size_t own_count, foreign_count;
    double crowd;       /* of late the most foreign ones, a hint */
    uint64_t last_used; /* sequence of the last request */
    wefti_queue_form *forms;
    size_t form_count;
    int32_t most_rows; /* that the memory for a batch may hold; 0: not reckoned yet */
    double alone_ns, joined_ns; /* measured time for a row; 0: not known yet */
    double least_ns;       /* the same of late at best, when nobody was in the way */
    uint32_t since_probe;  /* batches since the worse way was last tried */
    int64_t probe_rest_ns; /* time in batches until it may be tried again */
};

/* ---- class.c ---- */

/* Whether a call has the shapes of the class, rows aside. */
bool wefti_queue_is_of_class(const wefti_queue_class *class, const weft_io *io);

/* Finds the class of a call's shapes in a model's list, or NULL. */
wefti_queue_class *wefti_queue_find_class_locked(const wefti_queue_model *model,
                                                 const weft_io *io);

/* Makes the class for a call's shapes: builds the plan for them, learns the outputs'
 * shapes and whether rows may be joined. Errors are those of the shapes. */
weft_status wefti_queue_class_create(wefti_queue_model *model, const weft_io *io,
                                     wefti_queue_class **class, weft_error *error);
void wefti_queue_class_destroy(wefti_queue_class *class);

/* Puts a class into its model's list; returns a chain, by `next`, of those to be
 * destroyed, without lock, that were not used for longest. */
wefti_queue_class *wefti_queue_add_class_locked(wefti_queue_model *model,
                                                wefti_queue_class *class);

/* Rows that a call of this class has; 1 without a batch axis. */
int32_t wefti_queue_rows(const wefti_queue_class *class, const weft_io *io);

/* Checks a call's tensors against its class and copies them, inputs, then outputs, with
 * all sizes put in. Errors name the tensor. */
weft_status wefti_queue_copy_tensors(const wefti_queue_class *class, const weft_io *io,
                                     weft_tensor *tensors, weft_error *error);

/* Whether two tensors, of which one is written, share memory. */
bool wefti_queue_overlap(const weft_tensor *a, const weft_tensor *b);

/* The size at which a batch of so many rows is planned: eight sizes in each octave, so
 * that at most a tenth of it is padding. */
int32_t wefti_queue_padded_rows(int32_t rows);

/* Finds or makes the form of a batch. NULL: memory ran out, or the class has too many
 * forms of odd sizes. Called without lock. */
wefti_queue_form *wefti_queue_get_form(wefti_queue_class *class, int32_t rows);

/* Learns from the plan of a form that joins, which has run, what of a batch may be left
 * with the callers. Where memory runs out, that is tried again after the next run.
 * Called without lock, while nobody waits for the caller to load. */
void wefti_queue_learn_layout(const wefti_queue_class *class, wefti_queue_form *form);

/* What was learned so; NULL: nothing is to be left there. */
WEFTI_INLINE const wefti_queue_layout *
wefti_queue_get_layout(const wefti_queue_form *form)
{
    const wefti_queue_layout *layout = wefti_atomic_ptr_load_acquire(&form->layout);
    return layout != NULL && layout->tables_bytes > 0 ? layout : NULL;
}

/* Where the model's outputs have shapes that only a run tells: gives a request that has
 * copied its tensors a place for them. */
weft_status wefti_queue_make_results(wefti_queue_request *request, weft_error *error);

/* ---- padded.c ---- */

/* Sets the tensors of a new class: shapes of a call's inputs, and of the outputs for
 * them, rounded up where the model has buckets. Builds the plan. */
weft_status wefti_queue_describe_class(wefti_queue_class *class, const weft_io *io,
                                       weft_error *error);

/* Whether a call's input has the type and, rounded up, the shape of the class, rows
 * aside. */
bool wefti_queue_same_shape(const wefti_queue_class *class, size_t input,
                            const weft_tensor *given);

/* Makes ones for the masks of a class whose calls leave any out. */
weft_status wefti_queue_make_masks(wefti_queue_class *class, const weft_io *io,
                                   weft_error *error);

/* Describes a mask that a call leaves out; its data is the class's. */
weft_status wefti_queue_copy_made_mask(const wefti_queue_class *class,
                                       const weft_io *io, size_t index,
                                       weft_tensor *copy, weft_error *error);

/* Cuts the shapes of a call's outputs from the class's to its own. */
void wefti_queue_cut_outputs(const wefti_queue_class *class, const weft_io *io,
                             weft_tensor *outputs);

/* Copy the rows of one request, of its own sizes, into or out of a tensor of a batch
 * that has `all_rows`, from row `first` on. The class has cuts. */
void wefti_queue_pad_rows(const wefti_queue_class *class, size_t index,
                          const weft_tensor *from, char *to, int64_t all_rows,
                          int64_t first);
void wefti_queue_cut_rows(const wefti_queue_class *class, size_t index,
                          const char *from, int64_t all_rows, int64_t first,
                          const weft_tensor *to);

#endif
