/* xgboost.c: XGBoost's model tree of JSON values, from either of its two spellings.
 *
 * A numeric node sends x < split left, as floats, so it is x <= the float below. A category node sends the values in its list right and
 * all else left. Missing values go as default_left says. Trees of one class follow each other anywhere; ours go round by round. */
#include "convert/xgboost.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "convert/ubjson.h"
#include "engine/tree/model.h"
#include "util/mem.h"

enum { CATEGORY_MAX = 1 << 20 };

static int
fail(struct mmq_err *err, const char *what)
{
	return mmq_err_set(err, MMQ_DATA_LOSS, "XGBoost model: %s", what);
}

static const json_t *
at(const json_t *value, const char *const *path)
{
	for (; value != NULL && *path != NULL; path++)
		value = json_object_get(value, *path);
	return value;
}
#define AT(value, ...) at(value, (const char *const[]){ __VA_ARGS__, NULL })

static bool
number_of(const json_t *value, double *out)
{
	if (json_is_boolean(value))
		*out = json_is_true(value);
	else if (json_is_number(value))
		*out = json_number_value(value);
	else
		return false;
	return true;
}

/* Numbers of parameters are texts. */
static int
count_of(const json_t *value, double max, uint32_t *out, struct mmq_err *err)
{
	double number = json_is_string(value) ? strtod(json_string_value(value), NULL) : json_is_number(value) ? json_number_value(value) : -1;
	if (!(number >= 0 && number <= max && number == floor(number)))
		return fail(err, "a count of its parameters is absent or out of range");
	*out = (uint32_t)number;
	return 0;
}

struct tree {
	const json_t *left, *right, *feature, *split, *default_left, *type, *cover, *gain;
	const json_t *categories, *category_nodes, *category_starts, *category_sizes;
	size_t count;
	uint32_t *set_of;   /* (count): place of a category node in category_nodes, plus 1 */
};

static int
number_at(const json_t *array, size_t k, double min, double max, double *out, struct mmq_err *err)
{
	if (!number_of(json_array_get(array, k), out) || !(*out >= min && *out <= max))
		return fail(err, "a tree's array is too short, or holds something that is no number in range");
	return 0;
}

/* The bit set of a category node; *words is the caller's. */
static int
read_set(const struct tree *tree, size_t node, struct mmq_import_node *out, uint32_t **words, struct mmq_err *err)
{
	double start, size, value, largest = 0;
	size_t k = tree->set_of[node];
	if (k-- == 0)
		return fail(err, "a category node without categories");
	double total = (double)json_array_size(tree->categories);
	if (number_at(tree->category_starts, k, 0, total, &start, err) == -1 || number_at(tree->category_sizes, k, 0, total - start, &size, err) == -1)
		return -1;
	for (double i = start; i < start + size; i++) {
		if (number_at(tree->categories, (size_t)i, 0, CATEGORY_MAX, &value, err) == -1)
			return -1;
		largest = value > largest ? value : largest;
	}
	out->set_words = (size_t)largest / 32 + 1;
	*words = mmq_array(out->set_words, sizeof(**words));
	for (double i = start; i < start + size; i++) {
		value = json_number_value(json_array_get(tree->categories, (size_t)i));
		(*words)[(size_t)value / 32] |= 1u << (size_t)value % 32;
	}
	out->set = *words;
	return 0;
}

static int
read_node(const struct tree *tree, size_t k, struct mmq_import_node *out, uint32_t **words, struct mmq_err *err)
{
	double left, right, feature, split, by_default, type = 0, nodes = (double)tree->count;
	if (number_at(tree->left, k, -1, nodes - 1, &left, err) == -1 || number_at(tree->right, k, -1, nodes - 1, &right, err) == -1 ||
	    number_at(tree->split, k, -INFINITY, INFINITY, &split, err) == -1)
		return -1;
	*out = (struct mmq_import_node){ .is_leaf = left < 0, .value = (double)(float)split };
	number_of(json_array_get(tree->cover, k), &out->cover);
	if (out->is_leaf)
		return 0;
	number_of(json_array_get(tree->gain, k), &out->gain);
	if (right < 0 || number_at(tree->feature, k, 0, MMQ_IMPORT_FEATURES_MAX, &feature, err) == -1 ||
	    number_at(tree->default_left, k, 0, 1, &by_default, err) == -1 ||
	    (json_array_size(tree->type) > 0 && number_at(tree->type, k, 0, 1, &type, err) == -1))
		return right < 0 ? fail(err, "a node with one child") : -1;
	bool default_left = by_default > 0, is_category = type > 0;
	out->feature = (uint32_t)feature;
	out->threshold = (double)nextafterf((float)split, -INFINITY);
	out->kind = is_category ? MMQ_NODE_CATEGORY : default_left ? MMQ_NODE_LESS_SECOND : MMQ_NODE_LESS_FIRST;
	bool right_first = is_category || default_left;
	out->first = (uint32_t)(right_first ? right : left);
	out->second = (uint32_t)(right_first ? left : right);
	out->missing_first = is_category && !default_left;
	return is_category ? read_set(tree, k, out, words, err) : 0;
}

