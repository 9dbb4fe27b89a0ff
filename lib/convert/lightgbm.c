/* lightgbm.c: LightGBM's text model, line by line: `key=value`, arrays separated by spaces, one block of keys per tree.
 *
 * A numeric node sends x <= threshold left. Where missing values go is in decision_type: bit 0 category, bit 1 default left, bits 2-3
 * what counts as missing (0 nothing: NaN is 0; 1 zero and NaN; 2 NaN). A category node sends the values of its bit set left and all else right. */
#include "convert/lightgbm.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lines.h"
#include "engine/tree/model.h"
#include "util/mem.h"

enum { IS_CATEGORY = 1, DEFAULT_LEFT = 2, MISSING_ZERO = 1, MISSING_NAN = 2 };
enum key { NUM_LEAVES, NUM_CAT, SPLIT_FEATURE, SPLIT_GAIN, THRESHOLD, DECISION_TYPE, LEFT_CHILD, RIGHT_CHILD, LEAF_VALUE, LEAF_COUNT,
	INTERNAL_COUNT, CAT_BOUNDARIES, CAT_THRESHOLD, IS_LINEAR, KEYS };
static const char *const key_names[KEYS] = { "num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type", "left_child",
	"right_child", "leaf_value", "leaf_count", "internal_count", "cat_boundaries", "cat_threshold", "is_linear" };

struct text {
	struct mmq_lines lines;
	bool averages;               /* a forest: the mean of its trees */
	uint32_t trees_per_round;
};

static int
fail(const struct text *text, const char *what)
{
	return mmq_lines_damaged(&text->lines, what);
}

static int
refuse(const struct text *text, const char *what)
{
	return mmq_lines_refuse(&text->lines, what);
}

/* The next line, without what a line of other systems ends with; NULL at the end. */
static char *
next_line(struct text *text)
{
	if (!mmq_lines_next(&text->lines))
		return NULL;
	char *line = text->lines.rest;
	size_t length = strlen(line);
	if (length > 0 && line[length - 1] == '\r')
		line[length - 1] = '\0';
	return line;
}

static char *
value_of(char *line, const char *key)
{
	size_t length = strlen(key);
	return strncmp(line, key, length) == 0 && line[length] == '=' ? line + length + 1 : NULL;
}

static int
read_count(const struct text *text, const char *value, unsigned long max, uint32_t *out)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);
	if (end == value || *end != '\0' || *value == '-' || number > max)
		return fail(text, "not a count in the range that is allowed");
	*out = (uint32_t)number;
	return 0;
}

/* Exactly count numbers in [min, max]; *out is the caller's. An absent key (NULL) is an error unless count is 0. */
static int
read_numbers(const struct text *text, const char *value, size_t count, double min, double max, double **out)
{
	*out = NULL;
	if (count == 0)
		return 0;
	/* Every number takes a character and a separator: no more memory than the line has bytes. */
	if (value == NULL || count > strlen(value) / 2 + 1)
		return fail(text, "an array is absent or shorter than announced");
	*out = mmq_array(count, sizeof(**out));
	for (size_t k = 0; k < count; k++) {
		char *end;
		(*out)[k] = strtod(value, &end);
		if (end == value || !((*out)[k] >= min && (*out)[k] <= max)) {
			free(*out);
			*out = NULL;
			return fail(text, "an array holds something that is no number, or out of range, or too few of them");
		}
		value = end;
	}
	return value[strspn(value, " ")] == '\0' ? 0 : fail(text, "an array is longer than announced");
}

/* The arrays of one tree as they stand in the file. */
struct block { char *value[KEYS]; };
struct arrays { double *number[KEYS]; };

static void
arrays_fini(struct arrays *arrays)
{
	for (int key = 0; key < KEYS; key++)
		free(arrays->number[key]);
}

