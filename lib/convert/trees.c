/* trees.c: imported trees in the tree engine's order and part format. */
#include "convert/trees.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/model.h"
#include "util/mem.h"

void
mmq_import_init(struct mmq_import *import)
{
	*import = (struct mmq_import){ .task = MMQ_TASK_NONE };
	mmq_part_init(&import->part, true);
}

void
mmq_import_fini(struct mmq_import *import)
{
	for (size_t f = 0; f < import->features_count; f++) {
		for (size_t k = 0; import->values != NULL && k < import->values_count[f]; k++)
			free(import->values[f][k]);
		if (import->values != NULL)
			free(import->values[f]);
		if (import->names != NULL)
			free(import->names[f]);
	}
	void *const arrays[] = { import->names, import->is_category, import->values, import->values_count, import->base, import->column,
		import->tree_start, import->feature, import->first, import->set_start, import->set_word, import->kind, import->threshold,
		import->values_of, import->gain, import->splits, import->cover };
	for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
		free(arrays[i]);
	mmq_part_fini(&import->part);
	mmq_import_init(import);
}

void
mmq_import_columns(struct mmq_import *import)
{
	import->column = mmq_array(import->features_count + 1, sizeof(*import->column));
	for (size_t f = 0; f < import->features_count; f++)
		import->column[f] = import->is_category[f] ? import->codes_cols++ : import->cols++;
	for (size_t f = 0; f < import->features_count; f++)
		import->column[f] += import->is_category[f] ? import->cols : 0;
	import->gain = mmq_array(import->features_count, sizeof(double));
	import->splits = mmq_array(import->features_count, sizeof(double));
	import->tree_start = mmq_array(1, sizeof(uint32_t));
	import->set_start = mmq_array(1, sizeof(uint32_t));
}

static void
make_room(struct mmq_import *import, size_t count)
{
	if (import->trees + 2 > import->trees_capacity) {
		import->trees_capacity = ((size_t)import->trees + 2) * 2;
		import->tree_start = mmq_grow(import->tree_start, import->trees_capacity, sizeof(uint32_t));
	}
	if (import->nodes + count <= import->nodes_capacity)
		return;
	import->nodes_capacity = (import->nodes + count) * 2;
	import->feature = mmq_grow(import->feature, import->nodes_capacity, sizeof(uint32_t));
	import->first = mmq_grow(import->first, import->nodes_capacity, sizeof(uint32_t));
	import->kind = mmq_grow(import->kind, import->nodes_capacity, 1);
	import->threshold = mmq_grow(import->threshold, import->nodes_capacity, sizeof(double));
	import->values_of = mmq_grow(import->values_of, import->nodes_capacity, sizeof(double));
	import->cover = mmq_grow(import->cover, import->nodes_capacity, sizeof(float));
}

/* The node's set of values as a set of codes: bit code + 1, bit 0 for missing. Returns its number. */
static uint32_t
add_set(struct mmq_import *import, const struct mmq_import_node *node)
{
	size_t words = node->set_words + 1;
	if (import->sets + 2 > import->sets_capacity) {
		import->sets_capacity = ((size_t)import->sets + 2) * 2;
		import->set_start = mmq_grow(import->set_start, import->sets_capacity, sizeof(uint32_t));
	}
	if (import->words + words > import->words_capacity) {
		import->words_capacity = (import->words + words) * 2;
		import->set_word = mmq_grow(import->set_word, import->words_capacity, sizeof(uint32_t));
	}
	uint32_t *out = import->set_word + import->words, carry = node->missing_first ? 1 : 0;
	for (size_t w = 0; w < node->set_words; w++) {
		out[w] = node->set[w] << 1 | carry;
		carry = node->set[w] >> 31;
	}
	out[node->set_words] = carry;
	import->words += words;
	import->set_start[++import->sets] = (uint32_t)import->words;
	return import->sets - 1;
}

static int
check_node(const struct mmq_import *import, const struct mmq_import_node *node, size_t count, uint32_t number, struct mmq_err *err)
{
	const char *fault = NULL;
	if (node->is_leaf)
		fault = isfinite(node->value) ? NULL : "a leaf's value is not finite";
	else if (node->first >= count || node->second >= count)
		fault = "a child is out of range";
	else if (node->feature >= import->features_count)
		fault = "a feature is out of range";
	else if (import->is_category[node->feature] != (node->kind == MMQ_NODE_CATEGORY))
		fault = "a feature is a number in one node and a category in another";
	else if (node->kind == MMQ_NODE_CATEGORY && import->sets >= MMQ_IMPORT_SETS_MAX - 2)
		fault = "more category nodes than can be kept";
	else if (node->kind != MMQ_NODE_CATEGORY && isnan(node->threshold))
		fault = "a threshold is not a number";
	if (fault == NULL)
		return 0;
	return mmq_err_set(err, MMQ_DATA_LOSS, "tree %u, node %u: %s", import->trees, number, fault);
}

static void
put_node(struct mmq_import *import, const struct mmq_import_node *node, uint32_t k, uint32_t first, double scale)
{
	import->cover[k] = (float)(isfinite(node->cover) && node->cover > 0 && node->cover < 1e30 ? node->cover : 0);
	import->first[k] = first;
	import->threshold[k] = 0;
	import->values_of[k] = 0;
	import->kind[k] = MMQ_NODE_LEAF;
	import->feature[k] = k;
	if (node->is_leaf) {
		import->values_of[k] = node->value * scale;
		return;
	}
	import->kind[k] = node->kind;
	import->feature[k] = import->column[node->feature];
	import->threshold[k] = node->kind == MMQ_NODE_CATEGORY ? add_set(import, node) : node->threshold;
	import->gain[import->feature[k]] += isfinite(node->gain) ? node->gain : 0;
	import->splits[import->feature[k]] += 1;
}

