/* model.c: collecting grown trees into flat arrays: bins become thresholds, sets of bins become sets of codes. */
#include "engine/tree/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "util/mem.h"

struct mmq_tree_builder {
	const struct mmq_tree_bins *bins;  /* borrowed */
	struct mmq_tree_model model;       /* counts; the arrays below move into it at the end */
	uint32_t *tree_start, *feature, *first, *set_start, *set_word;
	uint8_t *kind;
	float *threshold, *cover, *node_gain;
	double *values;
	uint32_t trees_capacity, nodes_capacity, sets_capacity;
	size_t values_capacity, words_capacity;
	uint32_t *sets_of_tree, *values_of_tree;  /* (trees + 1): counts before each tree, for cutting */
	double *threshold64;                      /* of a taken model that has them; as long as threshold */
	const double *gain_taken;                 /* importance of the trees of a taken model; borrowed */
};

/* Dense or sparse columns in the order of their features, then code columns in theirs. */
static uint32_t *
map_features(const struct mmq_dataset *data)
{
	uint32_t *feature_of = mmq_array(data->x.cols + data->x.codes_cols, sizeof(*feature_of));
	size_t col = 0, code = data->x.cols;
	for (size_t f = 0; f < data->features_count; f++) {
		if (data->features[f].kind == MMQ_CATEGORY)
			feature_of[code++] = (uint32_t)f;
		else
			feature_of[col++] = (uint32_t)f;
	}
	return feature_of;
}

struct mmq_tree_builder *
mmq_tree_builder_new(const struct mmq_fit *fit, const struct mmq_tree_bins *bins, uint32_t width, uint32_t outputs)
{
	struct mmq_tree_builder *builder = mmq_alloc(sizeof(*builder));
	builder->bins = bins;
	builder->model = (struct mmq_tree_model){
		.task = fit->task,
		.classes = fit->train->classes,
		.cols = (uint32_t)fit->train->x.cols,
		.codes_cols = (uint32_t)fit->train->x.codes_cols,
		.features = (uint32_t)fit->train->features_count,
		.width = width,
		.outputs = outputs,
		.train_loss = NAN,
		.valid_loss = NAN,
		.feature_of = map_features(fit->train),
		.oob_score = NAN,
		.owns = true,
	};
	builder->trees_capacity = 64;
	builder->tree_start = mmq_array(65, sizeof(uint32_t));
	builder->sets_of_tree = mmq_array(65, sizeof(uint32_t));
	builder->values_of_tree = mmq_array(65, sizeof(uint32_t));
	builder->set_start = mmq_array(1, sizeof(uint32_t));
	return builder;
}

static void
make_room(struct mmq_tree_builder *builder, const struct mmq_grown *tree)
{
	struct mmq_tree_model *model = &builder->model;
	if (model->trees == builder->trees_capacity) {
		builder->trees_capacity = builder->trees_capacity * 2 + 64;
		size_t count = (size_t)builder->trees_capacity + 1;
		builder->tree_start = mmq_grow(builder->tree_start, count, sizeof(uint32_t));
		builder->sets_of_tree = mmq_grow(builder->sets_of_tree, count, sizeof(uint32_t));
		builder->values_of_tree = mmq_grow(builder->values_of_tree, count, sizeof(uint32_t));
	}
	if (model->nodes + tree->nodes_count > builder->nodes_capacity) {
		builder->nodes_capacity = (model->nodes + tree->nodes_count) * 2;
		builder->feature = mmq_grow(builder->feature, builder->nodes_capacity, sizeof(uint32_t));
		builder->first = mmq_grow(builder->first, builder->nodes_capacity, sizeof(uint32_t));
		builder->kind = mmq_grow(builder->kind, builder->nodes_capacity, 1);
		builder->threshold = mmq_grow(builder->threshold, builder->nodes_capacity, sizeof(float));
		builder->cover = mmq_grow(builder->cover, builder->nodes_capacity, sizeof(float));
		builder->node_gain = mmq_grow(builder->node_gain, builder->nodes_capacity, sizeof(float));
		if (builder->threshold64 != NULL)
			builder->threshold64 = mmq_grow(builder->threshold64, builder->nodes_capacity, sizeof(double));
	}
	size_t wanted = ((size_t)model->value_rows + tree->values_count) * model->width;
	if (wanted > builder->values_capacity) {
		builder->values_capacity = wanted * 2;
		builder->values = mmq_grow(builder->values, builder->values_capacity, sizeof(double));
	}
}