static int
read_arrays(const struct text *text, const struct block *block, uint32_t leaves, uint32_t sets, struct arrays *arrays)
{
	static const struct { enum key key; double min, max; } wanted[] = { { SPLIT_FEATURE, 0, MMQ_IMPORT_FEATURES_MAX },
		{ THRESHOLD, -INFINITY, INFINITY }, { DECISION_TYPE, 0, 15 }, { LEFT_CHILD, -MMQ_IMPORT_NODES_MAX, MMQ_IMPORT_NODES_MAX },
		{ RIGHT_CHILD, -MMQ_IMPORT_NODES_MAX, MMQ_IMPORT_NODES_MAX } };
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (read_numbers(text, block->value[wanted[i].key], leaves - 1, wanted[i].min, wanted[i].max, &arrays->number[wanted[i].key]) == -1)
			return -1;
	if (read_numbers(text, block->value[LEAF_VALUE], leaves, -1e300, 1e300, &arrays->number[LEAF_VALUE]) == -1)
		return -1;
	if (block->value[SPLIT_GAIN] != NULL &&
	    read_numbers(text, block->value[SPLIT_GAIN], leaves - 1, -INFINITY, INFINITY, &arrays->number[SPLIT_GAIN]) == -1)
		return -1;
	if (block->value[LEAF_COUNT] != NULL && block->value[INTERNAL_COUNT] != NULL &&
	    (read_numbers(text, block->value[LEAF_COUNT], leaves, 0, 1e18, &arrays->number[LEAF_COUNT]) == -1 ||
	        read_numbers(text, block->value[INTERNAL_COUNT], leaves - 1, 0, 1e18, &arrays->number[INTERNAL_COUNT]) == -1))
		return -1;
	if (sets == 0)
		return 0;
	if (read_numbers(text, block->value[CAT_BOUNDARIES], (size_t)sets + 1, 0, 1 << 24, &arrays->number[CAT_BOUNDARIES]) == -1)
		return -1;
	for (uint32_t k = 0; k < sets; k++)
		if (arrays->number[CAT_BOUNDARIES][0] != 0 || arrays->number[CAT_BOUNDARIES][k + 1] < arrays->number[CAT_BOUNDARIES][k])
			return fail(text, "cat_boundaries do not rise from 0");
	return read_numbers(text, block->value[CAT_THRESHOLD], (size_t)arrays->number[CAT_BOUNDARIES][sets], 0, UINT32_MAX, &arrays->number[CAT_THRESHOLD]);
}

/* A child as a node's number: negative ones are leaves, which stand after the inner nodes. */
static uint32_t
child_number(double child, uint32_t inner)
{
	return child >= 0 ? (uint32_t)child : inner + (uint32_t)(-child - 1);
}

/* The second child is the one that missing values go to. */
static void
numeric_node(struct mmq_import_node *node, unsigned decision, uint32_t left, uint32_t right)
{
	unsigned missing = decision >> 2;
	bool default_left = missing == 0 ? 0 <= node->threshold : (decision & DEFAULT_LEFT) != 0;
	node->kind = default_left ? (missing == MISSING_ZERO ? MMQ_NODE_ZERO_LESS_SECOND : MMQ_NODE_LESS_SECOND) :
	    missing == MISSING_ZERO ? MMQ_NODE_ZERO_LESS_FIRST : MMQ_NODE_LESS_FIRST;
	node->first = default_left ? right : left;
	node->second = default_left ? left : right;
}

