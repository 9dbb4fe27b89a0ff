/* tree.c: the engine `tree`: gradient boosted trees, random forests and single trees on one set of binned columns.
 *
 * This file joins the parts to the engine contract: options.c reads parameters, bins.c codes rows, boost.c and forest.c train,
 * model*.c keep the trees, walk.c and predict.c answer. A forest's score is its mean prediction: the value, P(class 1) - 0.5 for two
 * classes, or the class probabilities. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/check.h"
#include "engine/tree/grow.h"
#include "engine/tree/walk.h"
#include "util/mem.h"

enum {
	TASKS = MMQ_REGRESSION | MMQ_BINARY | MMQ_MULTICLASS,
	ACCEPTS = MMQ_ACCEPTS_MISSING | MMQ_ACCEPTS_CATEGORY | MMQ_ACCEPTS_SPARSE | MMQ_ACCEPTS_F64,
};

/* A model to go on from must be of the same kind and see the same columns. */
static int
check_previous(const struct mmq_fit *fit, const struct mmq_tree_options *options, struct mmq_err *err)
{
	static const char *const kinds[] = { "gbdt", "rf", "tree" };
	const struct mmq_tree_model *previous = fit->previous;
	if (previous == NULL)
		return !options->refit ? 0 : mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.refit", "a version to go on from", "none");
	if (previous->boosting != options->kind)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.boosting", "the kind of the version to go on from", "%s after %s",
		    kinds[options->kind], kinds[previous->boosting]);
	if (previous->task != fit->task || previous->classes != fit->train->classes || previous->cols != fit->train->x.cols ||
	    previous->codes_cols != fit->train->x.codes_cols)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "tree: the version to go on from has another task or other columns");
	if (options->kind == MMQ_TREE_SINGLE && !options->refit)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.boosting", "gbdt or rf to go on from a version; tree with refit only", "tree");
	if (options->kind == MMQ_TREE_GBDT && previous->log_link != (options->objective == MMQ_TREE_POISSON))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.objective", "the link of the version to go on from", "%s",
		    previous->log_link ? "no poisson after poisson" : "poisson after another objective");
	return 0;
}

static int
tree_check(const struct mmq_fit *fit, struct mmq_err *err)
{
	struct mmq_tree_options options;
	size_t categories = 0;
	if (mmq_check_fit(fit, TASKS, ACCEPTS, err) == -1 || mmq_tree_options_read(&options, fit, err) == -1)
		return -1;
	for (size_t k = 0; k < fit->train->features_count; k++)
		categories += fit->train->features[k].kind == MMQ_CATEGORY;
	if (categories != fit->train->x.codes_cols)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "x.codes_cols", "one column per category feature", "%zu", fit->train->x.codes_cols);
	if (options.early_rounds > 0 && options.kind == MMQ_TREE_GBDT && fit->valid == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "params.early_stopping_round", "0 without validation rows", "%u", options.early_rounds);
	return check_previous(fit, &options, err);
}

static int
tree_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err)
{
	struct mmq_tree_options options;
	struct mmq_tree_bins *bins;
	struct mmq_tree_model *model = NULL;

	*state_out = NULL;
	if (tree_check(fit, err) == -1 || mmq_tree_options_read(&options, fit, err) == -1)
		return -1;
	if (options.refit) {
		int refitted = mmq_tree_refit(&model, fit, &options, err);
		*state_out = model;
		return refitted;
	}
	if (mmq_tree_bins_new(&bins, fit, &options, err) == -1)
		return -1;
	int result = options.kind == MMQ_TREE_GBDT ? mmq_tree_boost(&model, fit, &options, bins, err) :
	    mmq_tree_forest(&model, fit, &options, bins, err);
	mmq_tree_bins_destroy(&bins);
	*state_out = model;
	return result;
}

static int
tree_save(const void *state, struct mmq_part *out, struct mmq_err *err)
{
	(void)err;
	return mmq_tree_model_save(state, out);
}

static int
tree_open(void **state_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct mmq_tree_model *model;
	int result = mmq_tree_model_open(&model, in, err);
	*state_out = model;
	return result;
}

static void
tree_destroy(void **state)
{
	struct mmq_tree_model *model = *state;
	mmq_tree_model_destroy(&model);
	*state = NULL;
}

static size_t
tree_score_cols(const void *state)
{
	return ((const struct mmq_tree_model *)state)->outputs;
}

static size_t
tree_leaf_cols(const void *state)
{
	return ((const struct mmq_tree_model *)state)->trees;
}