/* A set of bins as a set of codes; codes that were rare or are unknown are in no set. */
static void
add_set(struct mmq_tree_builder *builder, const struct mmq_tree_column *column, const struct mmq_bin_set *set)
{
	struct mmq_tree_model *model = &builder->model;
	size_t words = ((size_t)column->codes + 31) / 32;
	if (model->sets + 2 > builder->sets_capacity) {
		builder->sets_capacity = (model->sets + 2) * 2;
		builder->set_start = mmq_grow(builder->set_start, builder->sets_capacity, sizeof(uint32_t));
	}
	if (model->set_words + words > builder->words_capacity) {
		builder->words_capacity = (model->set_words + words) * 2;
		builder->set_word = mmq_grow(builder->set_word, builder->words_capacity, sizeof(uint32_t));
	}
	uint32_t *out = builder->set_word + model->set_words;
	memset(out, 0, words * sizeof(*out));
	for (uint32_t b = 0; b < column->bins; b++) {
		uint32_t place = (uint32_t)(column->code_of_bin[b] + 1);
		if ((set->has[b / 8] >> b % 8 & 1) != 0)
			out[place / 32] |= 1u << place % 32;
	}
	model->set_words += words;
	builder->set_start[++model->sets] = (uint32_t)model->set_words;
}

static void *
copy_of(const void *items, size_t count, size_t size)
{
	void *copy = mmq_array(count + 1, size);
	if (count > 0)
		memcpy(copy, items, count * size);
	return copy;
}

void
mmq_tree_builder_take(struct mmq_tree_builder *builder, const struct mmq_tree_model *from)
{
	struct mmq_tree_model *model = &builder->model;
	uint32_t *const starts[] = { builder->tree_start, builder->sets_of_tree, builder->values_of_tree, builder->set_start };
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
		free(starts[i]);
	builder->trees_capacity = from->trees;
	builder->nodes_capacity = from->nodes + 1;
	builder->sets_capacity = from->sets + 2;
	builder->words_capacity = from->set_words + 1;
	builder->values_capacity = (size_t)from->value_rows * from->width + 1;
	builder->tree_start = copy_of(from->tree_start, (size_t)from->trees + 1, sizeof(uint32_t));
	builder->sets_of_tree = mmq_array((size_t)from->trees + 1, sizeof(uint32_t));
	builder->values_of_tree = mmq_array((size_t)from->trees + 1, sizeof(uint32_t));
	builder->kind = copy_of(from->kind, from->nodes, 1);
	builder->threshold = copy_of(from->threshold, from->nodes, sizeof(float));
	builder->threshold64 = from->threshold64 != NULL ? copy_of(from->threshold64, from->nodes, sizeof(double)) : NULL;
	builder->feature = copy_of(from->feature, from->nodes, sizeof(uint32_t));
	builder->first = copy_of(from->first, from->nodes, sizeof(uint32_t));
	builder->cover = copy_of(from->cover, from->nodes, sizeof(float));
	builder->node_gain = mmq_array((size_t)from->nodes + 1, sizeof(float));
	builder->set_start = copy_of(from->set_start, (size_t)from->sets + 1, sizeof(uint32_t));
	builder->set_word = copy_of(from->set_word, from->set_words, sizeof(uint32_t));
	builder->values = copy_of(from->values, (size_t)from->value_rows * from->width, sizeof(double));
	builder->gain_taken = from->gain;
	model->trees = from->trees;
	model->nodes = from->nodes;
	model->sets = from->sets;
	model->set_words = from->set_words;
	model->value_rows = from->value_rows;
	/* Never cut into these trees: what they use is kept whole. */
	for (uint32_t t = 0; t <= from->trees; t++) {
		builder->sets_of_tree[t] = from->sets;
		builder->values_of_tree[t] = from->value_rows;
	}
}

