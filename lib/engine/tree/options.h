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

struct mmq_tree_options {
	enum mmq_tree_kind kind;
	enum mmq_task task;
	uint32_t trees, leaves_max, depth_max;      /* UINT32_MAX: no limit */
	uint32_t min_data;                          /* rows in a leaf */
	double learning_rate, min_hessian, l1, l2, min_gain;
	double feature_fraction, bagging_fraction;
	uint32_t bagging_freq;
	uint32_t max_bin, min_data_in_bin, bin_sample;
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
	uint64_t seed;
};

extern const struct mmq_param mmq_tree_params[];

/* INVALID_ARGUMENT names the parameter when values do not fit each other or the task. */
int mmq_tree_options_read(struct mmq_tree_options *options, const struct mmq_fit *fit, struct mmq_err *err);

/* How many of `columns` a node of a forest looks at: 1..columns. */
uint32_t mmq_tree_features_tried(const struct mmq_tree_options *options, uint32_t columns);

#endif
