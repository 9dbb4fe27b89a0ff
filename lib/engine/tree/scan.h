/* scan.h: gains of cuts between prefix sums of packed gradients and hessians (grow.h). */
#ifndef MMQ_ENGINE_TREE_SCAN_H
#define MMQ_ENGINE_TREE_SCAN_H

#include "engine/tree/grow.h"

struct mmq_scan {
	int64_t total;                  /* packed sum of the leaf */
	double g_unit, h_unit, l1, l2;
	double per_h;                   /* rows per unit of packed hessian */
	double l2_steps, steps_per_gain; /* l2 in hessian units, and gains in units of gradient squared over hessian: see scan_512.c */
	uint32_t side_min;              /* least packed hessian of a side: enough rows, enough hessian, not 0 */
	bool is_bounded;                /* leaf values are held to [low, high], and rise from the summed side to the other (1), fall (-1) or are free */
	double low, high;
	int direction;
};
static inline double
mmq_soften(double g, double l1)
{
	return g > l1 ? g - l1 : g < -l1 ? g + l1 : 0;
}
/* The value of a side with these sums, within the bounds. */
static inline double
mmq_scan_value(const struct mmq_scan *scan, double g, double h)
{
	double value = h + scan->l2 > 0 ? -mmq_soften(g, scan->l1) / (h + scan->l2) : 0;
	return value < scan->low ? scan->low : value > scan->high ? scan->high : value;
}
/* Sum of the two sides' gains when `one` is one side's sum; -inf when a side is too small
 * or the values go against the direction. */
double mmq_scan_gain(const struct mmq_scan *scan, int64_t one);
/* Derived fields, for sides of at least rows_min rows and h_min hessian; the others are set. */
void mmq_scan_limit(struct mmq_scan *scan, double rows_min, double h_min);
/* Running sums of bins (count) at those that are not 0: returns how many. sums_out (count + 8). */
uint32_t mmq_scan_prefix(const int64_t *bin, uint32_t count, int64_t *sums_out);
/* The bin (count) that the k-th of the sums ends with; *next_out: the next one that is not empty, count: none is. */
uint32_t mmq_scan_place(const int64_t *bin, uint32_t count, uint32_t k, uint32_t *next_out);
/* What the leaf has without a split. */
double mmq_scan_parent(const struct mmq_scan *scan);
/* The first place k of the largest gain of sums[k] + add, if it is above *best: then true, and *best and *at are set. */
bool mmq_scan_best(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at);

/* scan_512.c: the same two. */
void mmq_scan_best_512(const struct mmq_scan *scan, const int64_t *sums, uint32_t count, int64_t add, double *best, uint32_t *at);
uint32_t mmq_scan_prefix_512(const int64_t *bin, uint32_t count, int64_t *sums_out);

#endif
