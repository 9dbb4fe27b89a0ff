/* objective.c: value, gradient and Hessian of the smooth part of the objective, one output or softmax, over fixed parts of the rows.
 *
 * Values and gradients are in double. The Hessian of one output over dense float32 rows is a product in float32 unless hessian_in_double: directions
 * need no more digits, and the sums over blocks are in double. stride and hessian_stride take every so manieth block of rows only. The
 * Hessian has a pass of its own, since the last gradient of a fit needs none. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "engine/linear/rows_dense.h"
#include "math/blas.h"
#include "util/mem.h"

void
mmq_linear_objective_init(struct mmq_linear_objective *o, const struct mmq_linear_problem *p, bool has_hessian)
{
	size_t size = p->outputs * (p->cols + 1);
	*o = (struct mmq_linear_objective){ .p = p, .cols = p->cols, .wide = p->cols + 1, .outputs = p->outputs, .size = size,
		.parts = mmq_linear_parts(p->x->rows, (has_hessian ? size * size : size) * sizeof(double)), .stride = 1, .hessian_stride = 1, .share = 1.0,
		.coef = mmq_array(size, sizeof(double)), .intercept = mmq_array(p->outputs, sizeof(double)) };
	o->part_loss = mmq_array(2 * o->parts, sizeof(double));
	o->part_weight = o->part_loss + o->parts;
	o->part_gradient = mmq_array(o->parts * size, sizeof(double));
	o->part_hessian = o->hessian = has_hessian ? mmq_array(o->parts * size * size, sizeof(double)) : NULL;
}

void
mmq_linear_objective_fini(struct mmq_linear_objective *o)
{
	free(o->coef), free(o->intercept), free(o->part_loss), free(o->part_gradient), free(o->part_hessian);
	*o = (struct mmq_linear_objective){ .p = NULL };
}

/* Scores of one row -> its loss; z (outputs) becomes the class's probabilities. */
static double
softmax_row(double *z, size_t outputs, size_t class)
{
	double top = z[0], sum = 0.0;
	for (size_t k = 1; k < outputs; k++)
		top = z[k] > top ? z[k] : top;
	double own = z[class] - top;
	for (size_t k = 0; k < outputs; k++)
		sum += z[k] = exp(z[k] - top);
	for (size_t k = 0; k < outputs; k++)
		z[k] /= sum;
	return log(sum) - own;
}

/* hessian += Z^T D Z over a block, in double; z (count, wide) has the column of the intercept. */
static void
add_product(const double *z, size_t count, size_t wide, const double *curvature, double *scaled, double *hessian, size_t ld)
{
	for (size_t i = 0; i < count; i++) {
		double root = sqrt(curvature[i]);
		for (size_t j = 0; j < wide; j++)
			scaled[i * wide + j] = root * z[i * wide + j];
	}
	mmq_dsyrk(true, wide, count, 1.0, scaled, wide, 1.0, hessian, ld);
}

static void
load_wide(const struct mmq_linear_objective *o, size_t first, size_t count, double *z)
{
	mmq_linear_load(o->p->x, first, count, NULL, z, o->wide);
	for (size_t i = 0; i < count; i++)
		z[i * o->wide + o->cols] = o->p->with_intercept ? 1.0 : 0.0;
}

/* Softmax: sum s (diag(p) - p p^T) kron z z^T. The block-diagonal part is one product per class, the rest one product of the rows p kron z.
 * temp: (MMQ_LINEAR_BLOCK, wide + size + 1). */
static void
add_softmax_hessian(const struct mmq_linear_objective *o, size_t first, size_t count, const double *p, double *temp, double *hessian)
{
	size_t wide = o->wide, size = o->size;
	double *z = temp, *scaled = temp + MMQ_LINEAR_BLOCK * wide, *curvature = scaled + MMQ_LINEAR_BLOCK * size;
	load_wide(o, first, count, z);
	for (size_t k = 0; k < o->outputs; k++) {
		for (size_t i = 0; i < count; i++)
			curvature[i] = mmq_linear_weight(o->p->weight, first + i) * p[i * o->outputs + k];
		add_product(z, count, wide, curvature, scaled, hessian + k * wide * size + k * wide, size);
	}
	for (size_t i = 0; i < count; i++) {
		double root = sqrt(mmq_linear_weight(o->p->weight, first + i));
		for (size_t k = 0; k < o->outputs; k++)
			for (size_t j = 0; j < wide; j++)
				scaled[i * size + k * wide + j] = root * p[i * o->outputs + k] * z[i * wide + j];
	}
	mmq_dsyrk(true, size, count, -1.0, scaled, size, 1.0, hessian, size);
}

