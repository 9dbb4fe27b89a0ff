/* solve.c: Cholesky factors of symmetric matrices. The plain one works in blocks of columns whose trailing update is a BLAS call;
 * the pivoted one (Higham, "Accuracy and Stability", 10.3) is for matrices that are singular up to rounding. */
#include <math.h>
#include <string.h>

#include "engine/linear/linear.h"
#include "math/blas.h"

enum { PANEL = 48 };

void
mmq_linear_mirror(double *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			a[i * n + j] = a[j * n + i];
}

double
mmq_linear_cholesky(double *a, size_t n)
{
	double smallest = INFINITY, largest = 0.0;
	for (size_t at = 0; at < n; at += PANEL) {
		size_t width = n - at < PANEL ? n - at : PANEL, end = at + width;
		for (size_t i = at; i < n; i++) {       /* rows of this panel, left to right */
			size_t stop = i < end ? i : end;
			for (size_t j = at; j < stop; j++)
				a[i * n + j] = (a[i * n + j] - mmq_linear_dot(a + i * n + at, a + j * n + at, j - at)) / a[j * n + j];
			if (i >= end)
				continue;
			double pivot = a[i * n + i] - mmq_linear_dot(a + i * n + at, a + i * n + at, i - at);
			if (!(pivot > 0.0) || !isfinite(pivot))
				return -1.0;
			smallest = pivot < smallest ? pivot : smallest;
			largest = pivot > largest ? pivot : largest;
			a[i * n + i] = sqrt(pivot);
		}
		if (end < n)
			mmq_dgemm(false, true, n - end, n - end, width, -1.0, a + end * n + at, n, a + end * n + at, n, 1.0, a + end * n + end, n);
	}
	return n == 0 ? 1.0 : smallest / largest;
}

void
mmq_linear_cholesky_solve(const double *l, size_t n, double *b)
{
	for (size_t i = 0; i < n; i++)
		b[i] = (b[i] - mmq_linear_dot(l + i * n, b, i)) / l[i * n + i];
	for (size_t i = n; i-- > 0;) {
		b[i] /= l[i * n + i];
		for (size_t j = 0; j < i; j++)
			b[j] -= l[i * n + j] * b[i];
	}
}

/* Exchange rows and columns i and k (i < k) of a symmetric matrix in full storage. */
static void
exchange(double *a, size_t n, size_t i, size_t k)
{
	for (size_t j = 0; j < n; j++) {
		double swap = a[i * n + j];
		a[i * n + j] = a[k * n + j];
		a[k * n + j] = swap;
	}
	for (size_t j = 0; j < n; j++) {
		double swap = a[j * n + i];
		a[j * n + i] = a[j * n + k];
		a[j * n + k] = swap;
	}
}

size_t
mmq_linear_pivoted(double *a, size_t n, uint32_t *order)
{
	double first = 0.0;
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = 0; i < n; i++) {
		size_t best = i;
		for (size_t k = i + 1; k < n; k++)
			best = a[k * n + k] > a[best * n + best] ? k : best;
		if (i == 0)
			first = a[best * n + best];
		if (!(a[best * n + best] > first * 1e-13) || !(first > 0.0))
			return i;
		if (best != i) {
			uint32_t swap = order[i];
			order[i] = order[best];
			order[best] = swap;
			exchange(a, n, i, best);
		}
		double root = sqrt(a[i * n + i]);
		a[i * n + i] = root;
		for (size_t k = i + 1; k < n; k++)
			a[k * n + i] /= root;
		for (size_t k = i + 1; k < n; k++)      /* both triangles, so that exchange stays simple */
			for (size_t j = i + 1; j < n; j++)
				a[k * n + j] -= a[k * n + i] * a[j * n + i];
	}
	return n;
}

void
mmq_linear_pivoted_solve(const double *l, size_t n, size_t rank, const uint32_t *order, double *b, double *temp)
{
	for (size_t i = 0; i < rank; i++)
		temp[i] = (b[order[i]] - mmq_linear_dot(l + i * n, temp, i)) / l[i * n + i];
	for (size_t i = rank; i-- > 0;) {
		temp[i] /= l[i * n + i];
		for (size_t j = 0; j < i; j++)
			temp[j] -= l[i * n + j] * temp[i];
	}
	memset(b, 0, n * sizeof(*b));
	for (size_t i = 0; i < rank; i++)
		b[order[i]] = temp[i];
}