static int
find_sets(struct tree *tree, struct mmq_err *err)
{
	double node;
	for (size_t k = 0; k < json_array_size(tree->category_nodes); k++) {
		if (number_at(tree->category_nodes, k, 0, (double)tree->count - 1, &node, err) == -1)
			return -1;
		tree->set_of[(size_t)node] = (uint32_t)k + 1;
	}
	return 0;
}

static void
tell_place(struct mmq_err *err, uint32_t tree, size_t node)
{
	struct mmq_err what = *err;
	mmq_err_set(err, what.code, "%s (tree %u, node %zu)", what.message, tree, node);
}

static int
add_tree(struct mmq_import *import, const json_t *value, double scale, struct mmq_err *err)
{
	struct tree tree = { json_object_get(value, "left_children"), json_object_get(value, "right_children"),
		json_object_get(value, "split_indices"), json_object_get(value, "split_conditions"), json_object_get(value, "default_left"),
		json_object_get(value, "split_type"), json_object_get(value, "sum_hessian"), json_object_get(value, "loss_changes"),
		json_object_get(value, "categories"), json_object_get(value, "categories_nodes"), json_object_get(value, "categories_segments"),
		json_object_get(value, "categories_sizes"), 0, NULL };
	uint32_t width = 1;
	const json_t *leaf = AT(value, "tree_param", "size_leaf_vector");
	if (leaf != NULL && count_of(leaf, MMQ_IMPORT_CLASSES_MAX, &width, err) == -1)
		return -1;
	if (width > 1)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "XGBoost model: leaves that hold vectors (multi_output_tree) are not taken");
	tree.count = json_array_size(tree.left);
	struct mmq_import_node *nodes = mmq_array(tree.count + 1, sizeof(*nodes));
	uint32_t **words = mmq_array(tree.count + 1, sizeof(*words));
	tree.set_of = mmq_array(tree.count + 1, sizeof(*tree.set_of));
	int result = find_sets(&tree, err);
	for (size_t k = 0; k < tree.count && result == 0; k++)
		if ((result = read_node(&tree, k, &nodes[k], &words[k], err)) == -1)
			tell_place(err, import->trees, k);
	if (result == 0)
		result = mmq_import_tree(import, nodes, tree.count, scale, err);
	for (size_t k = 0; k < tree.count; k++)
		free(words[k]);
	free(tree.set_of);
	free(words);
	free(nodes);
	return result;
}

/* Our trees go class after class in each round; classes with fewer trees get constant zeros. */
static int
add_trees(struct mmq_import *import, const json_t *model, const json_t *weights, struct mmq_err *err)
{
	const json_t *trees = json_object_get(model, "trees"), *info = json_object_get(model, "tree_info");
	size_t count = json_array_size(trees), most = 0, *of_class = mmq_array((size_t)import->outputs + 1, sizeof(*of_class));
	size_t *order = mmq_array((count + 1) * 2, sizeof(*order)), *class_of = order + count + 1;
	static const struct mmq_import_node zero = { .is_leaf = true };
	double number, weight;
	int result = 0;

	for (size_t t = 0; t < count && result == 0; t++) {
		result = number_at(info, t, 0, import->outputs - 1, &number, err);
		class_of[t] = result == 0 ? (size_t)number : 0;
		most = ++of_class[class_of[t]] > most ? of_class[class_of[t]] : most;
	}
	size_t *next = mmq_array((size_t)import->outputs, sizeof(*next));
	for (size_t round = 0; round < most && result == 0; round++) {
		for (uint32_t c = 0; c < import->outputs && result == 0; c++) {
			while (next[c] < count && class_of[next[c]] != c)
				next[c]++;
			if (next[c] == count) {
				result = mmq_import_tree(import, &zero, 1, 1, err);
				continue;
			}
			weight = 1;
			if (weights != NULL)
				result = number_at(weights, next[c], -1e30, 1e30, &weight, err);
			if (result == 0)
				result = add_tree(import, json_array_get(trees, next[c]++), weight, err);
		}
	}
	free(next);
	free(order);
	free(of_class);
	return result;
}