static void
softmax_part(struct mmq_linear_objective *o, size_t part)
{
	const struct mmq_linear_problem *p = o->p;
	size_t from = p->x->rows * part / o->parts, to = p->x->rows * (part + 1) / o->parts, outputs = o->outputs;
	size_t block_size = MMQ_LINEAR_BLOCK * (p->x->row_start != NULL ? 1 : o->cols);
	size_t temp_size = o->with_hessian ? MMQ_LINEAR_BLOCK * (o->wide + o->size + 1) : 0;
	double *block = mmq_array(block_size + MMQ_LINEAR_BLOCK * outputs + temp_size, sizeof(*block)), *z = block + block_size, loss = 0.0;
	double *gradient = o->part_gradient + part * o->size;
	for (size_t count; from < to; from += count) {
		count = to - from < MMQ_LINEAR_BLOCK ? to - from : MMQ_LINEAR_BLOCK;
		mmq_linear_forward(p->x, from, count, o->coef, o->intercept, outputs, block, z);
		for (size_t i = 0; i < count; i++)
			loss += mmq_linear_weight(p->weight, from + i) * softmax_row(z + i * outputs, outputs, (size_t)p->target[from + i]);
		if (o->with_hessian)
			add_softmax_hessian(o, from, count, z, z + MMQ_LINEAR_BLOCK * outputs, o->part_hessian + part * o->size * o->size);
		for (size_t i = 0; o->with_gradient && i < count; i++) {
			double weight = mmq_linear_weight(p->weight, from + i);
			z[i * outputs + (size_t)p->target[from + i]] -= 1.0;
			for (size_t k = 0; weight != 1.0 && k < outputs; k++)
				z[i * outputs + k] *= weight;
		}
		if (o->with_gradient)
			mmq_linear_backward(p->x, from, count, z, outputs, block, gradient, gradient + outputs * o->cols);
	}
	o->part_loss[part] = loss;
	o->part_weight[part] = p->weight_sum / (double)o->parts;
	free(block);
}

/* The Hessian of a block of float32 rows; scaled (MMQ_LINEAR_BLOCK, wide) and tile (wide, wide) are scratch. */
static void
add_single_hessian(const struct mmq_linear_objective *o, size_t first, size_t count, const double *curvature, float *scaled, double *hessian)
{
	const struct mmq_batch *x = o->p->x;
	size_t wide = o->wide;
	float *tile = scaled + MMQ_LINEAR_BLOCK * wide;
	float root[MMQ_LINEAR_BLOCK];
	for (size_t i = 0; i < count; i++) {
		root[i] = (float)sqrt(curvature[i]);
		scaled[i * wide + o->cols] = o->p->with_intercept ? root[i] : 0.0f;
	}
	mmq_linear_dense_scale((const float *)x->dense + first * x->stride, x->stride, count, o->cols, root, scaled, wide);
	mmq_ssyrk(true, wide, count, 1.0f, scaled, wide, 0.0f, tile, wide);
	for (size_t i = 0; i < wide; i++)
		for (size_t j = i; j < wide; j++)
			hessian[i * wide + j] += (double)tile[i * wide + j];
}

static double
weight_of(const struct mmq_linear_problem *p, size_t first, size_t count)
{
	double sum = 0.0;
	for (size_t i = 0; p->weight != NULL && i < count; i++)
		sum += (double)p->weight[first + i];
	return p->weight == NULL ? (double)count : sum;
}

/* One output: a block is read once for scores, gradient and, if its turn has come, curvature. */
static void
single_part(struct mmq_linear_objective *o, size_t part)
{
	const struct mmq_linear_problem *p = o->p;
	size_t from = p->x->rows * part / o->parts, to = p->x->rows * (part + 1) / o->parts, wide = o->wide;
	bool is_float = p->x->row_start == NULL && p->x->dtype == MMQ_F32 && !o->hessian_in_double;
	double *temp = o->with_hessian ? mmq_array((is_float ? 1 : 2) * (MMQ_LINEAR_BLOCK + wide) * wide, sizeof(*temp)) : NULL, *gradient = o->part_gradient + part * o->size;
	double z[MMQ_LINEAR_BLOCK], curvature[MMQ_LINEAR_BLOCK], loss = 0.0, *hessian = o->part_hessian + (o->with_hessian ? part * o->size * o->size : 0);
	size_t stride = o->with_hessian ? o->stride * o->hessian_stride : o->stride;
	for (size_t count, turn = 0; from < to; from += count, turn++) {
		count = to - from < MMQ_LINEAR_BLOCK ? to - from : MMQ_LINEAR_BLOCK;
		if (turn % stride != 0)
			continue;
		mmq_linear_scores(p->x, from, count, o->coef, o->intercept[0], z);
		loss += mmq_linear_loss_block(p, from, count, z, o->with_hessian ? curvature : NULL);
		o->part_weight[part] += weight_of(p, from, count);
		if (o->with_gradient) {
			mmq_linear_add_rows(p->x, from, count, z, gradient);
			gradient[o->cols] += mmq_linear_sum(z, count);
		}
		if (o->with_hessian && is_float) {
			add_single_hessian(o, from, count, curvature, (float *)temp, hessian);
		} else if (o->with_hessian) {
			load_wide(o, from, count, temp);
			add_product(temp, count, wide, curvature, temp + MMQ_LINEAR_BLOCK * wide, hessian, wide);
		}
	}
	o->part_loss[part] = loss;
	free(temp);
}