int
mmq_import_tree(struct mmq_import *import, const struct mmq_import_node *nodes, size_t count, double scale, struct mmq_err *err)
{
	uint32_t *queue = mmq_array(count + 2, sizeof(*queue)), tail = 1;
	uint8_t *is_seen = mmq_array(count + 1, 1);
	int result = count == 0 || import->nodes + count > MMQ_IMPORT_NODES_MAX ? mmq_err_set(err, MMQ_DATA_LOSS, "tree %u: %s", import->trees,
	    count == 0 ? "it has no node" : "more nodes than can be kept") : 0;

	if (result == 0)
		make_room(import, count);
	for (uint32_t head = 0; result == 0 && head < tail; head++) {
		const struct mmq_import_node *node = &nodes[queue[head]];
		result = check_node(import, node, count, queue[head], err);
		if (result == -1)
			break;
		if (!node->is_leaf) {
			if (node->first == 0 || node->second == 0 || is_seen[node->first] || is_seen[node->second] || node->first == node->second) {
				result = mmq_err_set(err, MMQ_DATA_LOSS, "tree %u, node %u: a child is reached twice", import->trees, queue[head]);
				break;
			}
			is_seen[node->first] = is_seen[node->second] = 1;
			queue[tail] = node->first;
			queue[tail + 1] = node->second;
			tail += 2;
		}
		put_node(import, node, import->nodes + head, node->is_leaf ? 0 : tail - 2, scale);
	}
	if (result == 0) {
		import->nodes += tail;
		import->tree_start[++import->trees] = import->nodes;
	}
	free(queue);
	free(is_seen);
	return result;
}

/* The largest float that is not above t: then x <= t holds for the same floats x. */
static float
float_below(double t)
{
	float f = (float)t;
	return (double)f > t ? nextafterf(f, -INFINITY) : f;
}

void
mmq_import_finish(struct mmq_import *import)
{
	struct mmq_tree_model model = { .boosting = MMQ_TREE_GBDT, .task = import->task, .log_link = import->log_link, .classes = import->classes, .cols = import->cols,
		.codes_cols = import->codes_cols, .features = (uint32_t)import->features_count, .trees = import->trees, .outputs = import->outputs,
		.width = 1, .nodes = import->nodes, .sets = import->sets, .value_rows = import->nodes, .set_words = import->words,
		.base = import->base, .tree_start = import->tree_start, .kind = import->kind, .feature = import->feature, .first = import->first,
		.cover = import->cover, .set_start = import->set_start, .set_word = import->set_word, .values = import->values_of,
		.gain = import->gain, .splits = import->splits, .best_iteration = import->trees / import->outputs, .train_loss = NAN,
		.valid_loss = NAN, .threshold64 = import->keeps_doubles ? import->threshold : NULL };
	float *threshold = mmq_array((size_t)import->nodes + 1, sizeof(*threshold));
	uint32_t *feature_of = mmq_array(import->features_count, sizeof(*feature_of));
	for (size_t f = 0; f < import->features_count; f++)
		feature_of[import->column[f]] = (uint32_t)f;
	model.feature_of = feature_of;
	for (uint32_t k = 0; k < import->nodes; k++)
		threshold[k] = float_below(import->threshold[k]);
	model.threshold = threshold;
	mmq_tree_model_save(&model, &import->part);
	free(threshold);
	free(feature_of);
}

/* Codes that are the values themselves: as many as any set of the feature holds; a larger one is in no set, which is what unseen means too. */
static size_t
codes_in_use(const struct mmq_import *import, size_t f)
{
	size_t most = 1;
	for (uint32_t k = 0; k < import->nodes; k++) {
		if (import->kind[k] != MMQ_NODE_CATEGORY || import->feature[k] != import->column[f])
			continue;
		uint32_t set = (uint32_t)import->threshold[k];
		size_t codes = (size_t)(import->set_start[set + 1] - import->set_start[set]) * 32 - 1;
		most = codes > most ? codes : most;
	}
	return most;
}

void
mmq_import_convert(struct mmq_import *import, struct mmq_converted *converted)
{
	size_t features = import->features_count;

	converted->engine = "tree";
	converted->task = import->task;
	converted->classes = (struct mmq_classes){ .type = MMQ_LABEL_INT, .count = import->classes, .ints = mmq_array(import->classes, sizeof(int64_t)) };
	for (uint32_t c = 0; c < import->classes; c++)
		converted->classes.ints[c] = c;
	converted->positive = import->task == MMQ_BINARY;
	converted->dtype = import->keeps_doubles ? MMQ_F64 : MMQ_F32;
	converted->features_count = features;
	converted->names = import->names;
	converted->is_category = import->is_category;
	converted->values = import->values;
	converted->values_count = import->values_count;
	if (converted->values_count == NULL)
		converted->values_count = mmq_array(features, sizeof(size_t));
	for (size_t f = 0; f < features; f++)
		if (import->is_category[f] && (converted->values == NULL || converted->values[f] == NULL))
			converted->values_count[f] = codes_in_use(import, f);
	struct mmq_part empty = converted->part;
	converted->part = import->part;
	import->part = empty;
	import->features_count = 0;
	import->names = NULL;
	import->is_category = NULL;
	import->values = NULL;
	import->values_count = NULL;
	mmq_import_fini(import);
}
