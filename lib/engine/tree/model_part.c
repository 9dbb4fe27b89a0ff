/* model_part.c: trees to and from a part of a model file.
 *
 * Opening trusts nothing: every count is held to its tensor, children lie after their parent inside their tree and have one parent
 * (so walks end, and leaves can be counted), columns, sets and value rows exist. Arrays are borrowed from the part. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/model.h"
#include "util/mem.h"

enum { COUNT_MAX = 0x7fffffff, SETS_MAX = 1 << 24 };

int
mmq_tree_model_save(const struct mmq_tree_model *model, struct mmq_part *out)
{
	static const uint32_t none;
	uint64_t columns = (uint64_t)model->cols + model->codes_cols;
	mmq_part_put_int(out, "format", 1);
	mmq_part_put_int(out, "boosting", model->boosting);
	mmq_part_put_int(out, "task", model->task);
	if (model->log_link)
		mmq_part_put_int(out, "log_link", 1);
	mmq_part_put_int(out, "classes", model->classes);
	mmq_part_put_int(out, "cols", model->cols);
	mmq_part_put_int(out, "codes_cols", model->codes_cols);
	mmq_part_put_int(out, "features", model->features);
	mmq_part_put_int(out, "width", model->width);
	mmq_part_put_int(out, "best_iteration", model->best_iteration);
	if (isfinite(model->train_loss))
		mmq_part_put_double(out, "train_loss", model->train_loss);
	if (isfinite(model->valid_loss))
		mmq_part_put_double(out, "valid_loss", model->valid_loss);
	if (isfinite(model->oob_score))
		mmq_part_put_double(out, "oob_score", model->oob_score);
	mmq_part_put_vector(out, "base", MMQ_F64, model->outputs, model->base);
	mmq_part_put_vector(out, "tree_start", MMQ_U32, (uint64_t)model->trees + 1, model->tree_start);
	mmq_part_put_vector(out, "kind", MMQ_U8, model->nodes, model->kind);
	mmq_part_put_vector(out, "threshold", MMQ_F32, model->nodes, model->threshold);
	if (model->threshold64 != NULL)
		mmq_part_put_vector(out, "threshold64", MMQ_F64, model->nodes, model->threshold64);
	mmq_part_put_vector(out, "feature", MMQ_U32, model->nodes, model->feature);
	mmq_part_put_vector(out, "first", MMQ_U32, model->nodes, model->first);
	mmq_part_put_vector(out, "cover", MMQ_F32, model->nodes, model->cover);
	mmq_part_put_vector(out, "set_start", MMQ_U32, (uint64_t)model->sets + 1, model->set_start);
	mmq_part_put_vector(out, "set_word", MMQ_U32, model->set_words, model->set_word != NULL ? model->set_word : &none);
	mmq_part_put_matrix(out, "values", MMQ_F64, model->value_rows, model->width, model->values);
	mmq_part_put_vector(out, "feature_of", MMQ_U32, columns, model->feature_of);
	mmq_part_put_vector(out, "gain", MMQ_F64, columns, model->gain);
	mmq_part_put_vector(out, "splits", MMQ_F64, columns, model->splits);
	return 0;
}

static int
get_u32(const struct mmq_part *in, const char *key, int64_t min, int64_t max, uint32_t *out, struct mmq_err *err)
{
	int64_t value;
	if (mmq_part_get_int(in, key, min, max, &value, err) == -1)
		return -1;
	*out = (uint32_t)value;
	return 0;
}

/* The data of a vector of any length (count == UINT64_MAX) or of exactly count entries. After a failure (ok false) nothing is read. */
static const void *
get_vector(const struct mmq_part *in, const char *name, enum mmq_dtype dtype, uint64_t count, uint64_t *count_out, bool *ok, struct mmq_err *err)
{
	const struct mmq_tensor *tensor;
	if (!*ok)
		return NULL;
	*ok = mmq_part_get_tensor(in, name, dtype, 1, &count, &tensor, err) == 0;
	if (*ok && tensor->shape[0] > COUNT_MAX) {
		mmq_err_set(err, MMQ_DATA_LOSS, "model tensor '%s' is too long", name);
		*ok = false;
	}
	if (*ok && count_out != NULL)
		*count_out = tensor->shape[0];
	return *ok ? tensor->data : NULL;
}