static void
evaluate_part(void *arg, size_t part, unsigned thread)
{
	struct mmq_linear_objective *o = arg;
	(void)thread;
	memset(o->part_gradient + part * o->size, 0, o->size * sizeof(double));
	if (o->with_hessian)
		memset(o->part_hessian + part * o->size * o->size, 0, o->size * o->size * sizeof(double));
	o->part_loss[part] = o->part_weight[part] = 0.0;
	if (o->p->loss == MMQ_LOSS_LOG && o->outputs > 1)
		softmax_part(o, part);
	else
		single_part(o, part);
}

/* theta taken apart and one pass over the rows. Returns the weight of those that were taken. */
static double
run(struct mmq_linear_objective *o, const double *theta, bool with_gradient)
{
	double taken = 0.0;
	o->with_gradient = with_gradient;
	o->with_hessian = !with_gradient;
	for (size_t k = 0; k < o->outputs; k++) {
		memcpy(o->coef + k * o->cols, theta + k * o->wide, o->cols * sizeof(*theta));
		o->intercept[k] = o->p->with_intercept ? theta[k * o->wide + o->cols] : 0.0;
	}
	mmq_pool_run(o->p->pool, o->parts, evaluate_part, o);
	for (size_t part = 0; part < o->parts; part++)
		taken += o->part_weight[part];
	return taken;
}

double
mmq_linear_evaluate(struct mmq_linear_objective *o, const double *theta, double *gradient)
{
	const struct mmq_linear_problem *p = o->p;
	double value = 0.0, taken = run(o, theta, true);
	o->share = o->stride > 1 ? taken / p->weight_sum : 1.0;
	for (size_t part = 0; part < o->parts; part++)
		value += o->part_loss[part];
	for (size_t k = 0; k < o->outputs; k++) {
		for (size_t j = 0; j < o->wide; j++) {
			size_t at = j < o->cols ? k * o->cols + j : o->outputs * o->cols + k, to = k * o->wide + j;
			double penalty = o->share * mmq_linear_l2_of(p, j);
			gradient[to] = 0.0;
			for (size_t part = 0; part < o->parts && (j < o->cols || p->with_intercept); part++)
				gradient[to] += o->part_gradient[part * o->size + at];
			gradient[to] += penalty * theta[to];
			value += 0.5 * penalty * theta[to] * theta[to];
		}
	}
	return value;
}

void
mmq_linear_curvature(struct mmq_linear_objective *o, const double *theta)
{
	double taken = run(o, theta, false), scale = o->share * o->p->weight_sum / taken;
	for (size_t part = 1; part < o->parts; part++)
		for (size_t i = 0; i < o->size * o->size; i++)
			o->hessian[i] += o->part_hessian[part * o->size * o->size + i];
	for (size_t i = 0; o->hessian_stride > 1 && i < o->size * o->size; i++)
		o->hessian[i] *= scale;
	for (size_t i = 0; i < o->size; i++)
		o->hessian[i * o->size + i] += o->share * mmq_linear_l2_of(o->p, i % o->wide);
}

void
mmq_linear_theta_get(const struct mmq_linear_problem *p, const struct mmq_linear_fit *fit, double *theta)
{
	for (size_t k = 0; k < p->outputs; k++) {
		memcpy(theta + k * (p->cols + 1), fit->coef + k * p->cols, p->cols * sizeof(*theta));
		theta[k * (p->cols + 1) + p->cols] = p->with_intercept ? fit->intercept[k] : 0.0;
	}
}

void
mmq_linear_theta_put(const struct mmq_linear_problem *p, const double *theta, struct mmq_linear_fit *fit)
{
	for (size_t k = 0; k < p->outputs; k++) {
		memcpy(fit->coef + k * p->cols, theta + k * (p->cols + 1), p->cols * sizeof(*theta));
		fit->intercept[k] = p->with_intercept ? theta[k * (p->cols + 1) + p->cols] : 0.0;
	}
}
