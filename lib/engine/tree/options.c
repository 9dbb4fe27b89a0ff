/* options.c: the parameter table and the rules between its rows. */
#include "engine/tree/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROW(name, aliases, type, def, min, max, choices, doc) { name, aliases, type, def, min, max, choices, doc, 0, 0 }
#define SEARCHED(name, aliases, type, def, min, max, doc, from, to) { name, aliases, type, def, min, max, NULL, doc, from, to }

const struct mmq_param mmq_tree_params[] = {
	ROW("boosting", "boosting_type boost booster", MMQ_P_ENUM, "gbdt", 0, 0, "gbdt|rf|tree",
	    "gbdt: gradient boosted trees; rf: random forest; tree: one CART tree."),
	ROW("objective", "application loss", MMQ_P_ENUM, "auto", 0, 0, 
	    "auto|regression|regression_l1|quantile|huber|poisson|binary|multiclass",
	    "Loss of gbdt; auto follows the task: squared error, logistic or softmax. poisson predicts the mean count, quantile the alpha quantile."),
	ROW("alpha", NULL, MMQ_P_NUMBER, "0.9", 1e-9, 1e12, NULL, "quantile: which one, below 1; huber: errors beyond it count linearly (gbdt)."),
	ROW("poisson_max_delta_step", NULL, MMQ_P_NUMBER, "0.7", 1e-9, 100, NULL, "poisson: makes steps shorter (gbdt)."),
	SEARCHED("num_iterations", "n_estimators num_iteration n_iter num_tree num_trees num_round num_rounds nrounds num_boost_round max_iter",
	    MMQ_P_INT, "100", 1, 100000, "Boosting rounds, or trees of a forest.", 50, 500),
	SEARCHED("learning_rate", "shrinkage_rate eta", MMQ_P_NUMBER, "0.1", 1e-6, 10, "Factor on each new tree of gbdt.", 0.01, 0.3),
	ROW("num_leaves", "num_leaf max_leaves max_leaf max_leaf_nodes", MMQ_P_NUMBER_OR_ENUM, "auto", 2, 131072, "auto|unlimited",
	    "Most leaves of a tree; auto: 31 for gbdt, unlimited for rf and tree and where grow_policy depthwise comes with a max_depth."),
	ROW("grow_policy", "growing_strategy", MMQ_P_ENUM, "lossguide", 0, 0, "lossguide|depthwise",
	    "lossguide: split the leaf that gains most; depthwise: level after level (gbdt)."),
	ROW("max_depth", NULL, MMQ_P_INT, "-1", -1, 100000, NULL, "Most splits from root to leaf; -1 or 0: no limit."),
	ROW("min_data_in_leaf", "min_child_samples min_samples_leaf min_data_per_leaf min_data", MMQ_P_NUMBER_OR_ENUM, "auto", 0, 1e9, "auto",
	    "Fewest rows of a leaf; auto: 20 for gbdt, 1 for rf and tree."),
	ROW("min_sum_hessian_in_leaf", "min_sum_hessian_per_leaf min_sum_hessian min_hessian min_child_weight", MMQ_P_NUMBER, "1e-3", 0, 1e12, NULL,
	    "Smallest sum of second derivatives of a leaf (gbdt)."),
	ROW("lambda_l1", "reg_alpha l1_regularization", MMQ_P_NUMBER, "0", 0, 1e12, NULL, "L1 penalty on leaf values (gbdt)."),
	SEARCHED("lambda_l2", "reg_lambda lambda l2_regularization", MMQ_P_NUMBER, "0", 0, 1e12, "L2 penalty on leaf values (gbdt).", 1e-3, 100),
	ROW("min_gain_to_split", "min_split_gain gamma", MMQ_P_NUMBER, "0", 0, 1e300, NULL, "A split must gain more than this (gbdt)."),
	SEARCHED("feature_fraction", "colsample_bytree sub_feature", MMQ_P_NUMBER, "1", 1e-9, 1, "Share of features drawn for each tree (gbdt).", 0.4, 1),
	ROW("feature_fraction_bynode", "colsample_bynode sub_feature_bynode", MMQ_P_NUMBER, "1", 1e-9, 1, NULL,
	    "Share of the tree's features drawn for each node (gbdt)."),
	ROW("extra_trees", "extra_tree", MMQ_P_BOOL, "false", 0, 0, NULL, "Try one random cut, or random set of categories, of each feature at a node instead of all (Geurts 2006)."),
	ROW("data_sample_strategy", NULL, MMQ_P_ENUM, "bagging", 0, 0, "bagging|goss",
	    "bagging: see bagging_freq; goss: keep rows of large gradients and a weighted sample of the others (gbdt)."),
	ROW("top_rate", NULL, MMQ_P_NUMBER, "0.2", 0, 1, NULL, "goss: share of rows kept for their gradients."),
	ROW("other_rate", NULL, MMQ_P_NUMBER, "0.1", 0, 1, NULL, "goss: share of rows sampled from the others."),
	SEARCHED("bagging_fraction", "subsample sub_row bagging", MMQ_P_NUMBER, "1", 1e-9, 1,
	    "Share of rows drawn without replacement, with bagging_freq > 0 (gbdt).", 0.4, 1),
	ROW("bagging_freq", "subsample_freq", MMQ_P_INT, "0", 0, 1000000, NULL, "Draw new rows every so many rounds; 0: use all rows (gbdt)."),
	ROW("monotone_constraints", "mc monotone_constraint monotonic_cst", MMQ_P_INTS, "", -1, 1, NULL,
	    "For each feature 1: the answer may only rise with it, -1: only fall, 0: free; empty: all free (gbdt, numeric features)."),
	ROW("refit", NULL, MMQ_P_BOOL, "false", 0, 0, NULL, "Keep the trees of the version that is gone on from and learn its leaf values anew from these rows."),
	ROW("refit_decay_rate", NULL, MMQ_P_NUMBER, "0.9", 0, 1, NULL, "refit: share of the old leaf value that stays."),
	ROW("max_bin", "max_bins", MMQ_P_INT, "255", 2, 255, NULL, "Most bins of a feature, besides the one for missing values."),
	ROW("min_data_in_bin", NULL, MMQ_P_INT, "3", 1, 1000000, NULL, "Fewest rows of a bin (gbdt; rf and tree take 1)."),
	ROW("bin_construct_sample_cnt", "subsample_for_bin", MMQ_P_INT, "200000", 1, 1e9, NULL, "Rows that bin borders are chosen from."),
	ROW("feature_pre_filter", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Leave out numeric features that cannot part min_data_in_leaf rows from as many others (gbdt)."),
	ROW("cat_smooth", NULL, MMQ_P_NUMBER, "10", 0, 1e12, NULL, "Pulls the order of rare categories to the middle; rarer ones stay out of sets (gbdt)."),
	ROW("cat_l2", NULL, MMQ_P_NUMBER, "10", 0, 1e12, NULL, "More L2 for splits on sets of categories (gbdt)."),
	ROW("max_cat_threshold", NULL, MMQ_P_INT, "32", 1, 254, NULL, "Most categories of the smaller side (gbdt)."),
	ROW("max_cat_to_onehot", NULL, MMQ_P_INT, "4", 1, 254, NULL, "Up to so many categories: one against the rest (gbdt)."),
	ROW("min_data_per_group", NULL, MMQ_P_INT, "100", 1, 1e9, NULL, "Fewest rows that a set of categories grows by (gbdt)."),
	ROW("early_stopping_round", "early_stopping_rounds early_stopping n_iter_no_change", MMQ_P_INT, "0", 0, 100000, NULL,
	    "Stop after so many rounds without a better validation loss and keep the best; 0: never (gbdt)."),
	ROW("early_stopping_min_delta", NULL, MMQ_P_NUMBER, "0", 0, 1e300, NULL, "A better loss is better by more than this (gbdt)."),
	ROW("boost_from_average", NULL, MMQ_P_BOOL, "true", 0, 0, NULL, "Start from the best constant (gbdt)."),
	ROW("scale_pos_weight", NULL, MMQ_P_NUMBER, "1", 1e-12, 1e12, NULL, "Factor on the weight of class 1 of a binary task."),
	ROW("criterion", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|gini|entropy|mse", "Impurity (rf and tree); auto: gini, or mse for regression."),
	ROW("max_features", "mtry", MMQ_P_NUMBER_OR_ENUM, "auto", 1e-9, 1e9, "auto|sqrt|log2|all",
	    "Features tried at a node (rf and tree): a count (1 or more), a fraction (below 1) or a rule; auto: sqrt for rf classification, else all."),
	ROW("bootstrap", NULL, MMQ_P_BOOL, "true", 0, 0, NULL,
	    "Draw each tree's rows with replacement (rf); false: every tree sees all rows, as extra_trees has it unless this is given."),
	ROW("oob_score", NULL, MMQ_P_BOOL, "false", 0, 0, NULL,
	    "Let each row be answered by the trees that did not draw it, and describe their accuracy or R2 (rf with bootstrap)."),
	ROW("ccp_alpha", NULL, MMQ_P_NUMBER, "0", 0, 1e300, NULL, "Cost-complexity pruning: cut back what gains less than this per leaf (rf and tree)."),
	ROW("tree_method", NULL, MMQ_P_ENUM, "auto", 0, 0, "auto|exact|hist",
	    "exact: every value may be a threshold, up to 65,534 rows (rf and tree); hist: at most max_bin; auto: exact up to 20,000 rows."),
	{ NULL, NULL, MMQ_P_BOOL, NULL, 0, 0, NULL, NULL, 0, 0 },
};

/* A count that may be a word: UINT32_MAX for "unlimited", otherwise for "auto". */
static int
read_count(const struct mmq_params *params, const char *name, uint32_t otherwise, uint32_t *out, struct mmq_err *err)
{
	if (!mmq_params_is_number(params, name)) {
		*out = strcmp(mmq_params_choice(params, name), "auto") == 0 ? otherwise : UINT32_MAX;
		return 0;
	}
	double value = mmq_params_number(params, name);
	if (value != floor(value)) {
		char field[96] = "params.";
		strncat(field, name, sizeof(field) - 8);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "an integer", "%g", value);
	}
	*out = (uint32_t)value;
	return 0;
}

enum { EXACT_ROWS_AUTO = 20000, EXACT_ROWS_MAX = 65534 };

static int
read_forest(struct mmq_tree_options *options, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_params *params = fit->params;
	size_t rows = fit->train->x.rows;
	const char *method = mmq_params_choice(params, "tree_method"), *word = mmq_params_choice(params, "criterion");
	bool is_regression = options->task == MMQ_REGRESSION;

	options->criterion = strcmp(word, "mse") == 0 || (strcmp(word, "auto") == 0 && is_regression) ? MMQ_TREE_MSE :
	    strcmp(word, "entropy") == 0 ? MMQ_TREE_ENTROPY : MMQ_TREE_GINI;
	if ((options->criterion == MMQ_TREE_MSE) != is_regression)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.criterion", is_regression ? "mse for regression" : "gini or entropy for classes",
		    "%s", word);
	options->bootstrap = options->kind == MMQ_TREE_RF && mmq_params_bool(params, "bootstrap") &&
	    (!options->extra_trees || mmq_params_is_set(params, "bootstrap"));
	options->oob_score = mmq_params_bool(params, "oob_score");
	if (options->oob_score && !options->bootstrap)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.oob_score", "boosting rf with bootstrap", "no bootstrap");
	options->ccp_alpha = mmq_params_number(params, "ccp_alpha");
	options->exact = strcmp(method, "exact") == 0 || (strcmp(method, "auto") == 0 && rows <= EXACT_ROWS_AUTO && !mmq_params_is_set(params, "max_bin"));
	if (options->exact && rows > EXACT_ROWS_MAX)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.tree_method", "hist beyond 65,534 rows", "exact with %zu rows", rows);
	if (mmq_params_is_number(params, "max_features")) {
		options->features_tried = mmq_params_number(params, "max_features");
		return 0;
	}
	word = mmq_params_choice(params, "max_features");
	options->features_sqrt = strcmp(word, "sqrt") == 0 || (strcmp(word, "auto") == 0 && options->kind == MMQ_TREE_RF && !is_regression);
	options->features_log2 = strcmp(word, "log2") == 0;
	return 0;
}