static int
get_header(struct mmq_tree_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	uint32_t format, boosting, task;
	if (get_u32(in, "format", 1, 1, &format, err) == -1 || get_u32(in, "boosting", 0, MMQ_TREE_SINGLE, &boosting, err) == -1 ||
	    get_u32(in, "task", MMQ_REGRESSION, MMQ_MULTICLASS, &task, err) == -1 ||
	    get_u32(in, "classes", 0, 1 << 20, &model->classes, err) == -1 || get_u32(in, "cols", 0, COUNT_MAX / 2, &model->cols, err) == -1 ||
	    get_u32(in, "codes_cols", 0, COUNT_MAX / 2, &model->codes_cols, err) == -1 ||
	    get_u32(in, "features", 1, COUNT_MAX, &model->features, err) == -1 ||
	    get_u32(in, "width", 1, 1 << 20, &model->width, err) == -1 ||
	    mmq_part_get_int(in, "best_iteration", 0, COUNT_MAX, &model->best_iteration, err) == -1)
		return -1;
	uint32_t log_link = 0;
	if (mmq_part_find(in, "log_link") != NULL && get_u32(in, "log_link", 1, 1, &log_link, err) == -1)
		return -1;
	model->log_link = log_link == 1;
	model->boosting = (enum mmq_tree_kind)boosting;
	model->task = (enum mmq_task)task;
	bool is_many = task == MMQ_MULTICLASS;
	if (task == 3 || (task == MMQ_REGRESSION ? model->classes != 0 : task == MMQ_BINARY ? model->classes != 2 : model->classes < 2) ||
	    (model->log_link && (task != MMQ_REGRESSION || boosting != MMQ_TREE_GBDT)) || model->width != (is_many && boosting != MMQ_TREE_GBDT ? model->classes : 1) || model->cols + model->codes_cols == 0 ||
	    model->features > model->cols + model->codes_cols)
		return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: task, classes and width do not fit each other");
	model->outputs = is_many ? model->classes : 1;
	model->train_loss = model->valid_loss = model->oob_score = NAN;
	if (mmq_part_find(in, "train_loss") != NULL && mmq_part_get_double(in, "train_loss", &model->train_loss, err) == -1)
		return -1;
	if (mmq_part_find(in, "oob_score") != NULL && mmq_part_get_double(in, "oob_score", &model->oob_score, err) == -1)
		return -1;
	if (mmq_part_find(in, "valid_loss") != NULL && mmq_part_get_double(in, "valid_loss", &model->valid_loss, err) == -1)
		return -1;
	return 0;
}

static int
get_arrays(struct mmq_tree_model *model, const struct mmq_part *in, struct mmq_err *err)
{
	uint64_t starts = 0, nodes = 0, set_starts = 0, columns = (uint64_t)model->cols + model->codes_cols;
	const struct mmq_tensor *values;
	bool ok = true;
	model->base = get_vector(in, "base", MMQ_F64, model->outputs, NULL, &ok, err);
	model->tree_start = get_vector(in, "tree_start", MMQ_U32, UINT64_MAX, &starts, &ok, err);
	model->kind = get_vector(in, "kind", MMQ_U8, UINT64_MAX, &nodes, &ok, err);
	model->threshold = get_vector(in, "threshold", MMQ_F32, nodes, NULL, &ok, err);
	if (mmq_part_find_tensor(in, "threshold64") != NULL)
		model->threshold64 = get_vector(in, "threshold64", MMQ_F64, nodes, NULL, &ok, err);
	model->feature = get_vector(in, "feature", MMQ_U32, nodes, NULL, &ok, err);
	model->first = get_vector(in, "first", MMQ_U32, nodes, NULL, &ok, err);
	model->cover = get_vector(in, "cover", MMQ_F32, nodes, NULL, &ok, err);
	model->set_start = get_vector(in, "set_start", MMQ_U32, UINT64_MAX, &set_starts, &ok, err);
	model->set_word = get_vector(in, "set_word", MMQ_U32, UINT64_MAX, &model->set_words, &ok, err);
	model->feature_of = get_vector(in, "feature_of", MMQ_U32, columns, NULL, &ok, err);
	model->gain = get_vector(in, "gain", MMQ_F64, columns, NULL, &ok, err);
	model->splits = get_vector(in, "splits", MMQ_F64, columns, NULL, &ok, err);
	if (!ok || mmq_part_get_tensor(in, "values", MMQ_F64, 2, (uint64_t[2]){ UINT64_MAX, model->width }, &values, err) == -1)
		return -1;
	if (starts == 0 || set_starts == 0 || set_starts > SETS_MAX || values->shape[0] > COUNT_MAX)
		return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: an array is empty or too long");
	model->values = values->data;
	model->value_rows = (uint32_t)values->shape[0];
	model->trees = (uint32_t)(starts - 1);
	model->nodes = (uint32_t)nodes;
	model->sets = (uint32_t)(set_starts - 1);
	return 0;
}

/* Starts rise from 0 to the end; each entry but the last begins something that is not empty when `filled`. */
static bool
starts_rise(const uint32_t *start, uint32_t count, uint64_t end, bool filled)
{
	if (start[0] != 0 || start[count] != end)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (start[i + 1] < start[i] + (filled ? 1u : 0u) || start[i + 1] < start[i])
			return false;
	return true;
}

