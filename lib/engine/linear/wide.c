/* wide.c: least squares with L1 and L2 penalties over dense rows of many columns: coordinate descent within a working set of columns, which grows to
 * hold all that can move (as Massias, Gramfort, Salmon 2018). The rows are read a few times, and once more for each set, whose columns are
 * copied, centred and weighted. Stops as lasso.c does. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/gram.h"
#include "util/mem.h"

enum { SET_MIN = 256, SWEEPS_MAX = 200, ACTIVE_SWEEPS = 10, TILE = 16 };

struct candidate {
	double slope;
	uint32_t col;
};

struct wide {
	struct mmq_linear_gram g;
	double *b, *right, *q;       /* (cols): X^T S y_c; and that less X^T S X b */
	struct candidate *candidates;
	uint32_t *set;               /* (set_size) columns, ascending in slope */
	size_t set_size;
	double *columns;             /* (set_size, rows) */
	double *residual;            /* (rows), weighted as the columns are */
	double *set_b, *set_right, *set_q, *square;   /* (set_size) */
	bool is_cancelled;
	int64_t sweeps;
};

static int
by_slope(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	return x->slope != y->slope ? (x->slope < y->slope) - (x->slope > y->slope) : (x->col > y->col) - (x->col < y->col);
}

/* All columns in use, and as many again of those with the steepest slopes. */
static void
choose(struct wide *w)
{
	size_t used = 0, found = 0, cols = w->g.cols;
	double l1 = w->g.p->l1;
	for (size_t j = 0; j < cols; j++) {
		double slope = w->b[j] != 0.0 ? INFINITY : fabs(w->q[j]);
		used += w->b[j] != 0.0;
		if (slope > l1)
			w->candidates[found++] = (struct candidate){ slope, (uint32_t)j };
	}
	qsort(w->candidates, found, sizeof(*w->candidates), by_slope);
	w->set_size = 2 * used > SET_MIN ? 2 * used : SET_MIN;
	w->set_size = w->set_size < found ? w->set_size : found;
	for (size_t k = 0; k < w->set_size; k++)
		w->set[k] = w->candidates[k].col;
}

/* A few columns of the set; rows outside, so that their cells are near. */
static void
copy_tile(void *arg, size_t tile, unsigned thread)
{
	struct wide *w = arg;
	const struct mmq_linear_problem *p = w->g.p;
	size_t from = tile * TILE, to = from + TILE < w->set_size ? from + TILE : w->set_size, rows = p->x->rows;
	(void)thread;
	for (size_t r = 0; r < rows; r++) {
		double root = sqrt(mmq_linear_weight(p->weight, r));
		for (size_t k = from; k < to; k++)
			w->columns[k * rows + r] = root * (mmq_linear_cell(p->x, r, w->set[k]) - w->g.mean[w->set[k]]);
	}
	for (size_t k = from; k < to; k++)
		w->square[k] = mmq_linear_dot(w->columns + k * rows, w->columns + k * rows, rows);
}

static void
open_set(struct wide *w)
{
	const struct mmq_linear_problem *p = w->g.p;
	size_t rows = p->x->rows;
	w->columns = mmq_array(w->set_size * rows, sizeof(double));
	w->set_b = mmq_array(4 * w->set_size, sizeof(double));
	w->set_right = w->set_b + w->set_size;
	w->set_q = w->set_right + w->set_size;
	w->square = w->set_q + w->set_size;
	mmq_pool_run(p->pool, (w->set_size + TILE - 1) / TILE, copy_tile, w);
	for (size_t r = 0; r < rows; r++)
		w->residual[r] = sqrt(mmq_linear_weight(p->weight, r)) * (p->target[r] - w->g.y_mean);
	for (size_t k = 0; k < w->set_size; k++) {
		w->set_b[k] = w->b[w->set[k]];
		w->set_right[k] = w->right[w->set[k]];
		if (w->set_b[k] != 0.0)
			mmq_linear_add(w->residual, w->columns + k * rows, -w->set_b[k], rows);
	}
}

