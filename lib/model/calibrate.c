/* calibrate.c: fitting and applying the curves. */
#include "model/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/platt.h"
#include "util/mem.h"

static const char *const names[MMQ_CALIBRATIONS] = { "none", "sigmoid", "isotonic" };

const char *
mmq_calibration_name(enum mmq_calibration kind)
{
	return names[kind];
}

void
mmq_calibrate_fini(struct mmq_calibrate *calibrate)
{
	for (size_t c = 0; c < calibrate->count; c++) {
		free(calibrate->curves[c].x);
		free(calibrate->curves[c].y);
	}
	free(calibrate->curves);
	*calibrate = (struct mmq_calibrate){ .kind = MMQ_CALIBRATE_NONE };
}

size_t
mmq_calibrate_cols(const struct mmq_decide *decide)
{
	return decide->task == MMQ_BINARY ? 1 : decide->classes.count;
}

/* score (classes*(classes-1)/2) in the order (0,1) (0,2) .. -> out (classes): votes + sum / (3 (|sum| + 1)), whose fraction is below 1/3, so
 * that a vote always counts more (scikit-learn's one-vs-rest shape of pairwise decisions). */
static void
pairs_to_classes(const double *score, size_t classes, double *out)
{
	for (size_t c = 0; c < classes; c++) {
		double votes = 0, sum = 0;
		for (size_t other = 0; other < classes; other++) {
			if (other == c)
				continue;
			size_t i = c < other ? c : other, j = c < other ? other : c;
			double value = score[i * (2 * classes - i - 1) / 2 + j - i - 1];
			value = c < other ? value : -value;
			votes += value > 0;
			sum += value;
		}
		out[c] = votes + sum / (3 * (fabs(sum) + 1));
	}
}

void
mmq_calibrate_inputs(const struct mmq_decide *decide, size_t rows, const double *score, size_t score_cols, double *out)
{
	size_t cols = mmq_calibrate_cols(decide);

	for (size_t r = 0; r < rows; r++) {
		if (decide->pairwise)
			pairs_to_classes(score + r * score_cols, cols, out + r * cols);
		else
			memcpy(out + r * cols, score + r * score_cols, cols * sizeof(*out));
	}
}

struct point {
	double x, y, weight;
};

static int
compare_points(const void *a, const void *b)
{
	double x = ((const struct point *)a)->x, y = ((const struct point *)b)->x;
	return (x > y) - (x < y);
}

/* Equal x become one point with their mean. */
static size_t
merge_equal(struct point *points, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || points[i].x != points[kept - 1].x) {
			points[kept++] = points[i];
			continue;
		}
		struct point *at = &points[kept - 1];
		double weight = at->weight + points[i].weight;
		at->y = (at->y * at->weight + points[i].y * points[i].weight) / weight;
		at->weight = weight;
	}
	return kept;
}

/* Pool adjacent violators (Ayer et al. 1955): blocks whose mean falls below the one before are joined with it. Both ends of a block are
 * kept as points, so that the curve is flat in it and rises between blocks. */
static void
fit_isotonic(struct mmq_curve *curve, struct point *points, size_t count)
{
	struct block { double sum, weight; size_t first, last; } *blocks = mmq_array(count, sizeof(*blocks));
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		blocks[used++] = (struct block){ points[i].y * points[i].weight, points[i].weight, i, i };
		while (used > 1 && blocks[used - 2].sum / blocks[used - 2].weight >= blocks[used - 1].sum / blocks[used - 1].weight) {
			struct block *into = &blocks[used - 2], *from = &blocks[used - 1];
			into->sum += from->sum;
			into->weight += from->weight;
			into->last = from->last;
			used--;
		}
	}
	curve->x = mmq_array(used * 2, sizeof(double));
	curve->y = mmq_array(used * 2, sizeof(double));
	for (size_t b = 0; b < used; b++) {
		double y = blocks[b].sum / blocks[b].weight;
		for (int end = 0; end < (blocks[b].first == blocks[b].last ? 1 : 2); end++) {
			curve->x[curve->count] = points[end == 0 ? blocks[b].first : blocks[b].last].x;
			curve->y[curve->count++] = y;
		}
	}
	free(blocks);
}

