/* columns.c: smooth losses with an L1 penalty and many columns: proximal Newton, its quadratic models minimised column by column over the columns that
 * can move (newGLMNET: Yuan, Ho, Lin 2012). One output. The rows are turned into columns once.
 *
 * Stops as newton.c does; for the squared loss when the duality gap is below tol sum s y^2, as lasso.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "util/mem.h"

enum { SWEEPS_MAX = 100, HALVINGS_MAX = 40, TILE = 32 };

struct columns {
	const struct mmq_linear_problem *p;
	uint64_t *start;                 /* (cols + 1) */
	uint32_t *row;
	double *value;
	double *z, *dz, *slope, *curvature;   /* (rows) */
	double *theta, *step, *gradient, *square;   /* (cols + 1): the intercept last; square: diagonal of the model */
	uint32_t *active;
	size_t active_count;
	double objective;
	int64_t iterations;
	bool is_cancelled;
};

/* A few columns at a time, so that what is read and what is written stay near. */
static void
turn_dense(struct columns *c, const struct mmq_batch *x)
{
	uint64_t stored = 0;
	c->row = mmq_array(x->rows * x->cols + 1, sizeof(*c->row));
	c->value = mmq_array(x->rows * x->cols + 1, sizeof(*c->value));
	for (size_t from = 0, count; from < x->cols; from += count) {
		uint64_t to[TILE] = { 0 };
		count = x->cols - from < TILE ? x->cols - from : TILE;
		for (size_t r = 0; r < x->rows; r++)
			for (size_t j = 0; j < count; j++)
				to[j] += mmq_linear_cell(x, r, from + j) != 0.0;
		for (size_t j = 0; j < count; j++) {
			uint64_t some = to[j];
			c->start[from + j] = to[j] = stored;
			stored += some;
		}
		for (size_t r = 0; r < x->rows; r++) {
			for (size_t j = 0; j < count; j++) {
				double value = mmq_linear_cell(x, r, from + j);
				if (value == 0.0)
					continue;
				c->row[to[j]] = (uint32_t)r;
				c->value[to[j]++] = value;
			}
		}
	}
	c->start[x->cols] = stored;
}

static void
turn_sparse(struct columns *c, const struct mmq_batch *x)
{
	for (uint64_t e = 0; e < x->row_start[x->rows]; e++)
		c->start[x->col[e] + 1]++;
	for (size_t j = 0; j < x->cols; j++)
		c->start[j + 1] += c->start[j];
	c->row = mmq_array(c->start[x->cols] + 1, sizeof(*c->row));
	c->value = mmq_array(c->start[x->cols] + 1, sizeof(*c->value));
	for (size_t r = 0; r < x->rows; r++) {
		for (uint64_t e = x->row_start[r]; e < x->row_start[r + 1]; e++) {
			uint64_t at = c->start[x->col[e]]++;
			c->row[at] = (uint32_t)r;
			c->value[at] = x->dtype == MMQ_F32 ? (double)((const float *)x->value)[e] : ((const double *)x->value)[e];
		}
	}
	memmove(c->start + 1, c->start, x->cols * sizeof(*c->start));   /* each had moved on to the next one's start */
	c->start[0] = 0;
}

static void
slope_column(void *arg, size_t j, unsigned thread)
{
	struct columns *c = arg;
	double sum = 0.0, square = 0.0;
	(void)thread;
	for (uint64_t e = c->start[j]; e < c->start[j + 1]; e++) {
		double value = c->value[e];
		sum += c->slope[c->row[e]] * value;
		square += c->curvature[c->row[e]] * value * value;
	}
	c->gradient[j] = sum + c->p->l2 * c->theta[j];
	c->square[j] = square + c->p->l2;
}

static double
least_slope(double gradient, double theta, double l1)
{
	if (theta != 0.0)
		return gradient + (theta > 0 ? l1 : -l1);
	return gradient > l1 ? gradient - l1 : gradient < -l1 ? gradient + l1 : 0.0;
}

static double
penalty(const struct columns *c, double step)
{
	double sum = 0.0;
	for (size_t j = 0; j <= c->p->cols; j++) {
		double value = c->theta[j] + step * c->step[j];
		if (value != 0.0)
			sum += mmq_linear_l1_of(c->p, j) * fabs(value) + 0.5 * mmq_linear_l2_of(c->p, j) * value * value;
	}
	return sum;
}

