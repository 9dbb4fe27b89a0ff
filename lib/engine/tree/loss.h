/* loss.h: what boosting minimises: squared error, logistic loss, softmax cross-entropy; by rows of scores laid out class after class. */
#ifndef MMQ_ENGINE_TREE_LOSS_H
#define MMQ_ENGINE_TREE_LOSS_H

#include "engine/engine.h"

struct mmq_tree_target {
	enum mmq_task task;
	size_t rows;
	uint32_t outputs;           /* 1, or classes for more than two */
	const double *y;            /* (rows) */
	const float *weight;        /* (rows) or NULL */
	double positive_weight;     /* on class 1 of a binary task */
	struct mmq_pool *pool;
};

/* base_out (outputs): the best constant scores. */
void mmq_tree_loss_start(const struct mmq_tree_target *target, double *base_out);
/* First and second derivatives at score (outputs, rows) into g and h of the same shape. The hessian of softmax carries
 * the factor classes / (classes - 1) that makes one tree per class a Newton step (Friedman 2001; LightGBM). */
void mmq_tree_loss_gradient(const struct mmq_tree_target *target, const double *score, float *g, float *h);
/* Weighted mean loss; the sum is by fixed blocks, the same for any number of threads. */
double mmq_tree_loss_mean(const struct mmq_tree_target *target, const double *score);
const char *mmq_tree_loss_name(enum mmq_task task);

#endif
