/* gram.c: the equations of least squares: weighted means, the centred Gram matrix, and products with it that never form it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/gram.h"
#include "math/blas.h"
#include "util/mem.h"

enum { BLOCK_CELLS = 1 << 16 };

static void
part_rows(const struct mmq_linear_gram *g, size_t parts, size_t part, size_t *from, size_t *to)
{
	*from = g->p->x->rows * part / parts;
	*to = g->p->x->rows * (part + 1) / parts;
}

/* Rows of a block: wide ones are read twice, from the nearest cache the second time. */
static size_t
block_count(const struct mmq_linear_gram *g, size_t from, size_t to)
{
	size_t some = BLOCK_CELLS / (g->cols + 1);
	some = some < 4 ? 4 : some > MMQ_LINEAR_BLOCK ? MMQ_LINEAR_BLOCK : some;
	return to - from < some ? to - from : some;
}

/* Weighted column sums. */
static void
sum_part(void *arg, size_t part, unsigned thread)
{
	struct mmq_linear_gram *g = arg;
	double weight[MMQ_LINEAR_BLOCK], *scalars = g->part_scalars + 3 * part;
	size_t from, to;
	(void)thread;
	part_rows(g, g->parts, part, &from, &to);
	for (size_t count; from < to; from += count) {
		count = block_count(g, from, to);
		for (size_t i = 0; i < count; i++) {
			double y = g->p->target[from + i];
			weight[i] = mmq_linear_weight(g->p->weight, from + i);
			scalars[0] += weight[i];
			scalars[1] += weight[i] * y;
			scalars[2] += weight[i] * y * y;
		}
		mmq_linear_add_rows(g->p->x, from, count, weight, g->sums + part * g->cols);
	}
}

void
mmq_linear_gram_init(struct mmq_linear_gram *g, const struct mmq_linear_problem *p)
{
	*g = (struct mmq_linear_gram){ .p = p, .cols = p->cols, .parts = mmq_linear_parts(p->x->rows, p->cols * sizeof(double)),
		.mean = mmq_array(p->cols, sizeof(double)) };
	g->sums = mmq_array(g->parts * g->cols, sizeof(double));
	g->part_scalars = mmq_array(3 * g->parts, sizeof(double));
	mmq_pool_run(p->pool, g->parts, sum_part, g);
	for (size_t k = 0; k < g->parts; k++) {
		g->weight_sum += g->part_scalars[3 * k];
		g->y_mean += g->part_scalars[3 * k + 1];
		g->y_square += g->part_scalars[3 * k + 2];
		for (size_t j = 0; j < g->cols; j++)
			g->mean[j] += g->sums[k * g->cols + j];
	}
	for (size_t j = 0; j < g->cols; j++)
		g->mean[j] = p->with_intercept ? g->mean[j] / g->weight_sum : 0.0;
	g->y_mean = p->with_intercept ? g->y_mean / g->weight_sum : 0.0;
	g->y_square -= g->weight_sum * g->y_mean * g->y_mean;
}

void
mmq_linear_gram_fini(struct mmq_linear_gram *g)
{
	free(g->mean), free(g->sums), free(g->part_scalars);
	*g = (struct mmq_linear_gram){ .p = NULL };
}

/* One part of X_c^T S (y_factor y_c - X_c direction). */
static void
apply_part(void *arg, size_t part, unsigned thread)
{
	struct mmq_linear_gram *g = arg;
	double *sums = g->sums + part * g->cols, residual[MMQ_LINEAR_BLOCK], total = 0.0;
	size_t from, to;
	(void)thread;
	memset(sums, 0, g->cols * sizeof(*sums));
	part_rows(g, g->parts, part, &from, &to);
	for (size_t count; from < to; from += count) {
		count = block_count(g, from, to);
		mmq_linear_scores(g->p->x, from, count, g->direction, -g->direction_shift, residual);
		for (size_t i = 0; i < count; i++) {
			residual[i] = mmq_linear_weight(g->p->weight, from + i) * (g->y_factor * (g->p->target[from + i] - g->y_mean) - residual[i]);
			total += residual[i];
		}
		mmq_linear_add_rows(g->p->x, from, count, residual, sums);
	}
	for (size_t j = 0; j < g->cols; j++)   /* X_c^T r = X^T r - mean sum(r) */
		sums[j] -= g->mean[j] * total;
}

