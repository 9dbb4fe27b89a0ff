/* dual.c: dual coordinate descent for hinge and epsilon-insensitive losses, plain or squared, with L2 (Hsieh et al. 2008; Ho, Lin 2012). One output.
 *
 * Minimises |sum_i beta_i x_i|^2 / 2 + sum_i lambda_i beta_i^2 / 2 - t_i beta_i + epsilon |beta_i| over low_i <= beta_i <= high_i; then w = sum beta x. For
 * a hinge beta has the sign of t and epsilon is 0. A plain loss bounds |beta_i| by s_i / l2, a squared one has lambda_i = l2 / (2 s_i) instead.
 *
 * A penalised bias is one more column. The unpenalised intercept asks for sum beta = 0, which single coordinates cannot keep: it is the multiplier
 * of that constraint in an augmented Lagrangian (Hestenes 1969), so it is such a column too, whose centre moves to where the intercept came to.
 *
 * Epochs in random order over the coordinates that are not stuck at a bound. Stops when the duality gap is below tol times the objective. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "math/rng.h"
#include "util/mem.h"

enum { EPOCHS_PER_LOOK = 20, ROWS_PER_POLL = 1 << 14 };

struct dual {
	const struct mmq_linear_problem *p;
	bool is_hinge, is_squared;
	double *w, b;                /* (cols) */
	double centre, rho, sum;     /* b = centre + rho * sum of beta */
	double *beta, *square;       /* (rows); |x_i|^2 + rho */
	uint32_t *order;             /* (rows): the active ones first */
	size_t rows, active;
	double primal, gap;
	int64_t epochs;
};

static double
bound_of(const struct dual *d, size_t i)
{
	return d->is_squared ? INFINITY : mmq_linear_weight(d->p->weight, i) / d->p->l2;
}

static double
lambda_of(const struct dual *d, size_t i)
{
	return d->is_squared ? 0.5 * d->p->l2 / mmq_linear_weight(d->p->weight, i) : 0.0;
}

/* Slopes of the dual objective in beta_i to the right and, as it is, to the left. */
static void
slopes_at(const struct dual *d, double beta, double slope, double *right, double *left)
{
	double epsilon = d->is_hinge ? 0.0 : d->p->epsilon;
	*right = slope + (beta >= 0.0 ? epsilon : -epsilon);
	*left = slope + (beta > 0.0 ? epsilon : -epsilon);
}

/* Minimise over coordinate i. Returns how far it was from its optimum, as a slope; stuck_out: at a bound that it presses against by more than slack. */
static double
visit(struct dual *d, size_t i, double slack, bool *stuck_out)
{
	const struct mmq_linear_problem *p = d->p;
	double t = p->target[i], bound = bound_of(d, i), low = d->is_hinge && t > 0 ? 0.0 : -bound, high = d->is_hinge && t < 0 ? 0.0 : bound;
	double beta = d->beta[i], bend = d->square[i] + lambda_of(d, i), z, right, left, next;
	mmq_linear_scores(p->x, i, 1, d->w, d->b, &z);
	double slope = z + lambda_of(d, i) * beta - t;
	slopes_at(d, beta, slope, &right, &left);
	double up = beta < high ? -right : 0.0, down = beta > low ? left : 0.0, off = fmax(0.0, fmax(up, down));
	*stuck_out = (beta >= high || right > slack) && (beta <= low || left < -slack);
	if (!(off > 0.0) || !(bend > 0.0))
		return off;
	if (d->is_hinge) {
		next = beta - slope / bend;
	} else {                     /* the minimum of a parabola plus epsilon |beta| */
		double want = bend * beta - slope;
		next = want > p->epsilon ? (want - p->epsilon) / bend : want < -p->epsilon ? (want + p->epsilon) / bend : 0.0;
	}
	next = next < low ? low : next > high ? high : next;
	double step = next - beta;
	d->beta[i] = next;
	d->sum += step;
	d->b += d->rho * step;
	mmq_linear_add_rows(p->x, i, 1, &step, d->w);
	return off;
}