static int
make_nodes(const struct text *text, const struct arrays *arrays, uint32_t leaves, uint32_t sets, struct mmq_import_node *nodes,
    const uint32_t *words)
{
	uint32_t inner = leaves - 1;
	bool has_covers = arrays->number[LEAF_COUNT] != NULL;
	for (uint32_t k = 0; k < leaves; k++)
		nodes[inner + k] = (struct mmq_import_node){ .is_leaf = true, .value = arrays->number[LEAF_VALUE][k],
			.cover = has_covers ? arrays->number[LEAF_COUNT][k] : 0 };
	for (uint32_t k = 0; k < inner; k++) {
		unsigned decision = (unsigned)arrays->number[DECISION_TYPE][k];
		uint32_t left = child_number(arrays->number[LEFT_CHILD][k], inner), right = child_number(arrays->number[RIGHT_CHILD][k], inner);
		nodes[k] = (struct mmq_import_node){ .feature = (uint32_t)arrays->number[SPLIT_FEATURE][k], .threshold = arrays->number[THRESHOLD][k],
			.gain = arrays->number[SPLIT_GAIN] != NULL ? arrays->number[SPLIT_GAIN][k] : 0,
			.cover = has_covers && arrays->number[INTERNAL_COUNT] != NULL ? arrays->number[INTERNAL_COUNT][k] : 0 };
		if (decision >> 2 > MISSING_NAN)
			return fail(text, "a decision_type of unknown kind");
		if ((decision & IS_CATEGORY) == 0) {
			numeric_node(&nodes[k], decision, left, right);
			continue;
		}
		double set = nodes[k].threshold;
		if (!(set >= 0 && set < sets && set == floor(set)))
			return fail(text, "a category node names a set that is not there");
		uint32_t from = (uint32_t)arrays->number[CAT_BOUNDARIES][(uint32_t)set], to = (uint32_t)arrays->number[CAT_BOUNDARIES][(uint32_t)set + 1];
		nodes[k].kind = MMQ_NODE_CATEGORY;
		nodes[k].first = left;
		nodes[k].second = right;
		nodes[k].set = words + from;
		nodes[k].set_words = to - from;
	}
	return 0;
}

static int
add_tree(struct text *text, const struct block *block, struct mmq_import *import, double scale)
{
	uint32_t leaves = 0, sets = 0;
	struct arrays arrays = { 0 };
	if (block->value[NUM_LEAVES] == NULL || read_count(text, block->value[NUM_LEAVES], MMQ_IMPORT_NODES_MAX / 2, &leaves) == -1 || leaves == 0)
		return fail(text, "a tree without a count of leaves");
	if (block->value[NUM_CAT] != NULL && read_count(text, block->value[NUM_CAT], leaves, &sets) == -1)
		return -1;
	if (block->value[IS_LINEAR] != NULL && strcmp(block->value[IS_LINEAR], "0") != 0)
		return refuse(text, "its leaves hold linear models (linear_tree), which are not taken");
	int result = read_arrays(text, block, leaves, sets, &arrays);
	if (result == 0) {
		struct mmq_import_node *nodes = mmq_array(2 * (size_t)leaves, sizeof(*nodes));
		size_t words_count = sets > 0 ? (size_t)arrays.number[CAT_BOUNDARIES][sets] : 0;
		uint32_t *words = mmq_array(words_count + 1, sizeof(*words));
		for (size_t w = 0; w < words_count; w++)
			words[w] = (uint32_t)arrays.number[CAT_THRESHOLD][w];
		result = make_nodes(text, &arrays, leaves, sets, nodes, words);
		for (uint32_t k = 0; result == 0 && k + 1 < leaves; k++)
			if (nodes[k].first >= 2 * leaves - 1 || nodes[k].second >= 2 * leaves - 1)
				result = fail(text, "a child is out of range");
		if (result == 0)
			result = mmq_import_tree(import, nodes, 2 * (size_t)leaves - 1, scale, text->lines.err);
		free(nodes);
		free(words);
	}
	arrays_fini(&arrays);
	return result;
}

