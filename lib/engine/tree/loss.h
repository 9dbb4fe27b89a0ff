/* loss.h: what boosting minimises, by rows of scores laid out class after class. The objectives are LightGBM's: squared, absolute, pinball
 * (quantile), Huber and Poisson loss of a number, logistic loss, softmax cross-entropy. Scores of poisson are logs of the mean. */
#ifndef MMQ_ENGINE_TREE_LOSS_H
#define MMQ_ENGINE_TREE_LOSS_H

#include "engine/tree/options.h"

struct mmq_tree_target {
	const struct mmq_tree_options *options;
	size_t rows;
	uint32_t outputs;           /* 1, or classes for more than two */
	const double *y;            /* (rows) */
	const float *weight;        /* (rows) or NULL */
	struct mmq_pool *pool;
};

/* Targets that the objective cannot take: poisson wants counts, >= 0 and not all 0. */
int mmq_tree_loss_check(const struct mmq_tree_target *target, struct mmq_err *err);
/* base_out (outputs): the best constant scores. */
void mmq_tree_loss_start(const struct mmq_tree_target *target, double *base_out);
/* First and second derivatives at score (outputs, rows) into g and h of the same shape. The hessian of softmax carries
 * the factor classes / (classes - 1) that makes one tree per class a Newton step (Friedman 2001; LightGBM). */
void mmq_tree_loss_gradient(const struct mmq_tree_target *target, const double *score, float *g, float *h);
/* Weighted mean loss; the sum is by fixed blocks, the same for any number of threads. */
double mmq_tree_loss_mean(const struct mmq_tree_target *target, const double *score);
const char *mmq_tree_loss_name(enum mmq_tree_objective objective);

/* quantile.c: absolute and pinball loss have no useful second derivative: the value of a leaf is a quantile of what its rows lack. */
struct mmq_tree_weighted { double value, weight; };
/* The smallest value that at least q of the weight does not exceed, or the mean of it and the next one where exactly q lies below:
 * the usual median for q = 1/2. Reorders items (count >= 1). */
double mmq_tree_quantile(struct mmq_tree_weighted *items, size_t count, double q);
/* Whether leaf values of this objective are quantiles, and which. */
bool mmq_tree_loss_is_quantile(const struct mmq_tree_options *options, double *q_out);
/* That quantile of y - score over the rows index (count); NULL index: rows 0..count-1. temp (count). */
double mmq_tree_loss_residual(const struct mmq_tree_target *target, const double *score, const uint32_t *index, size_t count,
    struct mmq_tree_weighted *temp);

#endif