void
mmq_tree_builder_add(struct mmq_tree_builder *builder, const struct mmq_grown *tree)
{
	struct mmq_tree_model *model = &builder->model;
	make_room(builder, tree);
	for (uint32_t i = 0; i < tree->nodes_count; i++) {
		const struct mmq_grown_node *node = &tree->nodes[i];
		uint32_t k = model->nodes + i;
		builder->kind[k] = node->first == 0 ? MMQ_NODE_LEAF : node->kind;
		builder->first[k] = node->first;
		builder->cover[k] = node->cover;
		builder->node_gain[k] = node->gain;
		builder->threshold[k] = 0;
		if (node->first == 0) {
			builder->feature[k] = model->value_rows + node->column;
			continue;
		}
		const struct mmq_tree_column *column = &builder->bins->columns[node->column];
		builder->feature[k] = column->source;
		builder->threshold[k] = node->kind == MMQ_NODE_CATEGORY ? (float)model->sets : node->threshold;
		if (node->kind == MMQ_NODE_CATEGORY)
			add_set(builder, column, &tree->sets[node->set]);
	}
	for (uint32_t k = model->nodes; builder->threshold64 != NULL && k < model->nodes + tree->nodes_count; k++)
		builder->threshold64[k] = (double)builder->threshold[k];
	memcpy(builder->values + (size_t)model->value_rows * model->width, tree->values, (size_t)tree->values_count * model->width * sizeof(double));
	model->nodes += tree->nodes_count;
	model->value_rows += tree->values_count;
	model->trees++;
	builder->tree_start[model->trees] = model->nodes;
	builder->sets_of_tree[model->trees] = model->sets;
	builder->values_of_tree[model->trees] = model->value_rows;
}

void
mmq_tree_builder_cut(struct mmq_tree_builder *builder, uint32_t trees)
{
	struct mmq_tree_model *model = &builder->model;
	if (trees >= model->trees)
		return;
	model->trees = trees;
	model->nodes = builder->tree_start[trees];
	model->sets = builder->sets_of_tree[trees];
	model->set_words = builder->set_start[model->sets];
	model->value_rows = builder->values_of_tree[trees];
}

/* The collected trees as a model, without a walk: its arrays are the builder's, but for base, gain and splits, which are the caller's to free. */
static struct mmq_tree_model
view_of(const struct mmq_tree_builder *builder, const struct mmq_tree_options *options, const double *base)
{
	struct mmq_tree_model model = builder->model;
	size_t columns = (size_t)model.cols + model.codes_cols;
	double *gain = mmq_array(columns, sizeof(double)), *splits = mmq_array(columns, sizeof(double));

	if (builder->gain_taken != NULL)
		memcpy(gain, builder->gain_taken, columns * sizeof(double));
	for (uint32_t k = 0; k < model.nodes; k++) {
		if (builder->kind[k] == MMQ_NODE_LEAF)
			continue;
		gain[builder->feature[k]] += builder->node_gain[k];
		splits[builder->feature[k]] += 1;
	}
	model.boosting = options->kind;
	model.base = copy_of(base, model.outputs, sizeof(double));
	model.gain = gain;
	model.splits = splits;
	model.tree_start = builder->tree_start;
	model.kind = builder->kind;
	model.threshold = builder->threshold;
	model.threshold64 = builder->threshold64;
	model.feature = builder->feature;
	model.first = builder->first;
	model.cover = builder->cover;
	model.set_start = builder->set_start;
	model.set_word = builder->set_word;
	model.values = builder->values;
	return model;
}

struct mmq_tree_model *
mmq_tree_builder_finish(struct mmq_tree_builder **builder_p, const struct mmq_tree_options *options, const double *base)
{
	struct mmq_tree_builder *builder = *builder_p;
	struct mmq_tree_model *model = mmq_alloc(sizeof(*model));
	*model = view_of(builder, options, base);
	model->walk = mmq_tree_walk_new(model);
	free(builder->node_gain);
	free(builder->sets_of_tree);
	free(builder->values_of_tree);
	free(builder);
	*builder_p = NULL;
	return model;
}

void
mmq_tree_builder_put(const struct mmq_tree_builder *builder, const struct mmq_tree_options *options, const double *base, struct mmq_part *out)
{
	struct mmq_tree_model model = view_of(builder, options, base);
	mmq_tree_model_save(&model, out);
	mmq_part_put_vector(out, "node_gain", MMQ_F32, model.nodes, builder->node_gain);
	mmq_part_put_vector(out, "sets_of_tree", MMQ_U32, (uint64_t)model.trees + 1, builder->sets_of_tree);
	mmq_part_put_vector(out, "values_of_tree", MMQ_U32, (uint64_t)model.trees + 1, builder->values_of_tree);
	free((void *)model.base);
	free((void *)model.gain);
	free((void *)model.splits);
}

