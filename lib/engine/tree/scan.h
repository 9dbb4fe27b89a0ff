/* scan.h: gains of cuts between prefix sums of packed gradients and hessians (grow.h). */
#ifndef MMQ_ENGINE_TREE_SCAN_H
#define MMQ_ENGINE_TREE_SCAN_H

#include "engine/tree/grow.h"

struct mmq_scan {
	int64_t total;                  /* packed sum of the leaf */
	double g_unit, h_unit, l1, l2;
	double per_h;                   /* rows per unit of packed hessian */
	double rows_min, h_min;         /* of a side */
};
static inline double
mmq_soften(double g, double l1)
{
	return g > l1 ? g - l1 : g < -l1 ? g + l1 : 0;
}
/* Sum of the two sides' gains when `one` is one side's sum; -1 when a side is too small. */
double mmq_scan_gain(const struct mmq_scan *scan, int64_t one);
/* The first place k of the largest gain of sums[k] + add, if it is above *best: then true, and *best and *at are set. */
bool mmq_scan_best(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at);

#endif