static void
close_set(struct wide *w)
{
	for (size_t k = 0; k < w->set_size; k++)
		w->b[w->set[k]] = w->set_b[k];
	free(w->columns), free(w->set_b);
}

/* One sweep over the set, or those of it in use; slopes as they were found go to set_q. Returns the largest move, in units of the gradient. */
static double
sweep(struct wide *w, bool only_used)
{
	const struct mmq_linear_problem *p = w->g.p;
	size_t rows = p->x->rows;
	double moved = 0.0;
	w->sweeps++;
	for (size_t k = 0; k < w->set_size; k++) {
		const double *column = w->columns + k * rows;
		double before = w->set_b[k], square = w->square[k];
		if ((only_used && before == 0.0) || !(square > 0.0))
			continue;
		w->set_q[k] = mmq_linear_dot(column, w->residual, rows);
		double want = w->set_q[k] + square * before, over = fabs(want) - p->l1;
		want = over > 0.0 ? copysign(over, want) / (square + p->l2) : 0.0;
		if (want == before)
			continue;
		w->set_b[k] = want;
		mmq_linear_add(w->residual, column, before - want, rows);
		moved = fmax(moved, fabs(want - before) * (square + p->l2));
	}
	return moved;
}

/* Until the gap within the set is below stop. */
static void
descend(struct wide *w, double stop)
{
	const struct mmq_linear_problem *p = w->g.p;
	double objective, gap = INFINITY;
	for (int k = 0; k < SWEEPS_MAX && gap > stop; k++) {
		double first = sweep(w, false);
		for (int more = 0; more < ACTIVE_SWEEPS && sweep(w, true) > 0.1 * first; more++)
			continue;
		for (size_t c = 0; c < w->set_size; c++)
			w->set_q[c] = mmq_linear_dot(w->columns + c * p->x->rows, w->residual, p->x->rows);
		gap = mmq_linear_gram_gap(&w->g, w->set_size, w->set_b, w->set_right, w->set_q, &objective);
		w->is_cancelled = !mmq_linear_say(p, w->sweeps, gap, "gap");
		if (w->is_cancelled)
			return;
	}
}

int
mmq_linear_wide(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	struct wide w = { .b = out->coef, .candidates = mmq_array(p->cols, sizeof(struct candidate)), .set = mmq_array(p->cols, sizeof(uint32_t)),
		.right = mmq_array(2 * p->cols, sizeof(double)), .residual = mmq_array(p->x->rows, sizeof(double)) };
	double gap, objective;
	w.q = w.right + p->cols;
	mmq_linear_gram_init(&w.g, p);
	mmq_linear_gram_apply(&w.g, w.q, 1.0, 0.0, w.right);       /* q is zero */
	memcpy(w.q, w.right, p->cols * sizeof(*w.q));
	if (out->is_warm)
		mmq_linear_gram_apply(&w.g, w.b, 1.0, 0.0, w.q);
	for (;;) {
		gap = mmq_linear_gram_gap(&w.g, p->cols, w.b, w.right, w.q, &objective);
		out->converged = gap <= p->tol * w.g.y_square;
		w.is_cancelled = !mmq_linear_say(p, w.sweeps, gap, "gap");
		if (w.is_cancelled || out->converged || w.sweeps >= 10 * p->iterations_max)
			break;
		choose(&w);
		open_set(&w);
		descend(&w, fmax(0.3 * p->tol * w.g.y_square, 0.03 * gap));
		close_set(&w);
		mmq_linear_gram_apply(&w.g, w.b, 1.0, 0.0, w.q);
	}
	out->iterations += w.sweeps;
	out->intercept[0] = p->with_intercept ? mmq_linear_gram_intercept(&w.g, w.b) : 0.0;
	out->loss = objective / p->weight_sum;
	out->gap = objective > 0.0 ? gap / objective : 0.0;
	out->method = "working_sets";
	mmq_linear_gram_fini(&w.g);
	free(w.candidates), free(w.set), free(w.right), free(w.residual);
	return w.is_cancelled ? mmq_linear_cancelled(out->iterations, err) : 0;
}
