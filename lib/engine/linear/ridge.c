/* ridge.c: least squares with an L2 penalty: minimise sum w (y - x b - b0)^2 + alpha |b|^2, the intercept unpenalised.
 *
 * Up to 2048 columns: Gram matrix of the centred rows, Cholesky. A pivot ratio below 1e-6 means that squaring cost too many digits:
 * then pivoted Cholesky and corrected semi-normal equations (Bjorck 1987): the residual is taken from the rows themselves and solved for
 * again. Wider: conjugate gradients on the same equations, which never form the matrix. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "math/blas.h"
#include "util/mem.h"

struct ridge {
	const struct mmq_dataset *data;
	struct mmq_pool *pool;
	size_t cols, parts, gram_parts;
	double *mean, y_mean, weight_sum;    /* zeros without intercept */
	double *sums;                        /* (parts, cols) or (gram_parts, cols, cols + 1) */
	double *part_scalars;                /* (parts, 2) */
	const double *direction;             /* (cols): apply's argument */
	double direction_shift, y_factor;    /* direction . mean; 1: y takes part, 0: not */
};

static void
part_rows(const struct ridge *ridge, size_t parts, size_t part, size_t *from, size_t *to)
{
	*from = ridge->data->x.rows * part / parts;
	*to = ridge->data->x.rows * (part + 1) / parts;
}

static size_t
block_count(size_t from, size_t to)
{
	return to - from < MMQ_LINEAR_BLOCK ? to - from : MMQ_LINEAR_BLOCK;
}

/* Weighted column sums. */
static void
sum_part(void *arg, size_t part, unsigned thread)
{
	struct ridge *ridge = arg;
	const struct mmq_dataset *data = ridge->data;
	double *block = mmq_array(MMQ_LINEAR_BLOCK * (data->x.row_start != NULL ? 1 : ridge->cols), sizeof(*block));
	double weight[MMQ_LINEAR_BLOCK], unused = 0.0;
	size_t from, to;
	(void)thread;
	part_rows(ridge, ridge->parts, part, &from, &to);
	for (size_t count; from < to; from += count) {
		count = block_count(from, to);
		for (size_t i = 0; i < count; i++) {
			weight[i] = mmq_linear_weight(data, from + i);
			ridge->part_scalars[2 * part] += weight[i];
			ridge->part_scalars[2 * part + 1] += weight[i] * data->y[from + i];
		}
		mmq_linear_backward(&data->x, from, count, weight, 1, block, ridge->sums + part * ridge->cols, &unused);
	}
	free(block);
}

static void
find_means(struct ridge *ridge, bool with_intercept)
{
	ridge->sums = mmq_array(ridge->parts * ridge->cols, sizeof(double));
	ridge->part_scalars = mmq_array(2 * ridge->parts, sizeof(double));
	mmq_pool_run(ridge->pool, ridge->parts, sum_part, ridge);
	for (size_t p = 0; p < ridge->parts; p++) {
		ridge->weight_sum += ridge->part_scalars[2 * p];
		ridge->y_mean += ridge->part_scalars[2 * p + 1];
		for (size_t j = 0; j < ridge->cols; j++)
			ridge->mean[j] += ridge->sums[p * ridge->cols + j];
	}
	for (size_t j = 0; j < ridge->cols; j++)
		ridge->mean[j] = with_intercept ? ridge->mean[j] / ridge->weight_sum : 0.0;
	ridge->y_mean = with_intercept ? ridge->y_mean / ridge->weight_sum : 0.0;
	free(ridge->sums);
	free(ridge->part_scalars);
	ridge->sums = ridge->part_scalars = NULL;
}

/* One part of X_c^T W (y_factor y_c - X_c direction). */
static void
apply_part(void *arg, size_t part, unsigned thread)
{
	struct ridge *ridge = arg;
	const struct mmq_dataset *data = ridge->data;
	double *block = mmq_array(MMQ_LINEAR_BLOCK * (data->x.row_start != NULL ? 1 : ridge->cols), sizeof(*block));
	double *sums = ridge->sums + part * ridge->cols, residual[MMQ_LINEAR_BLOCK], total = 0.0, shift = -ridge->direction_shift;
	size_t from, to;
	(void)thread;
	memset(sums, 0, ridge->cols * sizeof(*sums));
	part_rows(ridge, ridge->parts, part, &from, &to);
	for (size_t count; from < to; from += count) {
		count = block_count(from, to);
		mmq_linear_forward(&data->x, from, count, ridge->direction, &shift, 1, block, residual);
		for (size_t i = 0; i < count; i++)
			residual[i] = mmq_linear_weight(data, from + i) *
			    (ridge->y_factor * (data->y[from + i] - ridge->y_mean) - residual[i]);
		mmq_linear_backward(&data->x, from, count, residual, 1, block, sums, &total);
	}
	for (size_t j = 0; j < ridge->cols; j++)   /* X_c^T r = X^T r - mean sum(r) */
		sums[j] -= ridge->mean[j] * total;
	free(block);
}

