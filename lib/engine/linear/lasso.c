/* lasso.c: least squares with L1 and L2 penalties (lasso, elastic net) from the Gram matrix: coordinate descent with covariance updates
 * (Friedman, Hastie, Tibshirani 2010), so that rows are read twice however many sweeps follow. Stops when the duality gap is below tol sum s y_c^2,
 * as scikit-learn does. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/gram.h"
#include "util/mem.h"

enum { ACTIVE_SWEEPS = 10 };

struct lasso {
	struct mmq_linear_gram g;
	double *gram;        /* (cols, cols), without l2 */
	double *right, *q;   /* (cols): X^T S y_c; and that less gram b */
	double *b;           /* (cols) */
};

/* One sweep over the columns; with only_active over those that are not zero. Returns the largest move, in units of the gradient. */
static double
sweep(struct lasso *l, bool only_active)
{
	const struct mmq_linear_problem *p = l->g.p;
	size_t cols = l->g.cols;
	double moved = 0.0;
	for (size_t j = 0; j < cols; j++) {
		const double *row = l->gram + j * cols;
		double before = l->b[j], square = row[j], want;
		if ((only_active && before == 0.0) || !(square > 0.0))
			continue;
		want = l->q[j] + square * before;
		want = want > p->l1 ? (want - p->l1) / (square + p->l2) : want < -p->l1 ? (want + p->l1) / (square + p->l2) : 0.0;
		if (want == before)
			continue;
		l->b[j] = want;
		for (size_t k = 0; k < cols; k++)
			l->q[k] -= (want - before) * row[k];
		moved = fmax(moved, fabs(want - before) * (square + p->l2));
	}
	return moved;
}

int
mmq_linear_lasso(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	struct lasso l = { .b = out->coef };
	size_t cols = p->cols;
	int64_t iterations_max = 10 * p->iterations_max;
	double gap, objective, stop;
	bool goes_on;
	mmq_linear_gram_init(&l.g, p);
	l.gram = mmq_linear_gram_form(&l.g, 0.0);
	l.right = mmq_array(2 * cols, sizeof(double));
	l.q = l.right + cols;
	mmq_linear_gram_apply(&l.g, l.q, 1.0, 0.0, l.right);       /* q is zero */
	mmq_linear_gram_apply(&l.g, l.b, 1.0, 0.0, l.q);
	stop = p->tol * l.g.y_square;
	for (;;) {
		gap = mmq_linear_gram_gap(&l.g, cols, l.b, l.right, l.q, &objective);
		out->converged = gap <= stop;
		goes_on = mmq_linear_say(p, out->iterations, gap, "gap");
		if (!goes_on || out->converged || out->iterations >= iterations_max)
			break;
		double first = sweep(&l, false);
		for (int k = 0; k < ACTIVE_SWEEPS && sweep(&l, true) > 0.1 * first; k++)
			out->iterations++;
		out->iterations++;
	}
	out->intercept[0] = p->with_intercept ? mmq_linear_gram_intercept(&l.g, l.b) : 0.0;
	out->loss = objective / p->weight_sum;
	out->gap = objective > 0.0 ? gap / objective : 0.0;
	out->method = "covariance_descent";
	free(l.gram), free(l.right);
	mmq_linear_gram_fini(&l.g);
	return goes_on ? 0 : mmq_linear_cancelled(out->iterations, err);
}