static int
read_objective(struct mmq_tree_options *options, const struct mmq_params *params, struct mmq_err *err)
{
	static const struct { const char *name; enum mmq_tree_objective objective; enum mmq_task task; } known[] = {
		{ "regression", MMQ_TREE_SQUARED, MMQ_REGRESSION }, { "regression_l1", MMQ_TREE_ABSOLUTE, MMQ_REGRESSION },
		{ "quantile", MMQ_TREE_QUANTILE, MMQ_REGRESSION }, { "huber", MMQ_TREE_HUBER, MMQ_REGRESSION },
		{ "poisson", MMQ_TREE_POISSON, MMQ_REGRESSION }, { "binary", MMQ_TREE_LOGISTIC, MMQ_BINARY },
		{ "multiclass", MMQ_TREE_SOFTMAX, MMQ_MULTICLASS },
	};
	const char *name = mmq_params_choice(params, "objective");
	const char *wanted = strcmp(name, "auto") == 0 ? mmq_task_name(options->task) : name;
	bool is_plain = strcmp(wanted, mmq_task_name(options->task)) == 0;
	size_t k = 0;

	while (strcmp(known[k].name, wanted) != 0)
		k++;
	options->objective = known[k].objective;
	options->alpha = mmq_params_number(params, "alpha");
	options->poisson_step_max = mmq_params_number(params, "poisson_max_delta_step");
	if (known[k].task != options->task || (options->kind != MMQ_TREE_GBDT && !is_plain))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.objective", "auto, or one of the task's own (gbdt)", "%s for a %s task", name,
		    mmq_task_name(options->task));
	if (options->objective == MMQ_TREE_QUANTILE && options->alpha >= 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.alpha", "a quantile below 1", "%g", options->alpha);
	return 0;
}