/* One epoch over the active coordinates; those that are stuck leave. Returns the largest distance from an optimum, negative when cancelled. */
static double
epoch(struct dual *d, double slack)
{
	struct mmq_rng rng = mmq_rng_stream(d->p->seed, 0x6475616cu, (uint64_t)d->epochs++);
	double top = 0.0;
	mmq_rng_shuffle(&rng, d->order, d->active);
	for (size_t k = 0; k < d->active;) {
		uint32_t i = d->order[k];
		bool is_stuck;
		double off = visit(d, i, slack, &is_stuck);
		top = off > top ? off : top;
		if ((k + 1) % ROWS_PER_POLL == 0 && !mmq_linear_say(d->p, d->epochs, d->gap, "gap"))
			return -1.0;
		if (is_stuck) {
			d->order[k] = d->order[--d->active];
			d->order[d->active] = i;
		} else {
			k++;
		}
	}
	return mmq_linear_say(d->p, d->epochs, d->gap, "gap") ? top : -1.0;
}

/* Primal objective at (w, b) and its distance from the dual one, both over l2. Where the intercept is free, sum beta is not quite zero: what the dual
 * value loses thereby is bounded for intercepts up to 2 |b| + 1. w and b are built anew from beta: steps leave rounding behind. */
static void
look(struct dual *d)
{
	const struct mmq_linear_problem *p = d->p;
	double dual = 0.0, loss = 0.0;
	memset(d->w, 0, p->cols * sizeof(*d->w));
	d->sum = 0.0;
	for (size_t i = 0; i < d->rows; i++) {
		double beta = d->beta[i];
		d->sum += beta;
		dual += p->target[i] * beta - (d->is_hinge ? 0.0 : p->epsilon) * fabs(beta) - 0.5 * lambda_of(d, i) * beta * beta;
		if (beta != 0.0)
			mmq_linear_add_rows(p->x, i, 1, &beta, d->w);
	}
	d->b = d->centre + d->rho * d->sum;
	for (size_t from = 0, count; from < d->rows; from += count) {
		double z[MMQ_LINEAR_BLOCK];
		count = d->rows - from < MMQ_LINEAR_BLOCK ? d->rows - from : MMQ_LINEAR_BLOCK;
		mmq_linear_scores(p->x, from, count, d->w, d->b, z);
		loss += mmq_linear_loss_value(p, from, count, z);
	}
	double square = mmq_linear_dot(d->w, d->w, p->cols), bias = p->bias > 0 ? d->rho * d->sum * d->sum : 0.0;
	d->primal = 0.5 * (square + bias) + loss / p->l2;
	d->gap = d->primal - (dual - 0.5 * (square + bias));
	if (p->with_intercept && !(p->bias > 0))
		d->gap += (2.0 * fabs(d->b) + 1.0) * fabs(d->sum);
}

/* Start from coefficients: at the optimum beta_i = -(s_i / l2) loss'(z_i). Kept if it is better than zero. */
static void
start(struct dual *d, const struct mmq_linear_fit *out)
{
	const struct mmq_linear_problem *p = d->p;
	look(d);
	double at_zero = d->primal - d->gap;
	if (!out->is_warm)
		return;
	for (size_t i = 0; i < d->rows; i++) {
		double z, t = p->target[i];
		mmq_linear_scores(p->x, i, 1, out->coef, out->intercept[0], &z);
		double over = d->is_hinge ? (t * z < 1.0 ? z - t : 0.0) : z - t > p->epsilon ? z - t - p->epsilon : z - t < -p->epsilon ? z - t + p->epsilon : 0.0;
		d->beta[i] = d->is_squared ? -over / lambda_of(d, i) : over > 0 ? -bound_of(d, i) : over < 0 ? bound_of(d, i) : 0.0;
	}
	d->centre = p->bias > 0 ? 0.0 : out->intercept[0];
	look(d);
	if (d->primal - d->gap > at_zero)
		return;
	memset(d->beta, 0, d->rows * sizeof(double));
	d->centre = 0.0;
	look(d);
}

