/* lightgbm_write.c: our tree models as LightGBM's text (version v4).
 *
 * LightGBM's nodes say which side missing values go to, ours always send them to the second child: the order of children and the default
 * direction change places. A model's base goes into the leaves of the first tree of each output, as LightGBM does itself. A forest that
 * gives class frequencies has no objective in the file: its raw answers are the probabilities. A category that training did not
 * see is missing to LightGBM. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lightgbm.h"
#include "engine/tree/model.h"
#include "util/mem.h"

enum { IS_CATEGORY = 1, DEFAULT_LEFT = 2, MISSING_ZERO = 1 << 2, MISSING_NAN = 2 << 2, NUMBER_BYTES = 32 };

struct writer {
	const struct mmq_converted *converted;
	const struct mmq_tree_model *model;
	struct mmq_buf *out;
	struct mmq_err *err;
	uint32_t *column_of;    /* (features): column of each feature */
	uint32_t *inner, *leaf, *set; /* (nodes of a tree): their numbers in the file, as node, leaf, category node */
	double *mean;           /* (nodes of a tree): value expected below a node */
};

/* Nodes of the tree that is being written, by what LightGBM keeps apart. */
struct shape { uint32_t start, size, inner, leaves, sets; };

static int
refuse(const struct writer *w, const char *what)
{
	return mmq_err_set(w->err, MMQ_FAILED_PRECONDITION, "LightGBM: %s", what);
}

static bool
is_negated(uint8_t kind)
{
	return kind == MMQ_NODE_LESS_SECOND || kind == MMQ_NODE_ZERO_LESS_SECOND;
}

/* Whether a category node's first child gets missing values: LightGBM sends them right, so then the children change places. */
static bool
takes_missing(const struct mmq_tree_model *model, uint32_t k)
{
	uint32_t set = (uint32_t)model->threshold[k];
	return model->set_start[set + 1] > model->set_start[set] && (model->set_word[model->set_start[set]] & 1) != 0;
}

static bool
is_swapped(const struct mmq_tree_model *model, uint32_t k)
{
	return model->kind[k] == MMQ_NODE_CATEGORY ? takes_missing(model, k) : is_negated(model->kind[k]);
}

static unsigned
decision_of(const struct mmq_tree_model *model, uint32_t k)
{
	bool zero = model->kind[k] == MMQ_NODE_ZERO_LESS_FIRST || model->kind[k] == MMQ_NODE_ZERO_LESS_SECOND;
	if (model->kind[k] == MMQ_NODE_CATEGORY)
		return IS_CATEGORY;
	return (zero ? MISSING_ZERO : MISSING_NAN) | (is_negated(model->kind[k]) ? DEFAULT_LEFT : 0);
}

static void
measure(struct writer *w, struct shape *shape, uint32_t column, double base)
{
	const struct mmq_tree_model *model = w->model;
	for (uint32_t i = 0; i < shape->size; i++) {
		uint32_t k = shape->start + i;
		if (model->kind[k] == MMQ_NODE_LEAF)
			w->leaf[i] = shape->leaves++;
		else
			w->inner[i] = shape->inner++;
		w->set[i] = shape->sets;
		shape->sets += model->kind[k] == MMQ_NODE_CATEGORY;
	}
	for (uint32_t i = shape->size; i-- > 0;) {
		uint32_t k = shape->start + i, first = model->first[k];
		if (model->kind[k] == MMQ_NODE_LEAF) {
			w->mean[i] = base + model->values[(size_t)model->feature[k] * model->width + column] * w->converted->target_scale;
			continue;
		}
		double a = (double)model->cover[shape->start + first], b = (double)model->cover[shape->start + first + 1];
		w->mean[i] = a + b > 0 ? (a * w->mean[first] + b * w->mean[first + 1]) / (a + b) : 0;
	}
}

/* "key=v0 v1 ...\n" for inner nodes or leaves; put writes one entry. */
static void
put_array(const struct writer *w, const struct shape *shape, const char *key, bool of_leaves,
    void (*put)(const struct writer *w, const struct shape *shape, uint32_t i))
{
	const char *separator = "";
	mmq_buf_printf(w->out, "%s=", key);
	for (uint32_t i = 0; i < shape->size; i++) {
		if ((w->model->kind[shape->start + i] == MMQ_NODE_LEAF) != of_leaves)
			continue;
		mmq_buf_append(w->out, separator, strlen(separator));
		put(w, shape, i);
		separator = " ";
	}
	mmq_buf_append(w->out, "\n", 1);
}

