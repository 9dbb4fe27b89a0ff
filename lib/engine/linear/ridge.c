/* ridge.c: least squares with an L2 penalty, the intercept unpenalised.
 *
 * Up to 2048 columns: Gram matrix of the centred rows, Cholesky. A pivot ratio below 1e-6 means that squaring cost too many digits:
 * then pivoted Cholesky and corrected semi-normal equations (Bjorck 1987): the residual is taken from the rows themselves and solved for
 * again. Wider: conjugate gradients on the same equations, which never form the matrix. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/gram.h"
#include "util/mem.h"

static void
solve_gram(struct mmq_linear_gram *g, struct mmq_linear_fit *out)
{
	size_t cols = g->cols, rank = cols;
	double l2 = g->p->l2, *gram = mmq_linear_gram_form(g, l2), *copy = mmq_array(cols * cols, sizeof(*copy)), *right = mmq_array(2 * cols, sizeof(*right));
	uint32_t *order = mmq_array(cols, sizeof(*order));
	memcpy(copy, gram, cols * cols * sizeof(*copy));
	bool is_easy = mmq_linear_cholesky(copy, cols) > 1e-6;
	if (!is_easy) {
		memcpy(copy, gram, cols * cols * sizeof(*copy));
		rank = mmq_linear_pivoted(copy, cols, order);
	}
	free(gram);
	memset(out->coef, 0, cols * sizeof(*out->coef));
	/* The first round starts from zero, so its residual is X^T y; the others correct what rounding took. */
	for (int round = 0; round < (is_easy ? 1 : 3); round++) {
		mmq_linear_gram_apply(g, out->coef, 1.0, l2, right);
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

/* Conjugate gradients (Hestenes and Stiefel 1952) until the residual is tol of X^T y. */
static bool
solve_gradients(struct mmq_linear_gram *g, struct mmq_linear_fit *out)
{
	const struct mmq_linear_problem *p = g->p;
	size_t cols = g->cols;
	int64_t iterations_max = 10 * p->iterations_max;
	double *r = mmq_array(3 * cols, sizeof(*r)), *direction = r + cols, *q = direction + cols;
	bool goes_on = true;
	mmq_linear_gram_apply(g, q, 1.0, 0.0, r);            /* q is zero */
	double stop = mmq_linear_dot(r, r, cols) * p->tol * p->tol;
	mmq_linear_gram_apply(g, out->coef, 1.0, p->l2, r);
	memcpy(direction, r, cols * sizeof(*direction));
	double square = mmq_linear_dot(r, r, cols);
	while (square > stop && out->iterations < iterations_max && (goes_on = mmq_linear_say(p, out->iterations, sqrt(square), "residual"))) {
		mmq_linear_gram_apply(g, direction, 0.0, p->l2, q);          /* minus A direction */
		double step = -square / mmq_linear_dot(direction, q, cols), before = square;
		for (size_t j = 0; j < cols; j++) {
			out->coef[j] += step * direction[j];
			r[j] += step * q[j];
		}
		square = mmq_linear_dot(r, r, cols);
		for (size_t j = 0; j < cols; j++)
			direction[j] = r[j] + square / before * direction[j];
		out->iterations++;
	}
	out->method = "conjugate_gradient";
	out->converged = square <= stop;
	free(r);
	return goes_on;
}

/* The objective's data part per weight: what describe shows. */
static double
mean_square(const struct mmq_linear_problem *p, const struct mmq_linear_fit *fit)
{
	double score[MMQ_LINEAR_BLOCK], sum = 0.0;
	for (size_t from = 0, count; from < p->x->rows; from += count) {
		count = p->x->rows - from < MMQ_LINEAR_BLOCK ? p->x->rows - from : MMQ_LINEAR_BLOCK;
		mmq_linear_scores(p->x, from, count, fit->coef, fit->intercept[0], score);
		sum += 2.0 * mmq_linear_loss_value(p, from, count, score);
	}
	return sum / p->weight_sum;
}

int
mmq_linear_ridge(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	struct mmq_linear_gram g;
	bool goes_on = mmq_linear_say(p, 0, NAN, "residual");
	if (!goes_on)
		return mmq_linear_cancelled(0, err);
	mmq_linear_gram_init(&g, p);
	if (p->cols <= MMQ_LINEAR_GRAM_COLS)
		solve_gram(&g, out);
	else
		goes_on = solve_gradients(&g, out);
	out->intercept[0] = mmq_linear_gram_intercept(&g, out->coef);
	out->loss = mean_square(p, out);
	mmq_linear_gram_fini(&g);
	return goes_on && mmq_linear_say(p, out->iterations, out->loss, "mse") ? 0 : mmq_linear_cancelled(out->iterations, err);
}
