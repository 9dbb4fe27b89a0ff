/* smooth.c: hinge and epsilon losses over tall rows with few columns, where dual coordinates creep: Newton on smoothed losses.
 *
 * max(0, v) becomes mu log(1 + exp(v / mu)), which is above it by mu log 2 at the most and has a Hessian; mu falls stage by stage, each starting at the
 * end of the one before. The smoothed slopes are a point of the dual problem (dual.c), so the plain problem's duality gap says when it is enough. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "util/mem.h"

enum { STAGES_MAX = 40 };

/* Gap at fit's coefficients over the objective, which goes to primal_out (over l2). What a sum of beta that is not zero loses is bounded as in dual.c. */
static double
gap_of(const struct mmq_linear_problem *p, const struct mmq_linear_problem *smoothed, const struct mmq_linear_fit *fit, double *primal_out)
{
	double *sum_rows = mmq_array(p->cols, sizeof(*sum_rows)), loss = 0.0, dual = 0.0, sum = 0.0, b = fit->intercept[0], z[MMQ_LINEAR_BLOCK];
	for (size_t from = 0, count; from < p->x->rows; from += count) {
		count = p->x->rows - from < MMQ_LINEAR_BLOCK ? p->x->rows - from : MMQ_LINEAR_BLOCK;
		mmq_linear_scores(p->x, from, count, fit->coef, b, z);
		loss += mmq_linear_loss_value(p, from, count, z);
		mmq_linear_loss_block(smoothed, from, count, z, NULL);
		for (size_t i = 0; i < count; i++) {
			z[i] /= -p->l2;              /* beta */
			sum += z[i];
			dual += p->target[from + i] * z[i] - (p->loss == MMQ_LOSS_EPSILON ? p->epsilon * fabs(z[i]) : 0.0);
		}
		mmq_linear_add_rows(p->x, from, count, z, sum_rows);
	}
	double bias = p->bias * p->bias;
	dual -= 0.5 * (mmq_linear_dot(sum_rows, sum_rows, p->cols) + bias * sum * sum);
	*primal_out = 0.5 * (mmq_linear_dot(fit->coef, fit->coef, p->cols) + (p->bias > 0 ? b * b / bias : 0.0)) + loss / p->l2;
	free(sum_rows);
	return *primal_out - dual + (p->with_intercept && !(p->bias > 0) ? (2.0 * fabs(b) + 1.0) * fabs(sum) : 0.0);
}

int
mmq_linear_smoothed(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	struct mmq_linear_problem smoothed = *p;
	double primal, gap;
	int rc = 0;
	smoothed.tol = 0.02 * p->tol;
	smoothed.smoothing = 1.0;
	gap = gap_of(p, &smoothed, out, &primal);
	double nothing = 1e-6 * primal;              /* a perfect fit has an objective of about zero */
	smoothed.smoothing = primal * p->l2 / p->weight_sum;
	for (int stage = 0; stage < STAGES_MAX && smoothed.smoothing > 0.0; stage++, smoothed.smoothing *= 0.3) {
		rc = mmq_linear_newton(out, &smoothed, err);
		gap = gap_of(p, &smoothed, out, &primal);
		out->is_warm = true;
		if (rc == -1 || gap <= p->tol * (primal + nothing) || out->iterations >= 10 * p->iterations_max)
			break;
	}
	out->converged = gap <= p->tol * (primal + nothing);
	out->loss = primal * p->l2 / p->weight_sum;
	out->gap = gap / (primal + nothing);
	out->method = "smoothed_newton";
	return rc;
}