static void
put_feature(const struct writer *w, const struct shape *shape, uint32_t i)
{
	mmq_buf_printf(w->out, "%u", w->model->feature_of[w->model->feature[shape->start + i]]);
}

/* Our models keep gains by column, not by node: each of its nodes gets the same, and LightGBM's sum is right. */
static void
put_gain(const struct writer *w, const struct shape *shape, uint32_t i)
{
	uint32_t column = w->model->feature[shape->start + i];
	double splits = w->model->splits[column];
	mmq_buf_printf(w->out, "%.9g", splits > 0 && isfinite(w->model->gain[column]) ? w->model->gain[column] / splits : 0.0);
}

static void
put_threshold(const struct writer *w, const struct shape *shape, uint32_t i)
{
	uint32_t k = shape->start + i;
	if (w->model->kind[k] != MMQ_NODE_CATEGORY) {
		mmq_buf_printf(w->out, "%.17g", w->model->threshold64 != NULL ? w->model->threshold64[k] : (double)w->model->threshold[k]);
		return;
	}
	mmq_buf_printf(w->out, "%u", w->set[i]);
}

static void
put_decision(const struct writer *w, const struct shape *shape, uint32_t i)
{
	mmq_buf_printf(w->out, "%u", decision_of(w->model, shape->start + i));
}

static void
put_child(const struct writer *w, const struct shape *shape, uint32_t i, bool is_right)
{
	uint32_t k = shape->start + i, child = w->model->first[k] + (is_right != is_swapped(w->model, k));
	if (w->model->kind[shape->start + child] == MMQ_NODE_LEAF)
		mmq_buf_printf(w->out, "%d", -(int)w->leaf[child] - 1);
	else
		mmq_buf_printf(w->out, "%u", w->inner[child]);
}

static void
put_left(const struct writer *w, const struct shape *shape, uint32_t i)
{
	put_child(w, shape, i, false);
}

static void
put_right(const struct writer *w, const struct shape *shape, uint32_t i)
{
	put_child(w, shape, i, true);
}

static void
put_value(const struct writer *w, const struct shape *shape, uint32_t i)
{
	(void)shape;
	mmq_buf_printf(w->out, "%.17g", w->mean[i]);
}

static void
put_weight(const struct writer *w, const struct shape *shape, uint32_t i)
{
	mmq_buf_printf(w->out, "%.9g", (double)w->model->cover[shape->start + i]);
}

static void
put_count(const struct writer *w, const struct shape *shape, uint32_t i)
{
	double cover = (double)w->model->cover[shape->start + i];
	mmq_buf_printf(w->out, "%.0f", cover < 2e9 ? cover : 2e9);
}

/* Words of the codes that go left; at least one. */
static size_t
left_words(const struct writer *w, uint32_t k)
{
	const struct mmq_tree_model *model = w->model;
	uint32_t set = (uint32_t)model->threshold[k];
	size_t codes = (size_t)(model->set_start[set + 1] - model->set_start[set]) * 32, known = w->converted->values_count[model->feature_of[model->feature[k]]];
	codes = takes_missing(model, k) ? known : codes;
	return codes > 0 ? (codes + 31) / 32 : 1;
}

static bool
goes_left(const struct writer *w, uint32_t k, size_t code)
{
	const struct mmq_tree_model *model = w->model;
	uint32_t set = (uint32_t)model->threshold[k], from = model->set_start[set];
	size_t place = code + 1, words = model->set_start[set + 1] - from;
	bool is_in = place / 32 < words && (model->set_word[from + place / 32] >> place % 32 & 1) != 0;
	return takes_missing(model, k) ? !is_in && code < w->converted->values_count[model->feature_of[model->feature[k]]] : is_in;
}

static void
put_sets(const struct writer *w, const struct shape *shape)
{
	size_t total = 0;
	mmq_buf_printf(w->out, "cat_boundaries=0");
	for (uint32_t k = shape->start; k < shape->start + shape->size; k++) {
		if (w->model->kind[k] != MMQ_NODE_CATEGORY)
			continue;
		total += left_words(w, k);
		mmq_buf_printf(w->out, " %zu", total);
	}
	mmq_buf_printf(w->out, "\ncat_threshold=");
	const char *separator = "";
	for (uint32_t k = shape->start; k < shape->start + shape->size; k++) {
		size_t words = w->model->kind[k] == MMQ_NODE_CATEGORY ? left_words(w, k) : 0;
		for (size_t i = 0; i < words; i++, separator = " ") {
			uint32_t word = 0;
			for (unsigned b = 0; b < 32; b++)
				word |= goes_left(w, k, i * 32 + b) ? 1u << b : 0;
			mmq_buf_printf(w->out, "%s%u", separator, word);
		}
	}
	mmq_buf_append(w->out, "\n", 1);
}

