/* truncated.c: Newton's method with conjugate gradients for the directions, for smooth losses, L2 and more columns than a Hessian has room for:
 * products with the Hessian are taken from the rows. One output.
 *
 * As LIBLINEAR 2.50 (Galli and Lin 2021): the preconditioner is 0.99 + 0.01 diagonal, a direction is solved for until its quadratic model gains little
 * more; the step is halved until the objective falls enough. Scores are kept, so that a trial step costs no pass over the rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "util/mem.h"

enum { HALVINGS_MAX = 40, STEPS_MAX = 1000 };
enum work { SCORES, SLOPES, PRODUCT };

struct truncated {
	const struct mmq_linear_problem *p;
	size_t size, parts;              /* cols + 1 */
	enum work work;
	const double *vector;            /* (size): what rows are multiplied with */
	double *to;                      /* (rows): SCORES */
	double *z, *dz, *curvature;      /* (rows) */
	double *part_sum, *part_diagonal, *part_loss;   /* (parts, size), (parts, size), (parts) */
	double *theta, *gradient, *diagonal, *direction, *residual, *scaled, *product, *conjugate;   /* (size) */
	double value;
	int64_t iterations;
	bool is_cancelled;
};

/* diagonal += curvature x^2 of one row. */
static void
add_squares(const struct mmq_batch *x, size_t row, double curvature, double *diagonal)
{
	if (curvature == 0.0)
		return;
	if (x->row_start != NULL) {
		for (uint64_t e = x->row_start[row]; e < x->row_start[row + 1]; e++) {
			double value = x->dtype == MMQ_F32 ? (double)((const float *)x->value)[e] : ((const double *)x->value)[e];
			diagonal[x->col[e]] += curvature * value * value;
		}
		return;
	}
	for (size_t j = 0; j < x->cols; j++) {
		double value = mmq_linear_cell(x, row, j);
		diagonal[j] += curvature * value * value;
	}
}

static void
work_part(void *arg, size_t part, unsigned thread)
{
	struct truncated *t = arg;
	const struct mmq_linear_problem *p = t->p;
	size_t from = p->x->rows * part / t->parts, to = p->x->rows * (part + 1) / t->parts, cols = p->cols;
	double *sum = t->part_sum + part * t->size, *diagonal = t->part_diagonal + part * t->size, factor[MMQ_LINEAR_BLOCK];
	(void)thread;
	if (t->work != SCORES)
		memset(sum, 0, t->size * sizeof(*sum));
	if (t->work == SLOPES) {
		memset(diagonal, 0, t->size * sizeof(*diagonal));
		t->part_loss[part] = 0.0;
	}
	for (size_t count; from < to; from += count) {
		count = to - from < MMQ_LINEAR_BLOCK ? to - from : MMQ_LINEAR_BLOCK;
		if (t->work == SCORES) {
			mmq_linear_scores(p->x, from, count, t->vector, t->vector[cols], t->to + from);
			continue;
		}
		if (t->work == SLOPES) {
			memcpy(factor, t->z + from, count * sizeof(*factor));
			t->part_loss[part] += mmq_linear_loss_block(p, from, count, factor, t->curvature + from);
			for (size_t i = 0; i < count; i++) {
				add_squares(p->x, from + i, t->curvature[from + i], diagonal);
				diagonal[cols] += t->curvature[from + i];
			}
		} else {
			mmq_linear_scores(p->x, from, count, t->vector, t->vector[cols], factor);
			for (size_t i = 0; i < count; i++)
				factor[i] *= t->curvature[from + i];
		}
		mmq_linear_add_rows(p->x, from, count, factor, sum);
		for (size_t i = 0; i < count; i++)
			sum[cols] += factor[i];
	}
}

static void
run(struct truncated *t, enum work work, const double *vector, double *to)
{
	t->work = work;
	t->vector = vector;
	t->to = to;
	mmq_pool_run(t->p->pool, t->parts, work_part, t);
}

/* out = the parts' sums + l2 theta, the entry of an absent intercept zero. */
static void
collect(const struct truncated *t, const double *parts, const double *theta, double *out)
{
	for (size_t j = 0; j < t->size; j++) {
		out[j] = mmq_linear_l2_of(t->p, j) * theta[j];
		for (size_t k = 0; k < t->parts; k++)
			out[j] += parts[k * t->size + j];
	}
	out[t->p->cols] = t->p->with_intercept ? out[t->p->cols] : 0.0;
}

static double
penalty(const struct truncated *t, double step)
{
	double sum = 0.0;
	for (size_t j = 0; j < t->size; j++) {
		double value = t->theta[j] + (step != 0.0 ? step * t->direction[j] : 0.0);
		sum += 0.5 * mmq_linear_l2_of(t->p, j) * value * value;
	}
	return sum;
}