/* Objective, slopes and diagonal at theta, whose scores are in z; and which columns can move. Returns the largest least slope. */
static double
look(struct columns *c)
{
	const struct mmq_linear_problem *p = c->p;
	size_t cols = p->cols;
	double top = 0.0, sum = 0.0, square = 0.0;
	c->objective = penalty(c, 0.0);
	memcpy(c->slope, c->z, p->x->rows * sizeof(double));
	for (size_t from = 0, count; from < p->x->rows; from += count) {
		count = p->x->rows - from < MMQ_LINEAR_BLOCK ? p->x->rows - from : MMQ_LINEAR_BLOCK;
		c->objective += mmq_linear_loss_block(p, from, count, c->slope + from, c->curvature + from);
	}
	for (size_t i = 0; i < p->x->rows; i++) {
		sum += c->slope[i];
		square += c->curvature[i];
	}
	mmq_pool_run(p->pool, cols, slope_column, c);
	c->gradient[cols] = p->with_intercept ? sum + mmq_linear_l2_of(p, cols) * c->theta[cols] : 0.0;
	c->square[cols] = p->with_intercept ? square + mmq_linear_l2_of(p, cols) : 0.0;
	c->active_count = 0;
	for (size_t j = 0; j <= cols; j++) {
		double slope = fabs(least_slope(c->gradient[j], c->theta[j], mmq_linear_l1_of(p, j)));
		if (!(slope <= top))
			top = isnan(slope) ? INFINITY : slope;
		if (j < cols && (c->theta[j] != 0.0 || slope > 0.0) && c->square[j] > 0.0)
			c->active[c->active_count++] = (uint32_t)j;
	}
	return top;
}

/* Move one unknown to the minimum of the model; slope: the model's, without dz's part. Returns the move. */
static double
soft_step(struct columns *c, size_t j, double model_slope)
{
	double at = c->theta[j] + c->step[j], square = c->square[j] + 1e-12, want = at - model_slope / square, soft = mmq_linear_l1_of(c->p, j) / square;
	want = want > soft ? want - soft : want < -soft ? want + soft : 0.0;
	c->step[j] += want - at;
	return want - at;
}

/* The model's minimum over the active columns and the intercept into step and dz. */
static void
descend(struct columns *c, double stop)
{
	const struct mmq_linear_problem *p = c->p;
	size_t rows = p->x->rows, cols = p->cols;
	memset(c->step, 0, (cols + 1) * sizeof(double));
	memset(c->dz, 0, rows * sizeof(double));
	for (int sweep = 0; sweep < SWEEPS_MAX; sweep++) {
		double moved = 0.0, bend = 0.0;
		c->is_cancelled = !mmq_linear_say(p, c->iterations, c->objective / p->weight_sum, "loss");
		if (c->is_cancelled)
			return;
		for (size_t k = 0; k < c->active_count; k++) {
			size_t j = c->active[k];
			double sum = 0.0;
			for (uint64_t e = c->start[j]; e < c->start[j + 1]; e++)
				sum += c->curvature[c->row[e]] * c->dz[c->row[e]] * c->value[e];
			double move = soft_step(c, j, c->gradient[j] + sum + p->l2 * c->step[j]);
			if (move == 0.0)
				continue;
			for (uint64_t e = c->start[j]; e < c->start[j + 1]; e++)
				c->dz[c->row[e]] += move * c->value[e];
			moved = fmax(moved, fabs(move) * c->square[j]);
		}
		for (size_t i = 0; p->with_intercept && i < rows; i++)
			bend += c->curvature[i] * c->dz[i];
		double move = p->with_intercept && c->square[cols] > 0.0 ?
		    soft_step(c, cols, c->gradient[cols] + bend + mmq_linear_l2_of(p, cols) * c->step[cols]) : 0.0;
		for (size_t i = 0; move != 0.0 && i < rows; i++)
			c->dz[i] += move;
		if (fmax(moved, fabs(move) * c->square[cols]) <= stop)
			return;
	}
}