static const char *
node_fault(const struct mmq_tree_model *model, uint32_t tree, uint32_t k)
{
	uint32_t start = model->tree_start[tree], size = model->tree_start[tree + 1] - start, first = model->first[k];
	float threshold = model->threshold[k];
	if (model->kind[k] >= MMQ_NODE_KINDS)
		return "a node of unknown kind";
	if (!isfinite(model->cover[k]) || model->cover[k] < 0)
		return "a node's cover";
	if (model->kind[k] == MMQ_NODE_LEAF)
		return model->feature[k] >= model->value_rows ? "a leaf's value" : first != 0 ? "a leaf with children" : NULL;
	if (first <= k - start || first >= size - 1)
		return "a child's place";
	if (model->kind[k] == MMQ_NODE_CATEGORY) {
		if (model->feature[k] < model->cols || model->feature[k] - model->cols >= model->codes_cols)
			return "a category's column";
		return !(threshold >= 0 && threshold < (float)model->sets && threshold == floorf(threshold)) ? "a category's set" : NULL;
	}
	return model->feature[k] >= model->cols ? "a node's column" : isnan(threshold) || (model->threshold64 != NULL && isnan(model->threshold64[k])) ?
	    "a threshold" : NULL;
}

/* Every node but the first is the child of one node: what is walked to its end, and counted by its leaves, must be a tree. */
static const char *
tree_fault(const struct mmq_tree_model *model, uint32_t tree, uint8_t *is_child)
{
	uint32_t start = model->tree_start[tree], size = model->tree_start[tree + 1] - start, children = 0;
	memset(is_child, 0, size);
	for (uint32_t k = start; k < start + size; k++) {
		if (model->kind[k] == MMQ_NODE_LEAF)
			continue;
		for (uint32_t side = 0; side < 2; side++, children++) {
			if (is_child[model->first[k] + side] != 0)
				return "a node is reached twice";
			is_child[model->first[k] + side] = 1;
		}
	}
	return children + 1 == size ? NULL : "a node is never reached";
}

static int
check_shapes(const struct mmq_tree_model *model, struct mmq_err *err)
{
	uint8_t *is_child = mmq_array((size_t)model->nodes + 1, 1);
	const char *fault = NULL;
	uint32_t tree = 0;
	for (; tree < model->trees && fault == NULL; tree++)
		fault = tree_fault(model, tree, is_child);
	free(is_child);
	return fault == NULL ? 0 : mmq_err_set(err, MMQ_DATA_LOSS, "tree model: tree %u: %s", tree - 1, fault);
}

static int
check_trees(const struct mmq_tree_model *model, struct mmq_err *err)
{
	if (!starts_rise(model->tree_start, model->trees, model->nodes, true) ||
	    !starts_rise(model->set_start, model->sets, model->set_words, false))
		return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: starts of trees or sets do not rise to the end");
	if (model->boosting == MMQ_TREE_GBDT && model->trees % model->outputs != 0)
		return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: %u trees for %u classes", model->trees, model->outputs);
	if (model->boosting != MMQ_TREE_GBDT && model->trees == 0)
		return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: a forest without trees");
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		for (uint32_t k = model->tree_start[tree]; k < model->tree_start[tree + 1]; k++) {
			const char *fault = node_fault(model, tree, k);
			if (fault != NULL)
				return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: tree %u, node %u: %s is out of range", tree,
				    k - model->tree_start[tree], fault);
		}
	}
	for (size_t i = 0; i < (size_t)model->value_rows * model->width; i++)
		if (!isfinite(model->values[i]))
			return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: value %zu is not finite", i);
	for (size_t k = 0; k < (size_t)model->cols + model->codes_cols; k++)
		if (model->feature_of[k] >= model->features)
			return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: column %zu is of a feature that is out of range", k);
	for (uint32_t c = 0; c < model->outputs; c++)
		if (!isfinite(model->base[c]))
			return mmq_err_set(err, MMQ_DATA_LOSS, "tree model: base score %u is not finite", c);
	return check_shapes(model, err);
}

int
mmq_tree_model_open(struct mmq_tree_model **model_out, const struct mmq_part *in, struct mmq_err *err)
{
	struct mmq_tree_model *model = mmq_alloc(sizeof(*model));
	*model_out = NULL;
	if (get_header(model, in, err) == -1 || get_arrays(model, in, err) == -1 || check_trees(model, err) == -1) {
		mmq_tree_model_destroy(&model);
		return -1;
	}
	model->walk = mmq_tree_walk_new(model);
	*model_out = model;
	return 0;
}