/* Column `column` of a tree's values, with base added. */
static void
put_tree(struct writer *w, uint32_t number, uint32_t tree, uint32_t column, double base)
{
	struct shape shape = { .start = w->model->tree_start[tree], .size = w->model->tree_start[tree + 1] - w->model->tree_start[tree] };
	measure(w, &shape, column, base);
	mmq_buf_printf(w->out, "Tree=%u\nnum_leaves=%u\nnum_cat=%u\n", number, shape.leaves, shape.sets);
	put_array(w, &shape, "split_feature", false, put_feature);
	put_array(w, &shape, "split_gain", false, put_gain);
	put_array(w, &shape, "threshold", false, put_threshold);
	put_array(w, &shape, "decision_type", false, put_decision);
	put_array(w, &shape, "left_child", false, put_left);
	put_array(w, &shape, "right_child", false, put_right);
	put_array(w, &shape, "leaf_value", true, put_value);
	put_array(w, &shape, "leaf_weight", true, put_weight);
	put_array(w, &shape, "leaf_count", true, put_count);
	put_array(w, &shape, "internal_value", false, put_value);
	put_array(w, &shape, "internal_weight", false, put_weight);
	put_array(w, &shape, "internal_count", false, put_count);
	if (shape.sets > 0)
		put_sets(w, &shape);
	mmq_buf_printf(w->out, "is_linear=0\nshrinkage=1\n\n\n");
}

static void
put_trees(struct writer *w)
{
	const struct mmq_tree_model *model = w->model;
	bool is_forest = model->boosting != MMQ_TREE_GBDT, gives_classes = is_forest && model->classes > 0;
	uint32_t number = 0;
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		for (uint32_t c = 0; c < model->width; c++) {
			double base = gives_classes ? 0 : is_forest || tree < model->outputs ?
			    model->base[tree % model->outputs] * w->converted->target_scale + w->converted->target_mean : 0;
			put_tree(w, number++, tree, c, base);
		}
	}
	for (uint32_t c = 0; model->trees == 0 && c < model->outputs; c++)
		mmq_buf_printf(w->out, "Tree=%u\nnum_leaves=1\nnum_cat=0\nsplit_feature=\nsplit_gain=\nthreshold=\ndecision_type=\nleft_child=\nright_child=\n"
		    "leaf_value=%.17g\nleaf_weight=\nleaf_count=\ninternal_value=\ninternal_weight=\ninternal_count=\nis_linear=0\nshrinkage=1\n\n\n",
		    number++, model->base[c] * w->converted->target_scale + w->converted->target_mean);
	mmq_buf_printf(w->out, "end of trees\n\n");
}

/* A name without what separates names in the file. */
static void
put_name(const struct writer *w, size_t f)
{
	if (w->converted->names == NULL) {
		mmq_buf_printf(w->out, "Column_%zu", f);
		return;
	}
	for (const char *at = w->converted->names[f]; *at != '\0'; at++) {
		char c = (unsigned char)*at <= ' ' || strchr(",[]{}:\"", *at) != NULL ? '_' : *at;
		mmq_buf_append(w->out, &c, 1);
	}
}

/* A category's codes, or the range of the thresholds on a number: LightGBM writes the range of its values. */
static void
put_info(const struct writer *w, size_t f)
{
	const struct mmq_tree_model *model = w->model;
	double low = INFINITY, high = -INFINITY;
	if (w->converted->is_category[f]) {
		for (size_t code = 0; code < w->converted->values_count[f]; code++)
			mmq_buf_printf(w->out, code > 0 ? ":%zu" : "%zu", code);
		if (w->converted->values_count[f] == 0)
			mmq_buf_printf(w->out, "-1");
		return;
	}
	for (uint32_t k = 0; k < model->nodes; k++) {
		if (model->kind[k] == MMQ_NODE_LEAF || model->feature[k] != w->column_of[f])
			continue;
		double t = (double)model->threshold[k];
		low = t < low ? t : low;
		high = t > high ? t : high;
	}
	if (low > high)
		mmq_buf_printf(w->out, "none");
	else
		mmq_buf_printf(w->out, "[%.9g:%.9g]", low, high);
}