/* Value, gradient and preconditioner at theta, whose scores are in z. */
static void
look(struct truncated *t)
{
	run(t, SLOPES, t->theta, NULL);
	t->value = penalty(t, 0.0);
	for (size_t k = 0; k < t->parts; k++)
		t->value += t->part_loss[k];
	collect(t, t->part_sum, t->theta, t->gradient);
	for (size_t j = 0; j < t->size; j++) {
		double sum = mmq_linear_l2_of(t->p, j);
		for (size_t k = 0; k < t->parts; k++)
			sum += t->part_diagonal[k * t->size + j];
		t->diagonal[j] = 0.99 + 0.01 * sum;
	}
}

/* direction: about minus the Hessian's inverse times the gradient. */
static void
solve(struct truncated *t, size_t steps_max)
{
	double energy = 0.0, model = 0.0;
	for (size_t j = 0; j < t->size; j++) {
		t->direction[j] = 0.0;
		t->residual[j] = -t->gradient[j];
		t->conjugate[j] = t->scaled[j] = t->residual[j] / t->diagonal[j];
		energy += t->residual[j] * t->scaled[j];
	}
	double stop = fmin(0.1, sqrt(sqrt(energy) / (1.0 + t->p->weight_sum)));
	for (size_t k = 1; k <= steps_max && energy > 0.0; k++) {
		t->is_cancelled = !mmq_linear_say(t->p, t->iterations, t->value / t->p->weight_sum, "loss");
		if (t->is_cancelled)
			return;
		run(t, PRODUCT, t->conjugate, NULL);
		collect(t, t->part_sum, t->conjugate, t->product);
		double bend = mmq_linear_dot(t->conjugate, t->product, t->size);
		if (!(bend > 1e-16 * energy))
			return;
		double step = energy / bend, before = energy, model_before = model;
		energy = 0.0;
		for (size_t j = 0; j < t->size; j++) {
			t->direction[j] += step * t->conjugate[j];
			t->residual[j] -= step * t->product[j];
			t->scaled[j] = t->residual[j] / t->diagonal[j];
			energy += t->residual[j] * t->scaled[j];
		}
		/* The quadratic model's value; what this step gained of it, against the mean of all steps so far. */
		model = -0.5 * (mmq_linear_dot(t->direction, t->residual, t->size) - mmq_linear_dot(t->direction, t->gradient, t->size));
		if ((double)k * (model_before - model) <= stop * -model)
			return;
		for (size_t j = 0; j < t->size; j++)
			t->conjugate[j] = t->scaled[j] + energy / before * t->conjugate[j];
	}
}

/* theta and z move along direction. False: no step helps, as far as rounding shows. */
static bool
move(struct truncated *t)
{
	size_t rows = t->p->x->rows;
	double slope = mmq_linear_dot(t->direction, t->gradient, t->size), step = 1.0, *trial = t->curvature;
	run(t, SCORES, t->direction, t->dz);
	for (int halvings = 0; halvings < HALVINGS_MAX; halvings++, step *= 0.5) {
		for (size_t i = 0; i < rows; i++)
			trial[i] = t->z[i] + step * t->dz[i];
		double next = penalty(t, step) + mmq_linear_loss_value(t->p, 0, rows, trial);
		if (!(next <= t->value + 1e-2 * step * slope + 1e-14 * fabs(t->value)))
			continue;
		for (size_t j = 0; j < t->size; j++)
			t->theta[j] += step * t->direction[j];
		memcpy(t->z, trial, rows * sizeof(*trial));
		return next < t->value || step * step * -slope < 1e-14 * fabs(t->value);
	}
	return false;
}

int
mmq_linear_truncated(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	size_t size = p->cols + 1, rows = p->x->rows, parts = mmq_linear_parts(rows, 2 * size * sizeof(double));
	struct truncated t = { .p = p, .size = size, .parts = parts, .z = mmq_array(3 * rows, sizeof(double)),
		.part_sum = mmq_array(2 * parts * size, sizeof(double)), .part_loss = mmq_array(parts, sizeof(double)),
		.theta = mmq_array(8 * size, sizeof(double)) };
	double **const vectors[] = { &t.gradient, &t.diagonal, &t.direction, &t.residual, &t.scaled, &t.product, &t.conjugate };
	t.dz = t.z + rows;
	t.curvature = t.z + 2 * rows;
	t.part_diagonal = t.part_sum + parts * size;
	for (size_t k = 0; k < sizeof(vectors) / sizeof(vectors[0]); k++)
		*vectors[k] = t.theta + (k + 1) * size;
	mmq_linear_theta_get(p, out, t.theta);
	run(&t, SCORES, t.theta, t.z);
	for (;; t.iterations++) {
		look(&t);
		out->converged = mmq_linear_largest(t.gradient, size) <= p->tol * p->weight_sum;
		if (out->converged || t.iterations >= p->iterations_max)
			break;
		solve(&t, size < STEPS_MAX ? size : STEPS_MAX);
		if (t.is_cancelled || !move(&t))
			break;
	}
	mmq_linear_theta_put(p, t.theta, out);
	out->iterations += t.iterations;
	out->loss = t.value / p->weight_sum;
	out->method = "truncated_newton";
	free(t.z), free(t.part_sum), free(t.part_loss), free(t.theta);
	return t.is_cancelled ? mmq_linear_cancelled(out->iterations, err) : 0;
}