/* Parameters that the kind of model has no use for are refused when given: they would be passed over in silence. */
static int
check_kind(const struct mmq_tree_options *options, const struct mmq_params *params, struct mmq_err *err)
{
	static const char *const of_forests[] = { "criterion", "max_features", "bootstrap", "oob_score", "ccp_alpha", "tree_method", NULL };
	static const char *const of_boosting[] = { "alpha", "poisson_max_delta_step", "grow_policy", "data_sample_strategy", "monotone_constraints",
		"feature_fraction_bynode", NULL };
	bool is_gbdt = options->kind == MMQ_TREE_GBDT;
	const char *const *foreign = is_gbdt ? of_forests : of_boosting;
	char field[64];

	for (; *foreign != NULL; foreign++) {
		if (!mmq_params_is_set(params, *foreign))
			continue;
		snprintf(field, sizeof(field), "params.%s", *foreign);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, is_gbdt ? "boosting rf or tree with it" : "boosting gbdt with it", "boosting %s",
		    mmq_params_choice(params, "boosting"));
	}
	return 0;
}

static int
read_monotone(struct mmq_tree_options *options, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_dataset *train = fit->train;
	bool constrains = false;

	options->monotone = mmq_params_list(fit->params, "monotone_constraints", &options->monotone_count);
	if (options->monotone_count > train->features_count)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.monotone_constraints", "at most one entry per feature", "%zu entries for %zu features",
		    options->monotone_count, train->features_count);
	for (size_t k = 0; k < options->monotone_count; k++) {
		constrains = constrains || options->monotone[k] != 0;
		if (options->monotone[k] != 0 && train->features[k].kind != MMQ_NUMERIC)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.monotone_constraints", "0 for categories", "%g for feature '%s'",
			    options->monotone[k], train->features[k].name);
	}
	if (!constrains)
		options->monotone_count = 0;
	if (constrains && (options->refit || options->objective == MMQ_TREE_ABSOLUTE || options->objective == MMQ_TREE_QUANTILE))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.monotone_constraints",
		    "no constraint with refit or the objectives regression_l1 and quantile, which set leaf values afterwards", "a constraint");
	return 0;
}

