/* prepare.h: the steps between raw rows and an engine, fitted on the training rows and kept with the model.
 *
 * Train and predict run the same mmq_prepare_apply, so what was done to the training data is done to every request.
 * Steps are derived from the schema and engine->accepts; each carries name and version, and its meaning never changes.
 * The target's coding (classes, standardised regression target) is not here but in data/target and lib/model.
 *
 * Layouts that fit and apply take: a frame with one column per schema field (training), or with one column per input field
 * (mmq_field_is_input in data/match.h) in schema order (requests). */
#ifndef MMQ_PREPARE_PREPARE_H
#define MMQ_PREPARE_PREPARE_H

#include "data/frame.h"
#include "data/schema.h"
#include "engine/engine.h"
#include "util/err.h"

struct mmq_prepare;

/* Memory of prepared rows; reused from call to call, grows as needed. */
struct mmq_prepared {
	struct mmq_batch batch;       /* points into the members below */
	void *dense;  size_t dense_bytes;
	int32_t *codes; size_t codes_bytes;
	uint64_t *row_start; size_t row_start_bytes;
	uint32_t *col; size_t col_bytes;
	void *value; size_t value_bytes;
	double *temp; size_t temp_bytes;
};
void mmq_prepared_fini(struct mmq_prepared *prepared);

/* Fit on rows (row indices into frame, rows_count of them; NULL: 0..rows_count-1). Only fields with role FEATURE or SENSITIVE and kind != IGNORE are used.
 * dtype: MMQ_F32 or MMQ_F64 of the output. warnings: one text per line appended (constant column, all-missing column, ...); NULL: none.
 * Numbers are standardised (z-score) if accepts has WANTS_SCALED, vectors by one common mean and deviation, sparse columns divided by their
 * largest magnitude; CSR comes out when the engine accepts it and under 10 % are non-zero, or for free text. FAILED_PRECONDITION: free text
 * for an engine without sparse rows. Hashed text is one VECTOR feature, as is a sparse block of more than 65536 columns;
 * sparse column i has source fields_count + i otherwise. */
int mmq_prepare_fit(struct mmq_prepare **prepare_out, const struct mmq_schema *schema, const struct mmq_frame *frame, const uint32_t *rows,
    size_t rows_count, unsigned accepts, enum mmq_dtype dtype, struct mmq_buf *warnings, struct mmq_err *err);
void mmq_prepare_destroy(struct mmq_prepare **prepare);

/* The engine's features, in order; owned by prepare. feature.source is the index among the schema's fields. */
const struct mmq_feature *mmq_prepare_features(const struct mmq_prepare *prepare, size_t *count_out);

/* Rows of frame (all if rows == NULL) -> out->batch. The frame has one of the two layouts above. INVALID_ARGUMENT names row and column (missing value where the schema forbids it, Inf, ...).
 * With bad != NULL (on_row_error: report) such a row is added to bad and its values are zeros; the call then succeeds. */
int mmq_prepare_apply(const struct mmq_prepare *prepare, const struct mmq_frame *frame, const uint32_t *rows, size_t rows_count,
    struct mmq_prepared *out, struct mmq_row_errors *bad, struct mmq_err *err);

int mmq_prepare_save(const struct mmq_prepare *prepare, struct mmq_part *out, struct mmq_err *err);
/* The schema it was fitted with. Every count and index in the part is checked: DATA_LOSS. Borrows nothing. */
int mmq_prepare_open(struct mmq_prepare **prepare_out, const struct mmq_schema *schema, const struct mmq_part *in, struct mmq_err *err);
/* A preparation that leaves values as they are: fields are numeric or categorical; values[field] (values_count[field]) are a categorical one's texts
 * by code, an unknown text is unseen. Missing numbers stay NaN, or become 0 (imputes, sparse rows). */
struct mmq_prepare_raw_options { enum mmq_dtype dtype; bool is_csr, imputes; };
int mmq_prepare_raw(struct mmq_prepare **prepare_out, const struct mmq_schema *schema, char *const *const *values, const size_t *values_count,
    const struct mmq_prepare_raw_options *options, struct mmq_err *err);

/* What happens to each column, when it is no more than (x - center) * scale, or a category's code. columns_out (mmq_prepare_plain_count) borrows.
 * FAILED_PRECONDITION naming the first column with more to it. Sparse columns come last, without names. */
struct mmq_categories;
struct mmq_prepare_plain { const char *name; bool is_category; const struct mmq_categories *categories; double center, scale; };
size_t mmq_prepare_plain_count(const struct mmq_prepare *prepare);
int mmq_prepare_plain(const struct mmq_prepare *prepare, struct mmq_prepare_plain *columns_out, struct mmq_err *err);
enum mmq_dtype mmq_prepare_dtype(const struct mmq_prepare *prepare);

/* The steps for people: an array of maps {step, version, columns, ...}. */
void mmq_prepare_write(const struct mmq_prepare *prepare, struct mmq_buf *out);

#endif
