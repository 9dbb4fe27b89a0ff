/* check.c: shapes and values of batches and fits. */
#include "engine/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "math/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { SCAN_PARTS = 16 };

size_t
mmq_check_feature_cols(const struct mmq_feature *features, size_t count)
{
	size_t cols = 0;
	for (size_t k = 0; k < count; k++) {
		size_t width = features[k].kind == MMQ_CATEGORY ? 0 : 1;
		for (uint32_t d = 0; features[k].kind == MMQ_VECTOR && d < features[k].rank && d < 4; d++)
			width *= features[k].shape[d];
		cols += width;
	}
	return cols;
}

static int
cell_error(const char *what, size_t row, size_t col, double value, struct mmq_err *err)
{
	char field[96];
	snprintf(field, sizeof(field), "%s[%zu][%zu]", what, row, col);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "a finite number", "%g", value);
}

static bool
is_allowed(double value, unsigned accepts)
{
	return isfinite(value) || (isnan(value) && (accepts & MMQ_ACCEPTS_MISSING) != 0);
}

typedef int32_t lanes __attribute__((vector_size(16)));

/* All ones where an exponent is all ones: an infinity or NaN. */
static inline lanes
not_finite(const float *values)
{
	const lanes ones = { 0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000 };
	lanes bits;
	memcpy(&bits, values, sizeof(bits));
	return (bits & ones) == ones;
}

/* Sixteen at a time, whatever the processor. */
static bool
are_finite_portable(const float *values, size_t count)
{
	lanes found[2] = { { 0 } };
	size_t i = 0;
	for (; i + 16 <= count; i += 16) {
		found[0] |= not_finite(values + i) | not_finite(values + i + 4);
		found[1] |= not_finite(values + i + 8) | not_finite(values + i + 12);
	}
	lanes all = found[0] | found[1];
	bool are = (all[0] | all[1] | all[2] | all[3]) == 0;
	for (; i < count; i++)
		are = are && isfinite(values[i]);
	return are;
}

#if defined(__x86_64__)
/* Bits without the sign, doubled, are 0xff000000 and more where an exponent is all ones: an infinity or NaN. */
__attribute__((target("avx2"))) static bool
are_finite_avx2(const float *values, size_t count)
{
	__m256i top = _mm256_setzero_si256(), other = top;
	size_t i = 0;
	for (; i + 16 <= count; i += 16) {
		__m256i a = _mm256_loadu_si256((const __m256i *)(values + i)), b = _mm256_loadu_si256((const __m256i *)(values + i + 8));
		top = _mm256_max_epu32(top, _mm256_add_epi32(a, a));
		other = _mm256_max_epu32(other, _mm256_add_epi32(b, b));
	}
	const __m256i limit = _mm256_set1_epi32((int)0xff000000u);
	top = _mm256_max_epu32(top, other);
	return _mm256_movemask_epi8(_mm256_cmpeq_epi32(_mm256_max_epu32(top, limit), top)) == 0 && are_finite_portable(values + i, count - i);
}
#endif

static bool
are_finite(const float *values, size_t count)
{
#if defined(__x86_64__)
	if (mmq_cpu_has_avx2())
		return are_finite_avx2(values, count);
#endif
	return are_finite_portable(values, count);
}

/* Dense float32 rows without gaps between them, the usual case, are scanned fast. */
static bool
is_packed(const struct mmq_batch *x)
{
	return x->row_start == NULL && x->dtype == MMQ_F32 && x->stride == x->cols && x->dense != NULL;
}

static int
check_dense(const struct mmq_batch *x, unsigned accepts, struct mmq_err *err)
{
	for (size_t r = 0; r < x->rows; r++) {
		const float *single = (const float *)x->dense + r * x->stride;
		const double *wide = (const double *)x->dense + r * x->stride;
		for (size_t c = 0; c < x->cols; c++) {
			double value = x->dtype == MMQ_F32 ? (double)single[c] : wide[c];
			if (!is_allowed(value, accepts))
				return cell_error("x", r, c, value, err);
		}
	}
	return 0;
}

static int
check_sparse(const struct mmq_batch *x, struct mmq_err *err)
{
	for (size_t r = 0; r < x->rows; r++) {
		if (x->row_start[r] > x->row_start[r + 1])
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.row_start", "offsets that do not fall", "row %zu", r);
		for (uint64_t k = x->row_start[r]; k < x->row_start[r + 1]; k++) {
			if (x->col[k] >= x->cols || (k > x->row_start[r] && x->col[k] <= x->col[k - 1]))
				return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.col", "ascending columns below the width", "%u in row %zu",
				    (unsigned)x->col[k], r);
			double value = x->dtype == MMQ_F32 ? (double)((const float *)x->value)[k] : ((const double *)x->value)[k];
			if (!isfinite(value))
				return cell_error("x", r, x->col[k], value, err);
		}
	}
	return 0;
}

static int
check_shape(const struct mmq_batch *x, size_t cols, size_t codes_cols, unsigned accepts, struct mmq_err *err)
{
	if (x->cols != cols)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.cols", "the number of columns trained with", "%zu instead of %zu", x->cols, cols);
	if (x->codes_cols != codes_cols || (codes_cols > 0 && x->codes == NULL && x->rows > 0))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.codes_cols", "the number of category columns trained with", "%zu instead of %zu",
		    x->codes_cols, codes_cols);
	if (cols > 0 && x->dtype != MMQ_F32 && !(x->dtype == MMQ_F64 && (accepts & MMQ_ACCEPTS_F64) != 0))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.dtype", (accepts & MMQ_ACCEPTS_F64) != 0 ? "f32 or f64" : "f32", "%s",
		    mmq_dtype_name(x->dtype));
	if (x->row_start != NULL && (accepts & MMQ_ACCEPTS_SPARSE) == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x", "dense rows", "sparse rows");
	if (x->row_start == NULL && cols > 0 && x->rows > 0 && (x->dense == NULL || x->stride < x->cols))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.stride", "at least the number of columns", "%zu", x->stride);
	return 0;
}