/* Each tree finds its sets and values among those that are left when later trees are cut off. */
static bool
may_be_cut(const struct mmq_tree_model *model, const uint32_t *sets, const uint32_t *values)
{
	for (uint32_t t = 0; t < model->trees; t++) {
		if (sets[t] > sets[t + 1] || values[t] > values[t + 1])
			return false;
		for (uint32_t k = model->tree_start[t]; k < model->tree_start[t + 1]; k++)
			if ((model->kind[k] == MMQ_NODE_LEAF && model->feature[k] >= values[t + 1]) ||
			    (model->kind[k] == MMQ_NODE_CATEGORY && model->threshold[k] >= (float)sets[t + 1]))
				return false;
	}
	return sets[model->trees] == model->sets && values[model->trees] == model->value_rows;
}

uint32_t
mmq_tree_builder_get(struct mmq_tree_builder *builder, const struct mmq_part *in, const struct mmq_tree_model *previous)
{
	const struct mmq_tree_model *own = &builder->model;
	const struct mmq_tensor *gain, *sets, *values;
	struct mmq_tree_model *model;
	struct mmq_err unused;
	if (mmq_tree_model_open(&model, in, &unused) == -1)
		return 0;
	uint64_t nodes = model->nodes, starts = (uint64_t)model->trees + 1;
	bool fits = model->boosting == MMQ_TREE_GBDT && model->task == own->task && model->classes == own->classes && model->cols == own->cols && model->codes_cols == own->codes_cols &&
	    model->features == own->features && model->width == own->width && model->outputs == own->outputs &&
	    (model->threshold64 != NULL) == (previous != NULL && previous->threshold64 != NULL) &&
	    mmq_part_get_tensor(in, "node_gain", MMQ_F32, 1, &nodes, &gain, &unused) == 0 &&
	    mmq_part_get_tensor(in, "sets_of_tree", MMQ_U32, 1, &starts, &sets, &unused) == 0 &&
	    mmq_part_get_tensor(in, "values_of_tree", MMQ_U32, 1, &starts, &values, &unused) == 0 && may_be_cut(model, sets->data, values->data);
	uint32_t trees = fits ? model->trees : 0;
	if (fits) {
		mmq_tree_builder_take(builder, model);
		memcpy(builder->node_gain, gain->data, nodes * sizeof(float));
		memcpy(builder->sets_of_tree, sets->data, starts * sizeof(uint32_t));
		memcpy(builder->values_of_tree, values->data, starts * sizeof(uint32_t));
		builder->gain_taken = previous != NULL ? previous->gain : NULL;
	}
	mmq_tree_model_destroy(&model);
	return trees;
}

void
mmq_tree_model_revalue(struct mmq_tree_model *model, double *values, uint32_t leaves)
{
	uint32_t *feature = (uint32_t *)model->feature, next = 0;
	for (uint32_t k = 0; k < model->nodes; k++)
		if (model->kind[k] == MMQ_NODE_LEAF)
			feature[k] = next++;
	free((double *)model->values);
	model->values = values;
	model->value_rows = leaves;
	mmq_tree_walk_destroy(&model->walk);
	model->walk = mmq_tree_walk_new(model);
}

static void
free_arrays(const struct mmq_tree_model *model)
{
	const void *const arrays[] = { model->base, model->tree_start, model->kind, model->threshold, model->threshold64, model->feature, model->first,
		model->cover, model->set_start, model->set_word, model->values, model->gain, model->splits,
		model->feature_of };
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		free((void *)arrays[i]);
}

void
mmq_tree_builder_destroy(struct mmq_tree_builder **builder_p)
{
	struct mmq_tree_builder *builder = *builder_p;
	if (builder == NULL)
		return;
	free((void *)builder->model.feature_of);
	void *const arrays[] = { builder->tree_start, builder->feature, builder->first, builder->set_start, builder->set_word, builder->kind,
		builder->threshold, builder->threshold64, builder->cover, builder->node_gain, builder->values, builder->sets_of_tree, builder->values_of_tree };
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		free(arrays[i]);
	free(builder);
	*builder_p = NULL;
}

void
mmq_tree_model_destroy(struct mmq_tree_model **model_p)
{
	struct mmq_tree_model *model = *model_p;
	if (model == NULL)
		return;
	mmq_tree_walk_destroy(&model->walk);
	if (model->owns)
		free_arrays(model);
	free(model);
	*model_p = NULL;
}