static unsigned
tree_gives(const void *state)
{
	const struct mmq_tree_model *model = state;
	return MMQ_OUT_SCORE | MMQ_OUT_LEAF | (model->walk->shap != NULL ? (unsigned)MMQ_OUT_CONTRIBUTION : 0u) | (model->task != MMQ_REGRESSION ? (unsigned)MMQ_OUT_PROBABILITY : 0u);
}

static size_t
tree_scratch_bytes(const void *state, size_t rows_max, unsigned wanted)
{
	return mmq_tree_scratch_bytes(state, rows_max, wanted);
}

static void
tree_shape(const void *state, struct mmq_state_shape *shape)
{
	const struct mmq_tree_model *model = state;
	*shape = (struct mmq_state_shape){ .cols = model->cols, .codes_cols = model->codes_cols, .classes = model->classes,
		.features = model->walk->shap != NULL ? model->features : 0 };
}

static int
tree_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err)
{
	const struct mmq_tree_model *model = state;
	if ((out->wanted & ~tree_gives(state)) != 0)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "tree: this model gives score%s%s and leaf only",
		    model->task != MMQ_REGRESSION ? ", probability" : "", model->walk->shap != NULL ? ", contribution" : "");
	if (mmq_check_batch(x, model->cols, model->codes_cols, ACCEPTS, err) == -1)
		return -1;
	mmq_tree_predict(model, x, out, scratch);
	return 0;
}

static const char *
tree_contribution_method(const void *state)
{
	(void)state;
	return "treeshap";
}

/* In the order of the features, as contributions are. */
static void
put_importance(struct mmq_part *out, const char *key, const struct mmq_tree_model *model, const double *of_column)
{
	double *of_feature = mmq_array(model->features, sizeof(*of_feature));
	for (size_t k = 0; k < (size_t)model->cols + model->codes_cols; k++)
		of_feature[model->feature_of[k]] += of_column[k];
	mmq_part_put_vector(out, key, MMQ_F64, model->features, of_feature);
	free(of_feature);
}

static int
tree_describe(const void *state, struct mmq_part *out, struct mmq_err *err)
{
	static const char *const kinds[] = { "gbdt", "rf", "tree" };
	const struct mmq_tree_model *model = state;
	int64_t leaves = 0;
	(void)err;
	for (uint32_t k = 0; k < model->nodes; k++)
		leaves += model->kind[k] == MMQ_NODE_LEAF;
	mmq_part_put_text(out, "boosting", kinds[model->boosting]);
	mmq_part_put_int(out, "trees", model->trees);
	mmq_part_put_int(out, "leaves", leaves);
	mmq_part_put_int(out, "best_iteration", model->best_iteration);
	if (isfinite(model->train_loss))
		mmq_part_put_double(out, "train_loss", model->train_loss);
	if (isfinite(model->valid_loss))
		mmq_part_put_double(out, "valid_loss", model->valid_loss);
	/* Chosen for this processor when the model was loaded; see choose.c. */
	mmq_part_put_text(out, "inference_rows", model->walk->rows_way->name);
	mmq_part_put_text(out, "inference_one_row", model->walk->row_way->name);
	if (isfinite(model->oob_score))
		mmq_part_put_double(out, "oob_score", model->oob_score);
	if (model->trees == 0)
		mmq_part_put_text(out, "warning", "no split met the limits on leaves: the model is a constant");
	put_importance(out, "importance_gain", model, model->gain);
	put_importance(out, "importance_split", model, model->splits);
	return 0;
}

const struct mmq_engine mmq_engine_tree = {
	.abi = MMQ_ENGINE_ABI,
	.name = "tree",
	.summary = "Gradient boosted trees, random forest or one decision tree; missing values and categories as they are.",
	.tasks = TASKS,
	.accepts = ACCEPTS,
	.outputs = MMQ_OUT_SCORE | MMQ_OUT_PROBABILITY | MMQ_OUT_CONTRIBUTION | MMQ_OUT_LEAF,
	.can = MMQ_CAN_WEIGHTS | MMQ_CAN_WARM_START | MMQ_CAN_CHECKPOINT,
	.params = mmq_tree_params,
	.check = tree_check,
	.train = tree_train,
	.save = tree_save,
	.open = tree_open,
	.score_cols = tree_score_cols,
	.shape = tree_shape,
	.leaf_cols = tree_leaf_cols,
	.gives = tree_gives,
	.contribution_method = tree_contribution_method,
	.scratch_bytes = tree_scratch_bytes,
	.predict = tree_predict,
	.describe = tree_describe,
	.destroy = tree_destroy,
};