static int
read_sampling(struct mmq_tree_options *options, const struct mmq_params *params, struct mmq_err *err)
{
	options->feature_fraction = mmq_params_number(params, "feature_fraction");
	options->feature_fraction_bynode = mmq_params_number(params, "feature_fraction_bynode");
	options->bagging_fraction = mmq_params_number(params, "bagging_fraction");
	options->bagging_freq = (uint32_t)mmq_params_int(params, "bagging_freq");
	options->goss = strcmp(mmq_params_choice(params, "data_sample_strategy"), "goss") == 0;
	options->top_rate = mmq_params_number(params, "top_rate");
	options->other_rate = mmq_params_number(params, "other_rate");
	if (options->bagging_freq == 0 || options->goss)
		options->bagging_fraction = 1.0;
	if (options->goss && (options->top_rate + options->other_rate > 1 || options->top_rate + options->other_rate == 0))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.top_rate", "top_rate + other_rate above 0 and at most 1", "%g",
		    options->top_rate + options->other_rate);
	if (options->goss && mmq_params_is_set(params, "bagging_fraction"))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.bagging_fraction", "data_sample_strategy bagging with it", "goss");
	return 0;
}

int
mmq_tree_options_read(struct mmq_tree_options *options, const struct mmq_fit *fit, struct mmq_err *err)
{
	const struct mmq_params *params = fit->params;
	const char *kind = mmq_params_choice(params, "boosting");
	int64_t depth = mmq_params_int(params, "max_depth");
	bool is_gbdt = strcmp(kind, "gbdt") == 0;

	*options = (struct mmq_tree_options){
		.kind = is_gbdt ? MMQ_TREE_GBDT : strcmp(kind, "rf") == 0 ? MMQ_TREE_RF : MMQ_TREE_SINGLE,
		.task = fit->task,
		.seed = fit->seed,
		.depth_max = depth <= 0 ? UINT32_MAX : (uint32_t)depth,
		.learning_rate = mmq_params_number(params, "learning_rate"),
		.min_hessian = mmq_params_number(params, "min_sum_hessian_in_leaf"),
		.l1 = mmq_params_number(params, "lambda_l1"),
		.l2 = mmq_params_number(params, "lambda_l2"),
		.min_gain = mmq_params_number(params, "min_gain_to_split"),
		.depthwise = strcmp(mmq_params_choice(params, "grow_policy"), "depthwise") == 0,
		.extra_trees = mmq_params_bool(params, "extra_trees"),
		.refit = mmq_params_bool(params, "refit"),
		.refit_decay_rate = mmq_params_number(params, "refit_decay_rate"),
		.max_bin = (uint32_t)mmq_params_int(params, "max_bin"),
		.min_data_in_bin = is_gbdt ? (uint32_t)mmq_params_int(params, "min_data_in_bin") : 1,
		.pre_filter = is_gbdt && mmq_params_bool(params, "feature_pre_filter"),
		.bin_sample = (uint32_t)mmq_params_int(params, "bin_construct_sample_cnt"),
		.cat_smooth = mmq_params_number(params, "cat_smooth"),
		.cat_l2 = mmq_params_number(params, "cat_l2"),
		.cat_threshold_max = (uint32_t)mmq_params_int(params, "max_cat_threshold"),
		.cat_onehot_max = (uint32_t)mmq_params_int(params, "max_cat_to_onehot"),
		.cat_group_min = (uint32_t)mmq_params_int(params, "min_data_per_group"),
		.early_rounds = (uint32_t)mmq_params_int(params, "early_stopping_round"),
		.early_delta = mmq_params_number(params, "early_stopping_min_delta"),
		.start_from_average = mmq_params_bool(params, "boost_from_average"),
		.positive_weight = fit->task == MMQ_BINARY ? mmq_params_number(params, "scale_pos_weight") : 1.0,
	};
	options->trees = options->kind == MMQ_TREE_SINGLE ? 1 : (uint32_t)mmq_params_int(params, "num_iterations");
	bool leaves_free = !is_gbdt || (options->depthwise && options->depth_max != UINT32_MAX);
	if (read_count(params, "num_leaves", leaves_free ? UINT32_MAX : 31, &options->leaves_max, err) == -1 ||
	    read_count(params, "min_data_in_leaf", is_gbdt ? 20 : 1, &options->min_data, err) == -1 ||
	    read_objective(options, params, err) == -1 || check_kind(options, params, err) == -1 || read_sampling(options, params, err) == -1 ||
	    read_monotone(options, fit, err) == -1)
		return -1;
	if (options->min_data == 0)
		options->min_data = 1;
	options->by_row = is_gbdt;
	if (is_gbdt)
		return 0;
	if (read_forest(options, fit, err) == -1)
		return -1;
	/* Large nodes of two classes, counted without weights, all features tried: see cart_hist.c. */
	options->by_row = options->task == MMQ_BINARY && options->criterion == MMQ_TREE_GINI && fit->train->weight == NULL &&
	    options->positive_weight == 1.0 && options->features_tried == 0 && !options->features_sqrt && !options->features_log2 &&
	    !options->extra_trees && !options->exact && (options->min_data == 1 || !options->bootstrap);
	return 0;
}

uint32_t
mmq_tree_features_tried(const struct mmq_tree_options *options, uint32_t columns)
{
	double wanted = options->features_sqrt ? floor(sqrt(columns)) : options->features_log2 ? floor(log2(columns)) :
	    options->features_tried >= 1 ? options->features_tried : options->features_tried > 0 ? floor(options->features_tried * columns) : columns;
	return wanted < 1 ? 1 : wanted > columns ? columns : (uint32_t)wanted;
}
