/* part.h: a named piece of a model: scalar and text values plus tensors. What engines and preparation save and open.
 *
 * A part is either being built (put; it owns copies) or was read from a model file (get; tensors and texts borrow
 * the file's bytes, which outlive it). Keys are short ASCII names, unique within a part. The container encodes a part's
 * values as a msgpack map and its tensors 64-byte aligned, so a getter's pointer can be used directly in a kernel. */
#ifndef MMQ_DATA_PART_H
#define MMQ_DATA_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

enum mmq_dtype { MMQ_BOOL, MMQ_U8, MMQ_I8, MMQ_I16, MMQ_I32, MMQ_I64, MMQ_F16, MMQ_F32, MMQ_F64, MMQ_STR, MMQ_U16, MMQ_U32, MMQ_U64,
	MMQ_DTYPE_COUNT };
enum { MMQ_TENSOR_RANK_MAX = 4, MMQ_PART_KEY_MAX = 47 };

size_t mmq_dtype_bytes(enum mmq_dtype dtype);         /* 0 for MMQ_STR */
const char *mmq_dtype_name(enum mmq_dtype dtype);     /* "f32"; the protocol's names */
int mmq_dtype_from_name(const char *name, size_t size); /* -1 when unknown */

struct mmq_tensor {
	char name[MMQ_PART_KEY_MAX + 1];
	enum mmq_dtype dtype;  /* not MMQ_STR */
	unsigned rank;         /* 1..4 */
	uint64_t shape[MMQ_TENSOR_RANK_MAX];
	const void *data;      /* 64-byte aligned, little-endian, row-major */
	size_t bytes;
};

enum mmq_value_type { MMQ_V_INT, MMQ_V_DOUBLE, MMQ_V_BOOL, MMQ_V_TEXT, MMQ_V_TEXTS, MMQ_V_DOUBLES };
struct mmq_value {
	char key[MMQ_PART_KEY_MAX + 1];
	enum mmq_value_type type;
	int64_t i;             /* INT, BOOL */
	double f;              /* DOUBLE */
	size_t count;          /* TEXTS, DOUBLES */
	char **texts;          /* TEXT: one; TEXTS: count, NUL-terminated, owned by the part */
	double *doubles;       /* DOUBLES, owned by the part */
};

struct mmq_part {
	struct mmq_value *values;
	size_t values_count, values_capacity;
	struct mmq_tensor *tensors;
	size_t tensors_count, tensors_capacity;
	bool owns_tensors;     /* put copies them; a part read from a file borrows */
};

void mmq_part_init(struct mmq_part *part, bool owns_tensors);
void mmq_part_fini(struct mmq_part *part);

/* Put: a key that is already there is a programmer's mistake (assert). Texts, doubles and tensors are copied
 * (tensors only if owns_tensors; otherwise data is borrowed and must be 64-byte aligned). */
void mmq_part_put_int(struct mmq_part *part, const char *key, int64_t value);
void mmq_part_put_bool(struct mmq_part *part, const char *key, bool value);
void mmq_part_put_double(struct mmq_part *part, const char *key, double value);
void mmq_part_put_text(struct mmq_part *part, const char *key, const char *value);
void mmq_part_put_texts(struct mmq_part *part, const char *key, const char *const *values, size_t count);
void mmq_part_put_doubles(struct mmq_part *part, const char *key, const double *values, size_t count);
void mmq_part_put_tensor(struct mmq_part *part, const char *name, enum mmq_dtype dtype, unsigned rank, const uint64_t *shape, const void *data);
void mmq_part_put_vector(struct mmq_part *part, const char *name, enum mmq_dtype dtype, uint64_t count, const void *data);
void mmq_part_put_matrix(struct mmq_part *part, const char *name, enum mmq_dtype dtype, uint64_t rows, uint64_t cols, const void *data);

const struct mmq_value *mmq_part_find(const struct mmq_part *part, const char *key);             /* NULL: not there */
const struct mmq_tensor *mmq_part_find_tensor(const struct mmq_part *part, const char *name);    /* NULL: not there */

/* Get with checks, for opening what came from a disk: DATA_LOSS naming the key when it is absent, of another type or out of
 * [min, max]. get_tensor also holds dtype, rank and each shape entry to what is wanted (shape_want entry UINT64_MAX: any). */
int mmq_part_get_int(const struct mmq_part *part, const char *key, int64_t min, int64_t max, int64_t *value_out, struct mmq_err *err);
int mmq_part_get_bool(const struct mmq_part *part, const char *key, bool *value_out, struct mmq_err *err);
int mmq_part_get_double(const struct mmq_part *part, const char *key, double *value_out, struct mmq_err *err);  /* finite */
int mmq_part_get_text(const struct mmq_part *part, const char *key, const char **value_out, struct mmq_err *err);
int mmq_part_get_texts(const struct mmq_part *part, const char *key, const char *const **values_out, size_t *count_out, struct mmq_err *err);
int mmq_part_get_doubles(const struct mmq_part *part, const char *key, const double **values_out, size_t *count_out, struct mmq_err *err);
int mmq_part_get_tensor(const struct mmq_part *part, const char *name, enum mmq_dtype dtype, unsigned rank, const uint64_t *shape_want,
    const struct mmq_tensor **tensor_out, struct mmq_err *err);

#endif