/* out (cols) = X_c^T W (y_factor y_c - X_c b) - alpha b. */
static void
apply(struct ridge *ridge, const double *b, double y_factor, double alpha, double *out)
{
	ridge->direction = b;
	ridge->y_factor = y_factor;
	ridge->direction_shift = 0.0;
	for (size_t j = 0; j < ridge->cols; j++)
		ridge->direction_shift += b[j] * ridge->mean[j];
	mmq_pool_run(ridge->pool, ridge->parts, apply_part, ridge);
	for (size_t j = 0; j < ridge->cols; j++) {
		out[j] = -alpha * b[j];
		for (size_t p = 0; p < ridge->parts; p++)
			out[j] += ridge->sums[p * ridge->cols + j];
	}
}

/* One part of the Gram matrix (upper triangle). */
static void
gram_part(void *arg, size_t part, unsigned thread)
{
	struct ridge *ridge = arg;
	const struct mmq_dataset *data = ridge->data;
	size_t cols = ridge->cols, from, to;
	double *block = mmq_array(MMQ_LINEAR_BLOCK * cols, sizeof(*block)), *gram = ridge->sums + part * cols * cols;
	(void)thread;
	part_rows(ridge, ridge->gram_parts, part, &from, &to);
	for (size_t count; from < to; from += count) {
		count = block_count(from, to);
		mmq_linear_load(&data->x, from, count, ridge->mean, block, cols);
		for (size_t i = 0; data->weight != NULL && i < count; i++) {
			double root = sqrt((double)data->weight[from + i]);
			for (size_t j = 0; j < cols; j++)
				block[i * cols + j] *= root;
		}
		mmq_dsyrk(true, cols, count, 1.0, block, cols, 1.0, gram, cols);
	}
	free(block);
}

static double *
form_gram(struct ridge *ridge, double alpha)
{
	size_t cols = ridge->cols;
	ridge->gram_parts = mmq_linear_parts(ridge->data->x.rows, cols * cols * sizeof(double));
	double *gram = ridge->sums = mmq_array(ridge->gram_parts * cols * cols, sizeof(double));
	mmq_pool_run(ridge->pool, ridge->gram_parts, gram_part, ridge);
	for (size_t p = 1; p < ridge->gram_parts; p++)
		for (size_t i = 0; i < cols * cols; i++)
			gram[i] += gram[p * cols * cols + i];
	for (size_t j = 0; j < cols; j++)
		gram[j * cols + j] += alpha;
	mmq_linear_mirror(gram, cols);
	return gram;
}

static void
solve_gram(struct ridge *ridge, struct mmq_linear_fit *out, double alpha)
{
	size_t cols = ridge->cols, rank = cols;
	double *gram = form_gram(ridge, alpha), *copy = mmq_array(cols * cols, sizeof(*copy)), *right = mmq_array(2 * cols, sizeof(*right));
	uint32_t *order = mmq_array(cols, sizeof(*order));
	memcpy(copy, gram, cols * cols * sizeof(*copy));
	bool is_easy = mmq_linear_cholesky(copy, cols) > 1e-6;
	if (!is_easy) {
		memcpy(copy, gram, cols * cols * sizeof(*copy));
		rank = mmq_linear_pivoted(copy, cols, order);
	}
	free(gram);
	ridge->sums = mmq_array(ridge->parts * cols, sizeof(double));
	/* The first round starts from zero, so its residual is X^T y; the others correct what rounding took. */
	for (int round = 0; round < (is_easy ? 1 : 3); round++) {
		apply(ridge, out->coef, 1.0, alpha, right);
		if (is_easy)
			mmq_linear_cholesky_solve(copy, cols, right);
		else
			mmq_linear_pivoted_solve(copy, cols, rank, order, right, right + cols);
		for (size_t j = 0; j < cols; j++)
			out->coef[j] += right[j];
		out->iterations++;
	}
	out->method = is_easy ? "cholesky" : "pivoted_cholesky";
	out->converged = true;
	if (rank < cols)
		out->warning = "some columns are linear combinations of others; they got coefficient 0";
	free(copy), free(right), free(order);
}

