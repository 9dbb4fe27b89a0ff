/* platt.c: the sigmoid of a score and the coupling of several.
 *
 * Sigmoid: Platt 1999 with the Newton iteration of Lin, Lin and Weng 2007 (targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2), gradient below 1e-5).
 * Coupling: the second method of Wu, Lin and Weng 2004, section 4.2, algorithm 2. */
#include "math/platt.h"

#include <math.h>

struct likelihood {
	const double *score;
	const uint8_t *positive;
	const float *weight;   /* NULL: all 1 */
	size_t count;
	double high, low;   /* the smoothed targets */
};

static double
weight_of(const float *weight, size_t row)
{
	return weight == NULL ? 1 : (double)weight[row];
}

/* Minus the log likelihood, in the form that does not overflow. */
static double
loss(const struct likelihood *l, double a, double b)
{
	double sum = 0;
	for (size_t i = 0; i < l->count; i++) {
		double z = a * l->score[i] + b, target = l->positive[i] ? l->high : l->low;
		sum += weight_of(l->weight, i) * ((z >= 0 ? target * z : (target - 1) * z) + log1p(exp(-fabs(z))));
	}
	return sum;
}

double
mmq_platt_probability(double score, double a, double b)
{
	double z = a * score + b;
	return z >= 0 ? exp(-z) / (1 + exp(-z)) : 1 / (1 + exp(z));
}

/* Curvature and slope at (a, b): h (aa, ab, bb), g (a, b). */
static void
derivatives(const struct likelihood *l, double a, double b, double h[3], double g[2])
{
	h[0] = h[2] = 1e-12;   /* keeps a flat direction solvable */
	h[1] = g[0] = g[1] = 0;
	for (size_t i = 0; i < l->count; i++) {
		double p = mmq_platt_probability(l->score[i], a, b), share = weight_of(l->weight, i), bend = share * p * (1 - p);
		double slope = share * ((l->positive[i] ? l->high : l->low) - p);
		h[0] += l->score[i] * l->score[i] * bend;
		h[1] += l->score[i] * bend;
		h[2] += bend;
		g[0] += l->score[i] * slope;
		g[1] += slope;
	}
}

void
mmq_platt_fit(const double *score, const uint8_t *positive, const float *weight, size_t count, double *a_out, double *b_out)
{
	double positives = 0, negatives = 0, a = 0, h[3], g[2];
	for (size_t i = 0; i < count; i++)
		*(positive[i] != 0 ? &positives : &negatives) += weight_of(weight, i);
	double b = log((negatives + 1) / (positives + 1));
	const struct likelihood l = { score, positive, weight, count, (positives + 1) / (positives + 2), 1 / (negatives + 2) };
	double value = loss(&l, a, b);

	for (int iteration = 0; iteration < 100; iteration++) {
		derivatives(&l, a, b, h, g);
		if (fabs(g[0]) < 1e-5 && fabs(g[1]) < 1e-5)
			break;
		double determinant = h[0] * h[2] - h[1] * h[1];
		double da = -(h[2] * g[0] - h[1] * g[1]) / determinant, db = -(h[0] * g[1] - h[1] * g[0]) / determinant;
		double slope = g[0] * da + g[1] * db, step = 1;
		for (; step >= 1e-10; step /= 2) {
			double next = loss(&l, a + step * da, b + step * db);
			if (next < value + 1e-4 * step * slope) {
				a += step * da;
				b += step * db;
				value = next;
				break;
			}
		}
		if (step < 1e-10)
			break;
	}
	*a_out = a;
	*b_out = b;
}

void
mmq_platt_couple(const double *pairwise, size_t classes, double *temp, double *p)
{
	double *q = temp, *qp = temp + classes * classes, limit = 0.005 / (double)classes;
	size_t rounds = classes > 100 ? classes : 100;

	for (size_t i = 0; i < classes; i++) {
		p[i] = 1 / (double)classes;
		q[i * classes + i] = 0;
		for (size_t j = 0; j < classes; j++) {
			if (j == i)
				continue;
			double other = pairwise[j * classes + i];
			q[i * classes + i] += other * other;
			q[i * classes + j] = -other * pairwise[i * classes + j];
		}
	}
	for (size_t round = 0; round < rounds; round++) {
		double total = 0, error = 0;
		for (size_t i = 0; i < classes; i++) {
			qp[i] = 0;
			for (size_t j = 0; j < classes; j++)
				qp[i] += q[i * classes + j] * p[j];
			total += p[i] * qp[i];
		}
		for (size_t i = 0; i < classes; i++)
			error = fmax(error, fabs(qp[i] - total));
		if (error < limit)
			break;
		for (size_t i = 0; i < classes; i++) {
			double by = (total - qp[i]) / q[i * classes + i];
			p[i] += by;
			total = (total + by * (by * q[i * classes + i] + 2 * qp[i])) / (1 + by) / (1 + by);
			for (size_t j = 0; j < classes; j++) {
				qp[j] = (qp[j] + by * q[i * classes + j]) / (1 + by);
				p[j] /= 1 + by;
			}
		}
	}
}