static int
fit_curve(struct mmq_curve *curve, enum mmq_calibration kind, const double *inputs, size_t cols, size_t col, const double *code, double positive,
    const float *weight, size_t rows, struct mmq_err *err)
{
	size_t hits = 0;

	for (size_t r = 0; r < rows; r++)
		hits += code[r] == positive;
	if (hits == 0 || hits == rows)
		return mmq_err_value(err, MMQ_FAILED_PRECONDITION, "calibrate", "rows of each class and of others to calibrate on", "%zu of %zu rows are of one", hits,
		    rows);
	if (kind == MMQ_CALIBRATE_SIGMOID) {
		double *score = mmq_array(rows, sizeof(*score));
		uint8_t *is_positive = mmq_array(rows, 1);
		for (size_t r = 0; r < rows; r++) {
			score[r] = inputs[r * cols + col];
			is_positive[r] = code[r] == positive;
		}
		mmq_platt_fit(score, is_positive, weight, rows, &curve->a, &curve->b);
		free(score);
		free(is_positive);
		return 0;
	}
	struct point *points = mmq_array(rows, sizeof(*points));
	for (size_t r = 0; r < rows; r++)
		points[r] = (struct point){ inputs[r * cols + col], code[r] == positive, weight != NULL ? (double)weight[r] : 1 };
	qsort(points, rows, sizeof(*points), compare_points);
	fit_isotonic(curve, points, merge_equal(points, rows));
	free(points);
	return 0;
}

int
mmq_calibrate_fit(struct mmq_calibrate *calibrate, enum mmq_calibration kind, const struct mmq_decide *decide, const double *inputs,
    const double *code, const float *weight, size_t rows, struct mmq_err *err)
{
	size_t cols = mmq_calibrate_cols(decide);

	*calibrate = (struct mmq_calibrate){ .kind = kind, .count = cols, .curves = mmq_array(cols, sizeof(*calibrate->curves)) };
	for (size_t c = 0; c < cols; c++)
		if (fit_curve(&calibrate->curves[c], kind, inputs, cols, c, code, cols == 1 ? 1 : (double)c, weight, rows, err) == -1) {
			mmq_calibrate_fini(calibrate);
			return -1;
		}
	return 0;
}

static double
interpolate(const struct mmq_curve *curve, double x)
{
	size_t low = 0, high = curve->count - 1;

	if (!(x > curve->x[0]))
		return curve->y[0];
	if (x >= curve->x[high])
		return curve->y[high];
	while (high - low > 1) {
		size_t middle = (low + high) / 2;
		*(curve->x[middle] <= x ? &low : &high) = middle;
	}
	double share = (x - curve->x[low]) / (curve->x[high] - curve->x[low]);
	return curve->y[low] + share * (curve->y[high] - curve->y[low]);
}

static double
probability_of(const struct mmq_calibrate *calibrate, size_t c, double x)
{
	const struct mmq_curve *curve = &calibrate->curves[c];
	return calibrate->kind == MMQ_CALIBRATE_SIGMOID ? mmq_platt_probability(x, curve->a, curve->b) : interpolate(curve, x);
}

void
mmq_calibrate_apply(const struct mmq_calibrate *calibrate, size_t rows, const double *inputs, double *probability)
{
	size_t cols = calibrate->count;

	for (size_t r = 0; r < rows; r++) {
		const double *x = inputs + r * cols;
		if (cols == 1) {
			double p = probability_of(calibrate, 0, x[0]);
			probability[2 * r] = 1 - p;
			probability[2 * r + 1] = p;
			continue;
		}
		double *p = probability + r * cols, sum = 0;
		for (size_t c = 0; c < cols; c++)
			sum += p[c] = probability_of(calibrate, c, x[c]);
		for (size_t c = 0; c < cols; c++)
			p[c] = sum > 0 ? p[c] / sum : 1 / (double)cols;
	}
}

/* ---- In a model file --------------------------------------------------------------------------------------------------- */

