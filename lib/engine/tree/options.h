/* options.h: the parameters of the tree engine, read once from the table into plain numbers.
 *
 * Names and defaults are LightGBM's for boosting; where a forest or a single tree wants another default the table says "auto". */
#ifndef MMQ_ENGINE_TREE_OPTIONS_H
#define MMQ_ENGINE_TREE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

enum mmq_tree_kind { MMQ_TREE_GBDT, MMQ_TREE_RF, MMQ_TREE_SINGLE };
enum mmq_tree_criterion { MMQ_TREE_GINI, MMQ_TREE_ENTROPY, MMQ_TREE_MSE };
enum mmq_tree_objective { MMQ_TREE_SQUARED, MMQ_TREE_ABSOLUTE, MMQ_TREE_QUANTILE, MMQ_TREE_HUBER, MMQ_TREE_POISSON, MMQ_TREE_LOGISTIC,
	MMQ_TREE_SOFTMAX };

struct mmq_tree_options {
	enum mmq_tree_kind kind;
	enum mmq_task task;
	enum mmq_tree_objective objective;
	double alpha;                               /* of quantile and huber */
	double poisson_step_max;
	uint32_t trees, leaves_max, depth_max;      /* UINT32_MAX: no limit */
	bool depthwise;                             /* level after level, else always the leaf that gains most */
	uint32_t min_data;                          /* rows in a leaf */
	double learning_rate, min_hessian, l1, l2, min_gain;
	double feature_fraction, feature_fraction_bynode, bagging_fraction;
	uint32_t bagging_freq;
	bool goss;                                  /* keep rows of large gradients, a sample of the others */
	double top_rate, other_rate;
	bool extra_trees;                           /* one random cut per feature */
	const double *monotone;                     /* (monotone_count) -1, 0, 1 of the first features; borrowed from the parameters */
	size_t monotone_count;
	bool refit;
	double refit_decay_rate;
	uint32_t max_bin, min_data_in_bin, bin_sample;
	bool pre_filter;                            /* leave out columns without a border that has min_data rows on both sides */
	double cat_smooth, cat_l2;
	uint32_t cat_threshold_max, cat_onehot_max, cat_group_min;
	uint32_t early_rounds;                      /* 0: no early stopping */
	double early_delta;
	bool start_from_average;
	double positive_weight;
	enum mmq_tree_criterion criterion;
	bool bootstrap;
	double features_tried;                      /* per node: >= 1 a count, < 1 a fraction; 0: all */
	bool features_sqrt, features_log2;
	double ccp_alpha;
	bool oob_score, exact;                      /* exact: a bin for each distinct value */
	bool by_row;                                /* histograms of large nodes are built from rows, so bins are to be kept by row too */
	uint64_t seed;
};

extern const struct mmq_param mmq_tree_params[];

/* INVALID_ARGUMENT names the parameter when values do not fit each other or the task. */
int mmq_tree_options_read(struct mmq_tree_options *options, const struct mmq_fit *fit, struct mmq_err *err);

/* How many of `columns` a node of a forest looks at: 1..columns. */
uint32_t mmq_tree_features_tried(const struct mmq_tree_options *options, uint32_t columns);

#endif