static int
read_objective(const struct text *text, const char *value, struct mmq_import *import)
{
	static const char *const identity[] = { "regression", "regression_l1", "huber", "fair", "quantile", "mape", NULL };
	static const char *const log_link[] = { "poisson", "gamma", "tweedie", NULL };
	size_t length = strcspn(value, " ");
	if (strstr(value, " sqrt") != NULL)
		return refuse(text, "reg_sqrt is not taken");
	for (size_t i = 0; identity[i] != NULL; i++)
		if (strlen(identity[i]) == length && strncmp(value, identity[i], length) == 0)
			import->task = MMQ_REGRESSION;
	for (size_t i = 0; log_link[i] != NULL; i++) {
		if (strlen(log_link[i]) == length && strncmp(value, log_link[i], length) == 0) {
			import->task = MMQ_REGRESSION;
			import->log_link = true;
		}
	}
	if (length == 6 && strncmp(value, "binary", 6) == 0) {
		const char *sigmoid = strstr(value, "sigmoid:");
		if (sigmoid != NULL && strtod(sigmoid + 8, NULL) != 1.0)
			return refuse(text, "a sigmoid other than 1 is not taken");
		import->task = MMQ_BINARY;
	}
	if (length == 10 && strncmp(value, "multiclass", 10) == 0)
		import->task = MMQ_MULTICLASS;
	return import->task != MMQ_TASK_NONE ? 0 : refuse(text, "this objective is not taken (regression kinds without a link or with a log link, binary, multiclass are)");
}

/* Features whose info is a list of values are categories. */
static int
read_features(const struct text *text, char *names, char *infos, struct mmq_import *import)
{
	import->names = mmq_array(import->features_count, sizeof(char *));
	import->is_category = mmq_array(import->features_count, sizeof(bool));
	import->values = mmq_array(import->features_count, sizeof(char **));
	import->values_count = mmq_array(import->features_count, sizeof(size_t));
	for (size_t f = 0; f < import->features_count; f++) {
		size_t name = strcspn(names, " "), info = strcspn(infos, " ");
		if (name == 0 || info == 0)
			return fail(text, "fewer feature names or infos than features");
		import->names[f] = mmq_strndup(names, name);
		import->is_category[f] = infos[0] != '[' && strncmp(infos, "none", info) != 0;
		names += name + strspn(names + name, " ");
		infos += info + strspn(infos + info, " ");
	}
	return *names == '\0' && *infos == '\0' ? 0 : fail(text, "more feature names or infos than features");
}

static int
read_header(struct text *text, struct mmq_import *import)
{
	char *line = next_line(text), *names = NULL, *infos = NULL, *objective = NULL, *value;
	uint32_t classes = 1, last = 0;
	if (line == NULL || strcmp(line, "tree") != 0)
		return fail(text, "the file does not begin with `tree`");
	text->trees_per_round = 1;
	while ((line = next_line(text)) != NULL && *line != '\0') {
		if ((value = value_of(line, "num_class")) != NULL && read_count(text, value, MMQ_IMPORT_CLASSES_MAX, &classes) == -1)
			return -1;
		if ((value = value_of(line, "num_tree_per_iteration")) != NULL && read_count(text, value, MMQ_IMPORT_CLASSES_MAX, &text->trees_per_round) == -1)
			return -1;
		if ((value = value_of(line, "max_feature_idx")) != NULL) {
			if (read_count(text, value, MMQ_IMPORT_FEATURES_MAX - 1, &last) == -1)
				return -1;
			import->features_count = (size_t)last + 1;
		}
		names = (value = value_of(line, "feature_names")) != NULL ? value : names;
		infos = (value = value_of(line, "feature_infos")) != NULL ? value : infos;
		objective = (value = value_of(line, "objective")) != NULL ? value : objective;
		text->averages = text->averages || strcmp(line, "average_output") == 0;
	}
	size_t features = import->features_count;
	import->features_count = 0;
	if (features == 0 || names == NULL || infos == NULL || objective == NULL || features > strlen(names))
		return fail(text, "the header lacks max_feature_idx, feature_names, feature_infos or objective");
	import->features_count = features;
	if (read_features(text, names, infos, import) == -1 || read_objective(text, objective, import) == -1)
		return -1;
	import->outputs = import->task == MMQ_MULTICLASS ? classes : 1;
	import->classes = import->task == MMQ_MULTICLASS ? classes : import->task == MMQ_BINARY ? 2 : 0;
	if (text->trees_per_round != import->outputs || (import->task == MMQ_MULTICLASS && classes < 2))
		return fail(text, "classes and trees of a round do not fit the objective");
	import->keeps_doubles = true;
	import->base = mmq_array(import->outputs, sizeof(double));
	mmq_import_columns(import);
	return 0;
}