void
mmq_calibrate_save(const struct mmq_calibrate *calibrate, struct mmq_part *out)
{
	size_t points = 0;

	for (size_t c = 0; c < calibrate->count; c++)
		points += calibrate->curves[c].count;
	double *sigmoid = mmq_array(calibrate->count * 2, sizeof(double)), *curve = mmq_array(points * 2, sizeof(double));
	int64_t *counts = mmq_array(calibrate->count, sizeof(*counts));
	size_t at = 0;
	for (size_t c = 0; c < calibrate->count; c++) {
		sigmoid[2 * c] = calibrate->curves[c].a;
		sigmoid[2 * c + 1] = calibrate->curves[c].b;
		counts[c] = (int64_t)calibrate->curves[c].count;
		for (size_t i = 0; i < calibrate->curves[c].count; i++, at++) {
			curve[2 * at] = calibrate->curves[c].x[i];
			curve[2 * at + 1] = calibrate->curves[c].y[i];
		}
	}
	mmq_part_put_int(out, "kind", calibrate->kind);
	mmq_part_put_doubles(out, "sigmoid", sigmoid, calibrate->count * 2);
	mmq_part_put_vector(out, "counts", MMQ_I64, calibrate->count, counts);
	mmq_part_put_matrix(out, "points", MMQ_F64, points, 2, curve);
	free(sigmoid);
	free(curve);
	free(counts);
}

static int
lost(struct mmq_err *err, const char *what)
{
	return mmq_err_set(err, MMQ_DATA_LOSS, "calibration: %s", what);
}

/* Points of one curve: x rising, y not falling and a probability. */
static int
open_points(struct mmq_curve *curve, const double *points, size_t count, struct mmq_err *err)
{
	if (count == 0)
		return lost(err, "a curve without points");
	curve->x = mmq_array(count, sizeof(double));
	curve->y = mmq_array(count, sizeof(double));
	curve->count = count;
	for (size_t i = 0; i < count; i++) {
		curve->x[i] = points[2 * i];
		curve->y[i] = points[2 * i + 1];
		if (!isfinite(curve->x[i]) || !(curve->y[i] >= 0 && curve->y[i] <= 1) ||
		    (i > 0 && (!(curve->x[i] > curve->x[i - 1]) || curve->y[i] < curve->y[i - 1])))
			return lost(err, "a curve's points do not rise");
	}
	return 0;
}

int
mmq_calibrate_open(struct mmq_calibrate *calibrate, const struct mmq_decide *decide, const struct mmq_part *in, struct mmq_err *err)
{
	const struct mmq_tensor *counts, *points;
	const double *sigmoid;
	size_t cols = mmq_calibrate_cols(decide), sigmoid_count, at = 0;
	int64_t kind;

	*calibrate = (struct mmq_calibrate){ .kind = MMQ_CALIBRATE_NONE };
	if (mmq_decide_engine_classes(decide) < 2)
		return lost(err, "of a model that does not classify");
	if (mmq_part_get_int(in, "kind", MMQ_CALIBRATE_SIGMOID, MMQ_CALIBRATE_ISOTONIC, &kind, err) == -1 ||
	    mmq_part_get_doubles(in, "sigmoid", &sigmoid, &sigmoid_count, err) == -1 ||
	    mmq_part_get_tensor(in, "counts", MMQ_I64, 1, (uint64_t[]){ cols }, &counts, err) == -1 ||
	    mmq_part_get_tensor(in, "points", MMQ_F64, 2, (uint64_t[]){ UINT64_MAX, 2 }, &points, err) == -1)
		return -1;
	if (sigmoid_count != cols * 2)
		return lost(err, "another number of curves than of classes");
	*calibrate = (struct mmq_calibrate){ .kind = (enum mmq_calibration)kind, .count = cols, .curves = mmq_array(cols, sizeof(*calibrate->curves)) };
	for (size_t c = 0; c < cols; c++) {
		struct mmq_curve *curve = &calibrate->curves[c];
		int64_t count = ((const int64_t *)counts->data)[c];
		curve->a = sigmoid[2 * c];
		curve->b = sigmoid[2 * c + 1];
		if (!isfinite(curve->a) || !isfinite(curve->b) || count < 0 || (uint64_t)count > points->shape[0] - at)
			return lost(err, "a number out of range");
		if (kind == MMQ_CALIBRATE_ISOTONIC && open_points(curve, (const double *)points->data + 2 * at, (size_t)count, err) == -1)
			return -1;
		at += (size_t)count;
	}
	return 0;
}