void
mmq_linear_gram_apply(struct mmq_linear_gram *g, const double *b, double y_factor, double l2, double *out)
{
	g->direction = b;
	g->y_factor = y_factor;
	g->direction_shift = mmq_linear_dot(b, g->mean, g->cols);
	mmq_pool_run(g->p->pool, g->parts, apply_part, g);
	for (size_t j = 0; j < g->cols; j++) {
		out[j] = -l2 * b[j];
		for (size_t k = 0; k < g->parts; k++)
			out[j] += g->sums[k * g->cols + j];
	}
}

/* One part of the Gram matrix (upper triangle). */
static void
gram_part(void *arg, size_t part, unsigned thread)
{
	struct mmq_linear_gram *g = arg;
	size_t cols = g->cols, from, to;
	double *block = mmq_array(MMQ_LINEAR_BLOCK * cols, sizeof(*block)), *gram = g->sums + part * cols * cols;
	(void)thread;
	part_rows(g, g->gram_parts, part, &from, &to);
	for (size_t count; from < to; from += count) {
		count = block_count(g, from, to);
		mmq_linear_load(g->p->x, from, count, g->mean, block, cols);
		for (size_t i = 0; g->p->weight != NULL && i < count; i++) {
			double root = sqrt((double)g->p->weight[from + i]);
			for (size_t j = 0; j < cols; j++)
				block[i * cols + j] *= root;
		}
		mmq_dsyrk(true, cols, count, 1.0, block, cols, 1.0, gram, cols);
	}
	free(block);
}

double *
mmq_linear_gram_form(struct mmq_linear_gram *g, double l2)
{
	size_t cols = g->cols;
	double *vectors = g->sums, *gram;
	g->gram_parts = mmq_linear_parts(g->p->x->rows, cols * cols * sizeof(double));
	gram = g->sums = mmq_array(g->gram_parts * cols * cols, sizeof(double));
	mmq_pool_run(g->p->pool, g->gram_parts, gram_part, g);
	for (size_t k = 1; k < g->gram_parts; k++)
		for (size_t i = 0; i < cols * cols; i++)
			gram[i] += gram[k * cols * cols + i];
	for (size_t j = 0; j < cols; j++)
		gram[j * cols + j] += l2;
	mmq_linear_mirror(gram, cols);
	g->sums = vectors;
	return gram;
}

/* The L2 penalty is taken as more rows: residual (r, -sqrt(l2) b), scaled until no column's product is above l1. */
double
mmq_linear_gram_gap(const struct mmq_linear_gram *g, size_t cols, const double *b, const double *right, const double *q, double *objective_out)
{
	const struct mmq_linear_problem *p = g->p;
	double top = 0.0, by = mmq_linear_dot(b, right, cols), bq = mmq_linear_dot(b, q, cols), norm = 0.0;
	for (size_t j = 0; j < cols; j++) {
		top = fmax(top, fabs(q[j] - p->l2 * b[j]));
		norm += fabs(b[j]);
	}
	double square = mmq_linear_dot(b, b, cols), with_y = g->y_square - by, residual = fmax(0.0, with_y - bq) + p->l2 * square;
	double scale = top > p->l1 ? p->l1 / top : 1.0;
	*objective_out = 0.5 * residual + p->l1 * norm;
	return *objective_out - (scale * with_y - 0.5 * scale * scale * residual);
}

double
mmq_linear_gram_intercept(const struct mmq_linear_gram *g, const double *b)
{
	return g->y_mean - mmq_linear_dot(b, g->mean, g->cols);
}
