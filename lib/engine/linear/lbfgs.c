/* lbfgs.c: limited-memory BFGS (Liu and Nocedal 1989) with ten pairs and a bisecting weak Wolfe search (Lewis and Overton 2013). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "util/mem.h"

enum { PAIRS = 10, SEARCH_MAX = 40 };

struct memory {
	size_t size, count, next;
	double *s, *y, rho[PAIRS];           /* (PAIRS, size): steps and changes of the gradient */
};

/* direction (size): gradient in, descent direction out (two loops). */
static void
turn(const struct memory *m, double *direction)
{
	double alpha[PAIRS], scale = 1.0;
	for (size_t k = 0; k < m->count; k++) {
		size_t at = (m->next + PAIRS - 1 - k) % PAIRS;
		alpha[at] = m->rho[at] * mmq_linear_dot(m->s + at * m->size, direction, m->size);
		mmq_linear_add(direction, m->y + at * m->size, -alpha[at], m->size);
	}
	if (m->count > 0) {
		size_t last = (m->next + PAIRS - 1) % PAIRS;
		const double *y = m->y + last * m->size;
		scale = 1.0 / (m->rho[last] * mmq_linear_dot(y, y, m->size));
	}
	for (size_t i = 0; i < m->size; i++)
		direction[i] *= scale;
	for (size_t k = m->count; k-- > 0;) {
		size_t at = (m->next + PAIRS - 1 - k) % PAIRS;
		double beta = m->rho[at] * mmq_linear_dot(m->y + at * m->size, direction, m->size);
		mmq_linear_add(direction, m->s + at * m->size, alpha[at] - beta, m->size);
	}
	for (size_t i = 0; i < m->size; i++)
		direction[i] = -direction[i];
}

/* Keep the pair if its curvature is positive. */
static void
keep(struct memory *m, const double *theta, const double *before, const double *gradient, const double *gradient_before)
{
	double *s = m->s + m->next * m->size, *y = m->y + m->next * m->size;
	for (size_t i = 0; i < m->size; i++) {
		s[i] = theta[i] - before[i];
		y[i] = gradient[i] - gradient_before[i];
	}
	double curvature = mmq_linear_dot(s, y, m->size);
	if (curvature <= 1e-14 * mmq_linear_dot(y, y, m->size))
		return;
	m->rho[m->next] = 1.0 / curvature;
	m->next = (m->next + 1) % PAIRS;
	m->count += m->count < PAIRS;
}

/* Move theta along direction from before; false when no step lowers the value. */
static bool
search(struct mmq_linear_objective *objective, double *theta, const double *before, const double *direction, size_t size, double step,
    double *value, double *gradient, double slope)
{
	double low = 0.0, high = INFINITY, start = *value;
	for (int k = 0; k < SEARCH_MAX; k++) {
		for (size_t i = 0; i < size; i++)
			theta[i] = before[i] + step * direction[i];
		*value = mmq_linear_evaluate(objective, theta, gradient);
		if (!(*value <= start + 1e-4 * step * slope))
			high = step;
		else if (mmq_linear_dot(gradient, direction, size) < 0.9 * slope)
			low = step;
		else
			return true;
		step = isfinite(high) ? 0.5 * (low + high) : 2.0 * low;
	}
	return *value < start;
}

int
mmq_linear_lbfgs(struct mmq_linear_fit *out, const struct mmq_linear_problem *p, struct mmq_err *err)
{
	struct mmq_linear_objective o;
	mmq_linear_objective_init(&o, p, false);
	size_t size = o.size;
	struct memory m = { .size = size, .s = mmq_array(2 * PAIRS * size, sizeof(double)) };
	double *work = mmq_array(5 * size, sizeof(*work)), *theta = work, *gradient = work + size, *direction = work + 2 * size;
	double *before = work + 3 * size, *gradient_before = work + 4 * size, slope_max = p->tol * p->weight_sum;
	bool is_cancelled = false;

	m.y = m.s + PAIRS * size;
	mmq_linear_theta_get(p, out, theta);
	double value = mmq_linear_evaluate(&o, theta, gradient);
	while (mmq_linear_largest(gradient, size) > slope_max && out->iterations < p->iterations_max) {
		is_cancelled = !mmq_linear_say(p, out->iterations, value / p->weight_sum, "loss");
		if (is_cancelled)
			break;
		memcpy(before, theta, size * sizeof(*theta));
		memcpy(gradient_before, gradient, size * sizeof(*gradient));
		memcpy(direction, gradient, size * sizeof(*gradient));
		turn(&m, direction);
		double slope = mmq_linear_dot(gradient, direction, size);
		double step = m.count == 0 ? 1.0 / sqrt(-slope) : 1.0;
		if (!search(&o, theta, before, direction, size, step, &value, gradient, slope)) {
			memcpy(theta, before, size * sizeof(*theta));
			value = mmq_linear_evaluate(&o, theta, gradient);
			break;       /* no step helps: as far as rounding lets us */
		}
		keep(&m, theta, before, gradient, gradient_before);
		out->iterations++;
	}
	mmq_linear_theta_put(p, theta, out);
	out->converged = mmq_linear_largest(gradient, size) <= slope_max;
	out->loss = value / p->weight_sum;
	out->method = "lbfgs";
	free(m.s);
	free(work);
	mmq_linear_objective_fini(&o);
	return is_cancelled ? mmq_linear_cancelled(out->iterations, err) : 0;
}