static void
put_header(const struct writer *w)
{
	const struct mmq_tree_model *model = w->model;
	bool is_forest = model->boosting != MMQ_TREE_GBDT;
	size_t features = w->converted->features_count;
	mmq_buf_printf(w->out, "tree\nversion=v4\nnum_class=%u\nnum_tree_per_iteration=%u\nlabel_index=0\nmax_feature_idx=%zu\n", model->outputs, model->outputs,
	    features - 1);
	if (model->task == MMQ_REGRESSION)
		mmq_buf_printf(w->out, "objective=%s\n", model->log_link ? "poisson" : "regression");
	else if (!is_forest && model->outputs == 1)
		mmq_buf_printf(w->out, "objective=binary sigmoid:1\n");
	else if (!is_forest)
		mmq_buf_printf(w->out, "objective=multiclass num_class:%u\n", model->outputs);
	if (is_forest)
		mmq_buf_printf(w->out, "average_output\n");
	for (size_t f = 0; f < features; f++) {
		mmq_buf_printf(w->out, f > 0 ? " " : "feature_names=");
		put_name(w, f);
	}
	for (size_t f = 0; f < features; f++) {
		mmq_buf_printf(w->out, f > 0 ? " " : "\nfeature_infos=");
		put_info(w, f);
	}
	mmq_buf_printf(w->out, "\n\n");
}

static bool
is_whole_number(const char *text)
{
	char *end, again[NUMBER_BYTES];
	long value = strtol(text, &end, 10);
	snprintf(again, sizeof(again), "%ld", value);
	return end != text && strcmp(again, text) == 0;
}

/* A category column's values in the order of their codes; whole numbers as numbers, if all of them are. */
static json_t *
list_values(const struct mmq_converted *converted, size_t f)
{
	json_t *list = json_array();
	bool has_texts = converted->values != NULL && converted->values[f] != NULL, are_numbers = true;
	for (size_t k = 0; has_texts && k < converted->values_count[f]; k++)
		are_numbers = are_numbers && is_whole_number(converted->values[f][k]);
	for (size_t k = 0; k < converted->values_count[f]; k++) {
		const char *text = has_texts ? converted->values[f][k] : NULL;
		json_array_append_new(list, text == NULL ? json_integer((json_int_t)k) : are_numbers ? json_integer(strtol(text, NULL, 10)) : json_string(text));
	}
	return list;
}

static void
put_end(const struct writer *w)
{
	const struct mmq_tree_model *model = w->model;
	json_t *lists = json_array();
	mmq_buf_printf(w->out, "feature_importances:\n");
	for (size_t f = 0; f < w->converted->features_count; f++) {
		double splits = model->splits[w->column_of[f]];
		if (splits > 0) {
			put_name(w, f);
			mmq_buf_printf(w->out, "=%.0f\n", splits);
		}
		if (w->converted->is_category[f])
			json_array_append_new(lists, list_values(w->converted, f));
	}
	char *text = json_array_size(lists) > 0 ? json_dumps(lists, 0) : NULL;
	mmq_buf_printf(w->out, "\nparameters:\n[boosting: %s]\nend of parameters\n\npandas_categorical:%s\n", model->boosting == MMQ_TREE_GBDT ? "gbdt" : "rf",
	    text != NULL ? text : "null");
	free(text);
	json_decref(lists);
}

static int
check(const struct writer *w)
{
	const struct mmq_converted *c = w->converted;
	if (w->model->features != c->features_count || (size_t)w->model->cols + w->model->codes_cols != c->features_count)
		return refuse(w, "the columns that the trees see are not the model's own: its preparation makes others of them, which the format cannot say");
	return mmq_converted_is_scaled(c) ? refuse(w, "the model scales its columns, which the format cannot say") : 0;
}

int
mmq_lightgbm_write(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err)
{
	struct mmq_tree_model *model;
	struct writer w = { .converted = converted, .out = out, .err = err };
	if (mmq_tree_model_open(&model, &converted->part, err) == -1)
		return -1;
	w.model = model;
	int result = check(&w);
	if (result == 0) {
		w.column_of = mmq_array(converted->features_count, sizeof(uint32_t));
		w.inner = mmq_array((size_t)model->nodes + 1, sizeof(uint32_t));
		w.leaf = mmq_array((size_t)model->nodes + 1, sizeof(uint32_t));
		w.set = mmq_array((size_t)model->nodes + 1, sizeof(uint32_t));
		w.mean = mmq_array((size_t)model->nodes + 1, sizeof(double));
		for (uint32_t k = 0; k < model->features; k++)
			w.column_of[model->feature_of[k]] = k;
		put_header(&w);
		put_trees(&w);
		put_end(&w);
		result = out->failed ? mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "LightGBM: the model's text is longer than %zu bytes", out->bytes_max) : 0;
	}
	free(w.column_of);
	free(w.inner);
	free(w.leaf);
	free(w.set);
	free(w.mean);
	mmq_tree_model_destroy(&model);
	return result;
}