/* The texts behind a pandas column's codes, from the file's last line. */
static int
read_pandas(const struct text *text, const char *value, struct mmq_import *import)
{
	json_t *lists = json_loads(value, JSON_DECODE_ANY, NULL);
	size_t f = 0;
	int result = lists != NULL && (json_is_null(lists) || json_is_array(lists)) ? 0 : fail(text, "pandas_categorical is no list");
	for (size_t k = 0; result == 0 && k < json_array_size(lists); k++, f++) {
		const json_t *list = json_array_get(lists, k);
		while (f < import->features_count && !import->is_category[f])
			f++;
		if (f == import->features_count || !json_is_array(list)) {
			result = fail(text, "pandas_categorical has more lists than there are category columns");
			break;
		}
		import->values[f] = mmq_array(json_array_size(list) + 1, sizeof(char *));
		import->values_count[f] = json_array_size(list);
		for (size_t j = 0; j < import->values_count[f]; j++) {
			const json_t *item = json_array_get(list, j);
			char *text_of = json_is_string(item) ? mmq_strdup(json_string_value(item)) : json_dumps(item, JSON_ENCODE_ANY);
			import->values[f][j] = text_of != NULL ? text_of : mmq_strdup("");
		}
	}
	json_decref(lists);
	return result;
}

/* How many trees lie ahead: a forest's values are divided by its rounds before they are known otherwise. */
static size_t
count_trees(const char *at)
{
	size_t count = 0;
	while ((at = strstr(at, "\nTree=")) != NULL) {
		count++;
		at += 6;
	}
	return count;
}

static int
read_trees(struct text *text, struct mmq_import *import)
{
	size_t trees = count_trees(text->lines.at) + (strncmp(text->lines.at, "Tree=", 5) == 0);
	double scale = text->averages && trees > 0 ? (double)import->outputs / (double)trees : 1;
	struct block block = { 0 };
	bool in_tree = false, is_over = false;
	char *line, *value;
	while (!is_over && (line = next_line(text)) != NULL) {
		is_over = strcmp(line, "end of trees") == 0;
		if (is_over || strncmp(line, "Tree=", 5) == 0) {
			if (in_tree && add_tree(text, &block, import, scale) == -1)
				return -1;
			block = (struct block){ 0 };
			in_tree = true;
		}
		for (int key = 0; key < KEYS; key++)
			if ((value = value_of(line, key_names[key])) != NULL)
				block.value[key] = *value != '\0' ? value : NULL;
	}
	if (!is_over)
		return fail(text, "the file ends before `end of trees`");
	if (import->trees % import->outputs != 0)
		return fail(text, "the number of trees is no multiple of the classes");
	while ((line = next_line(text)) != NULL)
		if (strncmp(line, "pandas_categorical:", 19) == 0 && read_pandas(text, line + 19, import) == -1)
			return -1;
	return 0;
}

int
mmq_lightgbm_read(struct mmq_import *import, const void *bytes, size_t size, struct mmq_err *err)
{
	struct text text = { .averages = false };
	mmq_import_init(import);
	if (mmq_lines_init(&text.lines, "LightGBM", bytes, size, err) == -1)
		return -1;
	int result = read_header(&text, import) == -1 || read_trees(&text, import) == -1 ? -1 : 0;
	if (result == 0)
		mmq_import_finish(import);
	else
		mmq_import_fini(import);
	mmq_lines_fini(&text.lines);
	return result;
}

bool
mmq_lightgbm_is_it(const uint8_t *bytes, size_t size)
{
	return size > 5 && memcmp(bytes, "tree", 4) == 0 && (bytes[4] == '\n' || bytes[4] == '\r');
}

int
mmq_lightgbm_convert(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	struct mmq_import import;

	if (mmq_lightgbm_read(&import, bytes, size, err) == -1)
		return -1;
	mmq_import_convert(&import, converted);
	return 0;
}