static void
init(struct dual *d, const struct mmq_linear_problem *p, struct mmq_linear_fit *out)
{
	double sum = 0.0, *row = mmq_array(p->cols, sizeof(*row));
	*d = (struct dual){ .p = p, .rows = p->x->rows, .active = p->x->rows, .w = mmq_array(p->cols, sizeof(double)),
		.is_hinge = p->loss == MMQ_LOSS_HINGE || p->loss == MMQ_LOSS_SQUARED_HINGE,
		.is_squared = p->loss == MMQ_LOSS_SQUARED_HINGE || p->loss == MMQ_LOSS_SQUARED_EPSILON,
		.beta = mmq_array(2 * p->x->rows, sizeof(double)), .order = mmq_array(p->x->rows, sizeof(uint32_t)) };
	d->square = d->beta + d->rows;
	for (size_t i = 0; i < d->rows; i++) {
		d->order[i] = (uint32_t)i;
		if (p->x->row_start == NULL) {
			mmq_linear_load(p->x, i, 1, NULL, row, p->cols);
			d->square[i] = mmq_linear_dot(row, row, p->cols);
		}
		for (uint64_t e = p->x->row_start == NULL ? 1 : p->x->row_start[i]; e < (p->x->row_start == NULL ? 1 : p->x->row_start[i + 1]); e++) {
			double value = p->x->dtype == MMQ_F32 ? (double)((const float *)p->x->value)[e] : ((const double *)p->x->value)[e];
			d->square[i] += value * value;
		}
		sum += d->square[i];
	}
	d->rho = !p->with_intercept ? 0.0 : p->bias > 0 ? p->bias * p->bias : sum > 0.0 ? sum / (double)d->rows : 1.0;
	for (size_t i = 0; i < d->rows; i++)
		d->square[i] += d->rho;
	free(row);
	start(d, out);
}

int
mmq_linear_dual(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	struct dual d;
	int64_t epochs_max = 10 * p->iterations_max, looked = 0;
	double slack = INFINITY, inner = -1.0, off = 0.0;
	init(&d, p, out);
	double nothing = 1e-6 * d.primal;    /* a perfect fit has an objective of about zero */
	while (d.gap > p->tol * (d.primal + nothing) && d.epochs < epochs_max) {
		off = epoch(&d, slack);
		if (off < 0.0)
			break;
		inner = inner < 0.0 ? 0.1 * off : inner;
		slack = off > 0.0 ? off : INFINITY;
		if (off > inner && d.epochs - looked < EPOCHS_PER_LOOK && d.active > 0 && d.epochs < epochs_max)
			continue;
		if (off <= inner && d.active == d.rows)
			inner *= 0.3;
		looked = d.epochs;
		d.active = d.rows;
		slack = INFINITY;
		look(&d);
		if (!(p->bias > 0) && p->with_intercept) {
			d.centre = d.b;
			d.b += d.rho * d.sum;
		}
	}
	out->converged = d.gap <= p->tol * (d.primal + nothing);
	memcpy(out->coef, d.w, p->cols * sizeof(*out->coef));
	out->intercept[0] = p->with_intercept ? d.centre + (p->bias > 0 ? d.rho * d.sum : 0.0) : 0.0;
	out->iterations += d.epochs;
	out->loss = d.primal * p->l2 / p->weight_sum;
	out->gap = d.gap / (d.primal + nothing);
	out->method = "dual_coordinate_descent";
	free(d.w), free(d.beta), free(d.order);
	return off < 0.0 ? mmq_linear_cancelled(out->iterations, err) : 0;
}