/* Take the step, or a half, a quarter, ... of it. False: none helps. */
static bool
move(struct columns *c)
{
	size_t rows = c->p->x->rows;
	double slope = penalty(c, 1.0) - penalty(c, 0.0), step = 1.0, *trial = c->slope;
	for (size_t j = 0; j <= c->p->cols; j++)       /* the L2 part is in the gradient and in the penalty: count it once */
		slope += c->step[j] * (c->gradient[j] - mmq_linear_l2_of(c->p, j) * c->theta[j]);
	for (int halvings = 0; halvings < HALVINGS_MAX; halvings++, step *= 0.5) {
		for (size_t i = 0; i < rows; i++)
			trial[i] = c->z[i] + step * c->dz[i];
		double next = penalty(c, step) + mmq_linear_loss_value(c->p, 0, rows, trial);
		if (!(next <= c->objective + 1e-3 * step * slope + 1e-14 * fabs(c->objective)))
			continue;
		for (size_t j = 0; j <= c->p->cols; j++)
			c->theta[j] += step * c->step[j];
		memcpy(c->z, trial, rows * sizeof(*trial));
		return true;
	}
	return false;
}

/* Squared loss: objective less the dual value of the residual, scaled until no column's product is above l1 (gram.c). What a residual whose sum is not
 * zero loses by a free intercept is bounded as in dual.c. */
static double
gap_of(const struct columns *c, double *y_square_out)
{
	const struct mmq_linear_problem *p = c->p;
	double top = 0.0, with_y = 0.0, square = p->l2 * mmq_linear_dot(c->theta, c->theta, p->cols), y_square = 0.0;
	for (size_t j = 0; j < p->cols; j++)
		top = fmax(top, fabs(c->gradient[j]));
	for (size_t i = 0; i < p->x->rows; i++) {
		double s = mmq_linear_weight(p->weight, i), y = p->target[i] - c->theta[p->cols];
		with_y -= y * c->slope[i];
		square += c->slope[i] * c->slope[i] / s;
		y_square += s * y * y;
	}
	double scale = top > p->l1 ? p->l1 / top : 1.0;
	*y_square_out = y_square;
	return c->objective - (scale * with_y - 0.5 * scale * scale * square) + (2.0 * fabs(c->theta[p->cols]) + 1.0) * fabs(c->gradient[p->cols]);
}

int
mmq_linear_columns(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	size_t size = p->cols + 1, rows = p->x->rows;
	struct columns c = { .p = p, .z = mmq_array(4 * rows, sizeof(double)), .theta = mmq_array(4 * size, sizeof(double)),
		.active = mmq_array(size, sizeof(uint32_t)) };
	bool is_lasso = p->loss == MMQ_LOSS_SQUARED && p->bias == 0.0;
	double inner = 0.1;
	c.dz = c.z + rows;
	c.slope = c.z + 2 * rows;
	c.curvature = c.z + 3 * rows;
	c.step = c.theta + size;
	c.gradient = c.theta + 2 * size;
	c.square = c.theta + 3 * size;
	c.start = mmq_array(p->cols + 2, sizeof(*c.start));
	if (p->x->row_start == NULL)
		turn_dense(&c, p->x);
	else
		turn_sparse(&c, p->x);
	mmq_linear_theta_get(p, out, c.theta);
	mmq_linear_scores(p->x, 0, rows, c.theta, c.theta[p->cols], c.z);
	for (;; c.iterations++) {
		double slope = look(&c), y_square = 0.0, gap = is_lasso ? gap_of(&c, &y_square) : NAN;
		out->converged = is_lasso ? gap <= p->tol * y_square : slope <= p->tol * p->weight_sum;
		out->gap = c.objective > 0.0 ? gap / c.objective : 0.0;
		if (out->converged || c.iterations >= p->iterations_max)
			break;
		descend(&c, inner * slope);
		inner = fmax(1e-4, 0.5 * inner);
		if (c.is_cancelled || !move(&c))
			break;
	}
	mmq_linear_theta_put(p, c.theta, out);
	out->iterations += c.iterations;
	out->loss = c.objective / p->weight_sum;
	out->method = "proximal_newton";
	free(c.start), free(c.row), free(c.value), free(c.z), free(c.theta), free(c.active);
	return c.is_cancelled ? mmq_linear_cancelled(out->iterations, err) : 0;
}