static int
read_objective(struct mmq_import *import, const json_t *learner, struct mmq_err *err)
{
	static const struct { const char *name; enum mmq_task task; bool log_link; } known[] = { { "reg:squarederror", MMQ_REGRESSION, false },
		{ "reg:linear", MMQ_REGRESSION, false }, { "reg:squaredlogerror", MMQ_REGRESSION, false }, { "reg:pseudohubererror", MMQ_REGRESSION, false },
		{ "reg:absoluteerror", MMQ_REGRESSION, false }, { "reg:quantileerror", MMQ_REGRESSION, false }, { "count:poisson", MMQ_REGRESSION, true },
		{ "reg:gamma", MMQ_REGRESSION, true }, { "reg:tweedie", MMQ_REGRESSION, true }, { "binary:logistic", MMQ_BINARY, false },
		{ "multi:softprob", MMQ_MULTICLASS, false }, { "multi:softmax", MMQ_MULTICLASS, false } };
	const char *name = json_string_value(AT(learner, "objective", "name"));
	uint32_t classes = 0;
	if (name == NULL || count_of(AT(learner, "learner_model_param", "num_class"), MMQ_IMPORT_CLASSES_MAX, &classes, err) == -1)
		return fail(err, "the objective or the number of classes is absent");
	uint32_t targets = 1;
	const json_t *wanted = AT(learner, "learner_model_param", "num_target");
	if (wanted != NULL && count_of(wanted, MMQ_IMPORT_CLASSES_MAX, &targets, err) == -1)
		return -1;
	if (targets > 1)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "XGBoost model: it answers with %u targets, only one is taken", targets);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0) {
			import->task = known[i].task;
			import->log_link = known[i].log_link;
		}
	if (import->task == MMQ_TASK_NONE)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "XGBoost model: objective '%.40s' is not taken", name);
	if (import->task == MMQ_MULTICLASS && classes < 2)
		return fail(err, "several classes, but num_class is below 2");
	import->classes = import->task == MMQ_MULTICLASS ? classes : import->task == MMQ_BINARY ? 2 : 0;
	import->outputs = import->task == MMQ_MULTICLASS ? classes : 1;
	return 0;
}

/* base_score: a number, a text, or a text of an array; one value or one a class. Models with a link keep it as an answer. */
static int
read_base(struct mmq_import *import, const json_t *learner, struct mmq_err *err)
{
	const json_t *value = AT(learner, "learner_model_param", "base_score");
	const char *text = json_is_string(value) ? json_string_value(value) : "";
	double one = json_is_number(value) ? json_number_value(value) : NAN;
	uint32_t found = json_is_number(value);

	import->base = mmq_array(import->outputs, sizeof(double));
	import->base[0] = one;
	text += *text == '[';
	while (json_is_string(value)) {
		char *end;
		one = strtod(text, &end);
		if (end == text || found == import->outputs)
			return fail(err, "base_score is no number, or has more numbers than classes");
		import->base[found++] = one;
		text = end + strspn(end, " ,");
		if (*text == ']' || *text == '\0')
			break;
	}
	if (found != 1 && found != import->outputs)
		return fail(err, "base_score is absent, or has fewer numbers than classes");
	for (uint32_t c = 0; c < import->outputs; c++) {
		double base = found == 1 ? import->base[0] : import->base[c];
		if (import->task == MMQ_BINARY && !(base > 0 && base < 1))
			return fail(err, "base_score is no probability");
		if (import->log_link && !(base > 0))
			return fail(err, "base_score is not positive");
		import->base[c] = import->task == MMQ_BINARY ? log(base / (1 - base)) : import->log_link ? log(base) : base;
		if (!isfinite(import->base[c]))
			return fail(err, "base_score is not finite");
	}
	return 0;
}