static bool
say(const struct mmq_fit *fit, int64_t iteration, int64_t iterations_max, double loss)
{
	struct mmq_progress_state state = { .fraction = (double)iteration / (double)iterations_max, .loss = loss, .valid_loss = NAN,
		.iteration = iteration, .iterations_max = iterations_max, .loss_name = "residual" };
	return mmq_progress_step(fit->progress, &state);
}

static double
dot(const double *x, const double *y, size_t count)
{
	double sum = 0.0;
	for (size_t i = 0; i < count; i++)
		sum += x[i] * y[i];
	return sum;
}

/* Conjugate gradients (Hestenes and Stiefel 1952) until the residual is tol of the first. */
static int
solve_gradients(struct ridge *ridge, struct mmq_linear_fit *out, const struct mmq_fit *fit, double alpha, struct mmq_err *err)
{
	size_t cols = ridge->cols;
	int64_t iterations_max = 10 * mmq_params_int(fit->params, "max_iter");
	double *r = mmq_array(3 * cols, sizeof(*r)), *p = r + cols, *q = p + cols;
	int rc = 0;
	ridge->sums = mmq_array(ridge->parts * cols, sizeof(double));
	apply(ridge, out->coef, 1.0, alpha, r);
	memcpy(p, r, cols * sizeof(*p));
	double square = dot(r, r, cols), stop = square * pow(mmq_params_number(fit->params, "tol"), 2.0);
	out->method = "conjugate_gradient";
	while (square > stop && out->iterations < iterations_max) {
		if (!say(fit, out->iterations, iterations_max, sqrt(square))) {
			rc = mmq_err_set(err, MMQ_CANCELLED, "linear: cancelled in iteration %lld", (long long)out->iterations);
			break;
		}
		apply(ridge, p, 0.0, alpha, q);          /* minus A p */
		double step = -square / dot(p, q, cols), before = square;
		for (size_t j = 0; j < cols; j++) {
			out->coef[j] += step * p[j];
			r[j] += step * q[j];
		}
		square = dot(r, r, cols);
		for (size_t j = 0; j < cols; j++)
			p[j] = r[j] + square / before * p[j];
		out->iterations++;
	}
	out->converged = square <= stop;
	if (!out->converged)
		out->warning = "not converged: max_iter iterations were done before tol was reached";
	free(r);
	return rc;
}

/* The objective's data part per weight: what describe shows. */
static double
mean_square(struct ridge *ridge, const struct mmq_linear_fit *fit)
{
	const struct mmq_dataset *data = ridge->data;
	double *block = mmq_array(MMQ_LINEAR_BLOCK * (data->x.row_start != NULL ? 1 : ridge->cols), sizeof(*block));
	double score[MMQ_LINEAR_BLOCK], sum = 0.0;
	for (size_t from = 0, count; from < data->x.rows; from += count) {
		count = block_count(from, data->x.rows);
		mmq_linear_forward(&data->x, from, count, fit->coef, fit->intercept, 1, block, score);
		for (size_t i = 0; i < count; i++)
			sum += mmq_linear_weight(data, from + i) * pow(data->y[from + i] - score[i], 2.0);
	}
	free(block);
	return sum / ridge->weight_sum;
}

int
mmq_linear_ridge(struct mmq_linear_fit *out, const struct mmq_fit *fit, struct mmq_err *err)
{
	double alpha = mmq_params_number(fit->params, "alpha");
	size_t cols = fit->train->x.cols;
	struct ridge ridge = { .data = fit->train, .pool = fit->pool, .cols = cols,
		.parts = mmq_linear_parts(fit->train->x.rows, cols * sizeof(double)), .mean = mmq_array(cols, sizeof(double)) };
	int rc = 0;

	if (!say(fit, 0, 1, NAN)) {
		free(ridge.mean);
		return mmq_err_set(err, MMQ_CANCELLED, "linear: cancelled before the start");
	}
	find_means(&ridge, mmq_params_bool(fit->params, "fit_intercept"));
	if (cols <= MMQ_LINEAR_GRAM_COLS)
		solve_gram(&ridge, out, alpha);
	else
		rc = solve_gradients(&ridge, out, fit, alpha, err);
	if (rc == 0) {
		out->intercept[0] = ridge.y_mean - dot(out->coef, ridge.mean, cols);
		out->loss = mean_square(&ridge, out);
		if (!say(fit, 1, 1, out->loss))
			rc = mmq_err_set(err, MMQ_CANCELLED, "linear: cancelled at the end");
	}
	free(ridge.mean);
	free(ridge.sums);
	return rc;
}
