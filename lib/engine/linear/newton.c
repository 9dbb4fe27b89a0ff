/* newton.c: Newton's method with step halving for smooth losses and few unknowns.
 *
 * Without L1 the direction is a Cholesky solve; with it, coordinate descent on the quadratic model plus the L1 norm (Friedman, Hastie, Tibshirani
 * 2010). Many rows: the start is the minimum over every so manieth block of rows, found from that over fewer, the first step from there takes the
 * sample's Hessian, and later ones take a share of the blocks as long as the gradient falls fast enough. Stops when the largest entry of the gradient (with L1: of its shortest subgradient), divided by the
 * sum of weights, is below tol; that test is always over all rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "util/mem.h"

enum { SMALL_ROWS = 1 << 13, LARGE_ROWS = 1 << 17, GROWTH = LARGE_ROWS / SMALL_ROWS, SHARE_ROWS = 1 << 16, SHARE_STRIDE = 4, HALVINGS_MAX = 40,
	SWEEPS_MAX = 1000 };

struct newton {
	struct mmq_linear_objective o;
	double *theta, *gradient, *direction, *trial, *product;   /* (size) each */
	double value, damping;
	double factor_share;         /* share of the weight whose Hessian's factor may serve for one more step; 0: none */
	int64_t iterations;
};

static double
l1_sum(const struct newton *n, const double *theta)
{
	double sum = 0.0;
	for (size_t i = 0; n->o.p->l1 > 0 && i < n->o.size; i++)
		sum += mmq_linear_l1_of(n->o.p, i % n->o.wide) * fabs(theta[i]);
	return n->o.share * sum;
}

/* Slope of least size at theta, entry i: what is left of the gradient after the best subgradient of the L1 norm. */
static double
least_slope(double gradient, double theta, double l1)
{
	if (theta != 0.0)
		return gradient + (theta > 0 ? l1 : -l1);
	return gradient > l1 ? gradient - l1 : gradient < -l1 ? gradient + l1 : 0.0;
}

static double
largest_slope(const struct newton *n)
{
	double top = 0.0;
	for (size_t i = 0; i < n->o.size; i++) {
		double slope = fabs(least_slope(n->gradient[i], n->theta[i], n->o.share * mmq_linear_l1_of(n->o.p, i % n->o.wide)));
		if (!(slope <= top))
			top = isnan(slope) ? INFINITY : slope;
	}
	return top;
}

/* A little on the diagonal where nothing else fixes a direction: the common shift of softmax intercepts, an absent intercept. */
static void
stiffen(struct newton *n)
{
	for (size_t i = 0; i < n->o.size; i++)
		n->o.hessian[i * n->o.size + i] += n->damping;
	mmq_linear_mirror(n->o.hessian, n->o.size);
}

/* direction = minimum of g d + d H d / 2 + sum l1 |theta + d|, coordinate by coordinate; product = H d. */
static void
model_descent(struct newton *n, double stop)
{
	size_t size = n->o.size;
	memset(n->direction, 0, size * sizeof(double));
	memset(n->product, 0, size * sizeof(double));
	for (int sweep = 0; sweep < SWEEPS_MAX; sweep++) {
		double moved = 0.0;
		for (size_t i = 0; i < size; i++) {
			const double *row = n->o.hessian + i * size;
			double l1 = n->o.share * mmq_linear_l1_of(n->o.p, i % n->o.wide), at = n->theta[i] + n->direction[i];
			double slope = n->gradient[i] + n->product[i], want = at - slope / row[i], soft = l1 / row[i];
			if (!(row[i] > 2.0 * n->damping))
				continue;
			want = want > soft ? want - soft : want < -soft ? want + soft : 0.0;
			double step = want - at;
			if (step == 0.0)
				continue;
			moved = fmax(moved, fabs(step) * row[i]);
			n->direction[i] += step;
			for (size_t j = 0; j < size; j++)
				n->product[j] += step * row[j];
		}
		if (moved <= stop)
			return;
	}
}

/* direction from the Hessian. Squares in float32 lose digits: where a pivot shows that, and where rounding took all that was positive, it is made again,
 * in double, then stiffer. False: not positive definite even so. */
static bool
find_factor(struct newton *n)
{
	for (;; n->damping *= 1e3) {
		mmq_linear_curvature(&n->o, n->theta);
		stiffen(n);
		double ratio = mmq_linear_cholesky(n->o.hessian, n->o.size);
		if (!(ratio > 1e-5) && !n->o.hessian_in_double) {
			n->o.hessian_in_double = true;
			n->damping *= 1e-3;
			continue;
		}
		if (ratio > 0.0)
			return true;
		if (n->damping > n->o.p->weight_sum)
			return false;
	}
}