/* Names if the file has them, and which features are categories by the nodes that use them. */
static int
read_features(struct mmq_import *import, const json_t *learner, const json_t *model, struct mmq_err *err)
{
	uint32_t count;
	const json_t *names = json_object_get(learner, "feature_names"), *trees = json_object_get(model, "trees"), *tree;
	size_t t;
	if (count_of(AT(learner, "learner_model_param", "num_feature"), MMQ_IMPORT_FEATURES_MAX, &count, err) == -1 || count == 0)
		return fail(err, "num_feature is absent or 0");
	import->names = mmq_array(count, sizeof(char *));
	import->is_category = mmq_array(count, sizeof(bool));
	import->values = mmq_array(count, sizeof(char **));
	import->values_count = mmq_array(count, sizeof(size_t));
	import->features_count = count;
	for (size_t f = 0; f < count; f++) {
		const char *name = json_string_value(json_array_get(names, f));
		char made[24];
		snprintf(made, sizeof(made), "f%zu", f);
		import->names[f] = mmq_strdup(name != NULL ? name : made);
		const char *type = json_string_value(json_array_get(json_object_get(learner, "feature_types"), f));
		import->is_category[f] = type != NULL && type[0] == 'c';
	}
	json_array_foreach(trees, t, tree) {
		const json_t *nodes = json_object_get(tree, "categories_nodes");
		for (size_t k = 0; k < json_array_size(nodes); k++) {
			double node, feature;
			if (number_at(nodes, k, 0, MMQ_IMPORT_NODES_MAX, &node, err) == -1 ||
			    number_at(json_object_get(tree, "split_indices"), (size_t)node, 0, count - 1, &feature, err) == -1)
				return -1;
			import->is_category[(size_t)feature] = true;
		}
	}
	if (mmq_xgboost_read_cats(import, AT(model, "cats", "enc"), err) == -1)
		return -1;
	mmq_import_columns(import);
	return 0;
}

static int
read_model(struct mmq_import *import, const json_t *root, struct mmq_err *err)
{
	const json_t *learner = json_object_get(root, "learner"), *booster = json_object_get(learner, "gradient_booster"), *weights = NULL;
	const char *name = json_string_value(json_object_get(booster, "name"));
	if (name == NULL)
		return fail(err, "learner.gradient_booster.name is absent");
	if (strcmp(name, "dart") == 0) {
		if ((weights = json_object_get(booster, "weight_drop")) == NULL)
			return fail(err, "a dart model without weight_drop");
		booster = json_object_get(booster, "gbtree");
	} else if (strcmp(name, "gbtree") != 0) {
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "XGBoost model: booster '%.40s' is not taken (gbtree and dart are)", name);
	}
	const json_t *model = json_object_get(booster, "model");
	if (!json_is_array(json_object_get(model, "trees")))
		return fail(err, "its trees are absent");
	if (read_objective(import, learner, err) == -1 || read_base(import, learner, err) == -1 || read_features(import, learner, model, err) == -1 ||
	    add_trees(import, model, weights, err) == -1)
		return -1;
	mmq_import_finish(import);
	return 0;
}

/* JSON text goes on with a quote or white space after its brace; UBJSON with a length's type. */
static bool
is_json(const uint8_t *bytes, size_t size)
{
	return size > 1 && bytes[0] == '{' && memchr("\" \t\r\n}", bytes[1], 6) != NULL;
}

bool
mmq_xgboost_is_it(const uint8_t *bytes, size_t size)
{
	/* {L and a length of 8 bytes: how XGBoost begins an object. */
	return is_json(bytes, size) || (size > 10 && bytes[0] == '{' && bytes[1] == 'L' && bytes[2] == 0);
}

int
mmq_xgboost_read(struct mmq_import *import, const void *bytes, size_t size, struct mmq_err *err)
{
	json_error_t fault;
	json_t *root;
	mmq_import_init(import);
	if (size > MMQ_XGBOOST_BYTES_MAX)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "XGBoost model: %zu bytes, at most %d are read", size, MMQ_XGBOOST_BYTES_MAX);
	if (is_json(bytes, size)) {
		root = json_loadb(bytes, size, 0, &fault);
		if (root == NULL)
			return mmq_err_set(err, MMQ_DATA_LOSS, "XGBoost model, line %d, byte %d: %s", fault.line, fault.position, fault.text);
	} else if ((root = mmq_ubjson_read(bytes, size, err)) == NULL) {
		return -1;
	}
	int result = read_model(import, root, err);
	json_decref(root);
	if (result == -1)
		mmq_import_fini(import);
	return result;
}

int
mmq_xgboost_convert(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	struct mmq_import import;

	if (mmq_xgboost_read(&import, bytes, size, err) == -1)
		return -1;
	mmq_import_convert(&import, converted);
	return 0;
}