static int
check_values(const struct mmq_batch *x, unsigned accepts, struct mmq_err *err)
{
	if (x->row_start != NULL)
		return check_sparse(x, err);
	return x->cols > 0 && x->rows > 0 ? check_dense(x, accepts, err) : 0;
}

int
mmq_check_batch(const struct mmq_batch *x, size_t cols, size_t codes_cols, unsigned accepts, struct mmq_err *err)
{
	if (check_shape(x, cols, codes_cols, accepts, err) == -1)
		return -1;
	return is_packed(x) && are_finite(x->dense, x->rows * x->cols) ? 0 : check_values(x, accepts, err);
}

static bool
is_target(const struct mmq_dataset *data, enum mmq_task task, size_t row)
{
	double y = task == MMQ_ONE_CLASS ? 0 : data->y[row];
	if (task == MMQ_REGRESSION || task == MMQ_ONE_CLASS)
		return isfinite(y);
	return y >= 0 && y < data->classes && y == (double)(int64_t)y;
}

static bool
is_weight(const struct mmq_dataset *data, size_t row)
{
	return data->weight == NULL || (data->weight[row] > 0.0f && isfinite(data->weight[row]));
}

struct scan {
	const struct mmq_dataset *data;
	enum mmq_task task;
	bool is_fine[SCAN_PARTS];
};

static void
scan_part(void *arg, size_t part, unsigned thread)
{
	struct scan *scan = arg;
	const struct mmq_batch *x = &scan->data->x;
	size_t from = x->rows * part / SCAN_PARTS, to = x->rows * (part + 1) / SCAN_PARTS;
	bool is_fine = are_finite((const float *)x->dense + from * x->cols, (to - from) * x->cols);
	(void)thread;
	for (size_t r = from; is_fine && r < to; r++)
		is_fine = is_target(scan->data, scan->task, r) && is_weight(scan->data, r);
	scan->is_fine[part] = is_fine;
}

/* A fast look at everything, on all threads; where it finds something, the checks below say what and where. */
static bool
is_all_fine(const struct mmq_dataset *data, const struct mmq_fit *fit)
{
	struct scan scan = { .data = data, .task = fit->task };
	bool is_fine = is_packed(&data->x);
	if (is_fine)
		mmq_pool_run(fit->pool, SCAN_PARTS, scan_part, &scan);
	for (size_t k = 0; k < SCAN_PARTS; k++)
		is_fine = is_fine && scan.is_fine[k];
	return is_fine;
}

static int
check_target(const struct mmq_dataset *data, enum mmq_task task, struct mmq_err *err)
{
	for (size_t r = 0; r < data->x.rows; r++) {
		char field[96];
		if (!is_target(data, task, r)) {
			snprintf(field, sizeof(field), "y[%zu]", r);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, task == MMQ_REGRESSION ? "a finite number" :
			    "a class code below the number of classes", "%g", data->y[r]);
		}
		if (!is_weight(data, r)) {
			snprintf(field, sizeof(field), "weight[%zu]", r);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "a finite number above 0", "%g", (double)data->weight[r]);
		}
	}
	return 0;
}

static int
check_data(const struct mmq_dataset *data, const struct mmq_fit *fit, unsigned accepts, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	if (data->x.rows == 0 || (data->y == NULL) != (fit->task == MMQ_ONE_CLASS))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "rows", fit->task == MMQ_ONE_CLASS ? "at least one row, and no target" :
		    "at least one row with a target", data->x.rows == 0 ? "none" : data->y == NULL ? "no target" : "a target");
	if (data->x.rows > UINT32_MAX)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "rows", "fewer than 2^32 rows", "%zu", data->x.rows);
	if (data->x.cols + data->x.codes_cols == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "features", "at least one feature", "none");
	if (data->x.codes_cols > 0 && (accepts & MMQ_ACCEPTS_CATEGORY) == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.codes_cols", "no category codes", "%zu", data->x.codes_cols);
	if (check_shape(&data->x, train->x.cols, train->x.codes_cols, accepts, err) == -1)
		return -1;
	if (data->classes != train->classes)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "classes", "as many as the training rows have", "%u", (unsigned)data->classes);
	if (is_all_fine(data, fit))
		return 0;
	return check_values(&data->x, accepts, err) == -1 ? -1 : check_target(data, fit->task, err);
}

int
mmq_check_fit(const struct mmq_fit *fit, unsigned tasks, unsigned accepts, struct mmq_err *err)
{
	uint32_t classes = fit->train->classes;
	if ((tasks & (unsigned)fit->task) == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "task", "a task that this engine has", "%s", mmq_task_name(fit->task));
	bool has_no_classes = fit->task == MMQ_REGRESSION || fit->task == MMQ_ONE_CLASS;
	if (has_no_classes ? classes != 0 : fit->task == MMQ_BINARY ? classes != 2 : classes < 2)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "classes", has_no_classes ? "0 for regression and one-class models" :
		    fit->task == MMQ_BINARY ? "2 for a binary task" : "at least 2", "%u", (unsigned)classes);
	if (check_data(fit->train, fit, accepts, err) == -1)
		return -1;
	if (fit->valid != NULL && check_data(fit->valid, fit, accepts, err) == -1)
		return mmq_err_prefix(err, "validation rows");
	return 0;
}