/* False: there is none. The factor over a sample serves for the first step over all rows, where it is as good as a fresh one. */
static bool
find_direction(struct newton *n)
{
	if (n->o.p->l1 > 0) {
		mmq_linear_curvature(&n->o, n->theta);
		stiffen(n);
		model_descent(n, 0.05 * largest_slope(n));
		return true;
	}
	double share = n->o.share;
	if (n->factor_share > 0.0)
		share = n->factor_share;
	else if (!find_factor(n))
		return false;
	for (size_t i = 0; i < n->o.size; i++)
		n->direction[i] = -n->gradient[i] * share / n->o.share;
	mmq_linear_cholesky_solve(n->o.hessian, n->o.size, n->direction);
	n->factor_share = 0.0;
	return true;
}

/* theta moves along direction, with value and gradient of where it comes to. False: no step helps, as far as rounding shows. */
static bool
move(struct newton *n)
{
	double slope = l1_sum(n, n->theta), step = 1.0, next = INFINITY, noise = 1e-13 * fabs(n->value);
	for (size_t i = 0; i < n->o.size; i++) {
		n->trial[i] = n->theta[i] + n->direction[i];
		slope -= n->direction[i] * n->gradient[i];
	}
	slope = l1_sum(n, n->trial) - slope;         /* g d + l1 |theta + d| - l1 |theta| <= 0 */
	for (int halvings = 0; halvings < HALVINGS_MAX; halvings++, step *= 0.5) {
		for (size_t i = 0; i < n->o.size; i++)
			n->trial[i] = n->theta[i] + step * n->direction[i];
		next = mmq_linear_evaluate(&n->o, n->trial, n->gradient) + l1_sum(n, n->trial);
		if (next <= n->value + 1e-4 * step * slope + noise)
			break;
	}
	if (!(next <= n->value + noise))
		return false;
	memcpy(n->theta, n->trial, n->o.size * sizeof(double));
	n->value = next;
	return true;
}

/* 1: converged, 0: not, -1: cancelled. */
static int
descend(struct newton *n, double slope_max, int64_t iterations_max)
{
	double before = INFINITY;
	n->value = mmq_linear_evaluate(&n->o, n->theta, n->gradient) + l1_sum(n, n->theta);
	for (;; n->iterations++) {
		double slope = largest_slope(n);
		if (slope <= slope_max)
			return 1;
		if (n->iterations >= iterations_max)
			return 0;
		if (!mmq_linear_say(n->o.p, n->iterations, n->value / (n->o.share * n->o.p->weight_sum), "loss"))
			return -1;
		if (!(slope < 0.1 * before))         /* a sample of the curvature is not good enough any more */
			n->o.hessian_stride = 1;
		before = slope;
		if (!find_direction(n) || !move(n))
			return 0;
	}
}

/* The minimum over a sample of the rows is close to that over all; that over a sample of the sample is where to look for it. */
static int
start_from_samples(struct newton *n)
{
	const struct mmq_linear_problem *p = n->o.p;
	int rc = 1;
	for (size_t rows = SMALL_ROWS; rc != -1 && rows <= LARGE_ROWS && 2 * rows <= p->x->rows && n->o.outputs == 1; rows *= GROWTH) {
		int64_t before = n->iterations;
		n->factor_share = 0.0;
		n->o.stride = p->x->rows / rows;
		rc = descend(n, fmax(p->tol, 1e-3) * p->weight_sum / (double)n->o.stride, 20);
		n->factor_share = n->iterations > before ? n->o.share : 0.0;
	}
	n->o.stride = n->o.hessian_stride = 1;
	n->o.share = 1.0;
	return rc;
}

int
mmq_linear_newton(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	struct newton n = { .damping = 1e-10 * p->weight_sum };
	mmq_linear_objective_init(&n.o, p, true);
	n.theta = mmq_array(5 * n.o.size, sizeof(double));
	n.gradient = n.theta + n.o.size;
	n.direction = n.theta + 2 * n.o.size;
	n.trial = n.theta + 3 * n.o.size;
	n.product = n.theta + 4 * n.o.size;
	mmq_linear_theta_get(p, out, n.theta);
	int rc = out->is_warm ? 1 : start_from_samples(&n);
	if (p->x->rows >= SHARE_ROWS && p->outputs == 1)
		n.o.hessian_stride = SHARE_STRIDE;
	if (rc != -1)
		rc = descend(&n, p->tol * p->weight_sum, p->iterations_max);
	mmq_linear_theta_put(p, n.theta, out);
	out->converged = rc == 1;
	out->iterations += n.iterations;
	out->loss = n.value / p->weight_sum;
	out->method = "newton";
	free(n.theta);
	mmq_linear_objective_fini(&n.o);
	return rc == -1 ? mmq_linear_cancelled(out->iterations, err) : 0;
}
