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

static double
dot(const double *x, const double *y, size_t count)
{
	double sum = 0.0;
	for (size_t i = 0; i < count; i++)
		sum += x[i] * y[i];
	return sum;
}

static void
add(double *y, const double *x, double scale, size_t count)
{
	for (size_t i = 0; i < count; i++)
		y[i] += scale * x[i];
}

/* direction (size): gradient in, descent direction out (two loops). */
static void
turn(const struct memory *m, double *direction)
{
	double alpha[PAIRS], scale = 1.0;
	for (size_t k = 0; k < m->count; k++) {
		size_t at = (m->next + PAIRS - 1 - k) % PAIRS;
		alpha[at] = m->rho[at] * dot(m->s + at * m->size, direction, m->size);
		add(direction, m->y + at * m->size, -alpha[at], m->size);
	}
	if (m->count > 0) {
		size_t last = (m->next + PAIRS - 1) % PAIRS;
		const double *y = m->y + last * m->size;
		scale = 1.0 / (m->rho[last] * dot(y, y, m->size));
	}
	for (size_t i = 0; i < m->size; i++)
		direction[i] *= scale;
	for (size_t k = m->count; k-- > 0;) {
		size_t at = (m->next + PAIRS - 1 - k) % PAIRS;
		double beta = m->rho[at] * dot(m->y + at * m->size, direction, m->size);
		add(direction, m->s + at * m->size, alpha[at] - beta, m->size);
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
	double curvature = dot(s, y, m->size);
	if (curvature <= 1e-14 * dot(y, y, m->size))
		return;
	m->rho[m->next] = 1.0 / curvature;
	m->next = (m->next + 1) % PAIRS;
	m->count += m->count < PAIRS;
}

static bool
is_small(const double *gradient, size_t size, double gradient_max)
{
	for (size_t i = 0; i < size; i++)
		if (!(fabs(gradient[i]) <= gradient_max))
			return false;
	return true;
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
		*value = mmq_linear_evaluate(objective, theta, gradient, false);
		if (!(*value <= start + 1e-4 * step * slope))
			high = step;
		else if (dot(gradient, direction, size) < 0.9 * slope)
			low = step;
		else
			return true;
		step = isfinite(high) ? 0.5 * (low + high) : 2.0 * low;
	}
	return *value < start;
}

int
mmq_linear_lbfgs(struct mmq_linear_objective *objective, double *theta, size_t size, double gradient_max, int64_t iterations_max,
    bool (*step)(void *arg, int64_t iteration, double value), void *arg, int64_t *iterations_out, double *value_out)
{
	struct memory m = { .size = size, .s = mmq_array(2 * PAIRS * size, sizeof(double)) };
	double *work = mmq_array(4 * size, sizeof(*work)), *gradient = work, *direction = work + size;
	double *before = work + 2 * size, *gradient_before = work + 3 * size, value = mmq_linear_evaluate(objective, theta, gradient, false);
	int rc = 0;

	m.y = m.s + PAIRS * size;
	*iterations_out = 0;
	while (!is_small(gradient, size, gradient_max) && *iterations_out < iterations_max) {
		if (!step(arg, *iterations_out, value)) {
			rc = -1;
			break;
		}
		memcpy(direction, gradient, size * sizeof(*direction));
		turn(&m, direction);
		memcpy(before, theta, size * sizeof(*before));
		memcpy(gradient_before, gradient, size * sizeof(*gradient));
		double slope = dot(direction, gradient, size), from = value;
		double first = m.count > 0 ? 1.0 : 1.0 / sqrt(dot(gradient, gradient, size));
		if (!search(objective, theta, before, direction, size, first, &value, gradient, slope)) {
			memcpy(theta, before, size * sizeof(*theta));   /* as far as rounding lets us */
			value = from;
			break;
		}
		keep(&m, theta, before, gradient, gradient_before);
		++*iterations_out;
	}
	if (rc == 0 && is_small(gradient, size, gradient_max))
		rc = 1;
	*value_out = value;
	free(m.s);
	free(work);
	return rc;
}
