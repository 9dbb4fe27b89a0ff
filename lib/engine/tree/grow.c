/* grow.c: leaf-wise growth (Shi 2007; LightGBM): always split the leaf that gains most, until there are num_leaves; or level after level.
 *
 * A leaf's best split is searched when the leaf is made and kept in a heap. The smaller child's histogram is built from rows, the
 * larger one's is the parent's minus it. When histograms of all leaves do not fit the memory, some are dropped after the search
 * and their children are both built from rows: the sums are exact, so the tree is the same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tree/grow.h"
#include "math/rng.h"
#include "util/mem.h"

enum { HIST_BYTES_DEFAULT = 512 << 20, WORK_BETWEEN_LOOKS = 30000000, AHEAD = 32 };

struct candidate {
	struct mmq_leaf leaf;
	uint32_t depth;
	int64_t total;
	int64_t *hist;           /* NULL: dropped */
	struct mmq_split split;
};

struct mmq_grower {
	const struct mmq_tree_bins *bins;
	const struct mmq_tree_options *options;
	struct mmq_pool *pool;
	struct mmq_hist hist;
	uint8_t *columns_on, *columns_node; /* of the tree, and of the leaf that is searched */
	int8_t *monotone;                 /* (columns) or NULL */
	uint64_t tree_key;                /* random streams of this tree */
	uint32_t *columns_temp;           /* (columns) for draws */
	uint32_t *temp;                   /* (rows) for partition */
	struct candidate *open;           /* heap by gain */
	struct mmq_leaf *leaves;          /* those that are done */
	size_t open_count, leaves_count, capacity;
	int64_t **free_hists;             /* those not in use */
	size_t free_count, hists_count, hists_max, free_capacity;
};

bool
mmq_tree_watch_work(struct mmq_tree_watch *watch, uint64_t units)
{
	watch->work += units;
	if (watch->work < WORK_BETWEEN_LOOKS)
		return true;
	watch->work = 0;
	return mmq_progress_step(watch->progress, &watch->state);
}

/* Signs of the columns. A column's number among the numeric features leads to its feature. */
static int8_t *
monotone_columns(const struct mmq_tree_bins *bins, const struct mmq_tree_options *options, const struct mmq_dataset *train)
{
	int8_t *by_source = mmq_array(train->x.cols + train->x.codes_cols + 1, 1), *signs = mmq_array((size_t)bins->columns_count + 1, 1);
	for (size_t k = 0, source = 0; k < options->monotone_count; k++) {
		if (train->features[k].kind != MMQ_NUMERIC)
			continue;
		by_source[source++] = (int8_t)options->monotone[k];
	}
	for (uint32_t c = 0; c < bins->columns_count; c++)
		signs[c] = by_source[bins->columns[c].source];
	free(by_source);
	return signs;
}

struct mmq_grower *
mmq_grower_new(const struct mmq_tree_bins *bins, const struct mmq_tree_options *options, const struct mmq_fit *fit)
{
	struct mmq_grower *grower = mmq_alloc(sizeof(*grower));
	struct mmq_pool *pool = fit->pool;
	size_t memory_bytes_max = fit->memory_bytes_max;
	size_t budget = memory_bytes_max > 0 && memory_bytes_max / 4 < HIST_BYTES_DEFAULT ? memory_bytes_max / 4 : HIST_BYTES_DEFAULT;
	grower->bins = bins;
	grower->options = options;
	grower->pool = pool;
	mmq_hist_init(&grower->hist, bins, pool);
	grower->hists_max = budget / ((grower->hist.size + 1) * sizeof(int64_t));
	grower->hists_max = grower->hists_max < 3 ? 3 : grower->hists_max;
	grower->columns_on = mmq_array((size_t)bins->columns_count + 1, 1);
	grower->columns_node = mmq_array((size_t)bins->columns_count + 1, 1);
	grower->columns_temp = mmq_array((size_t)bins->columns_count + 1, sizeof(uint32_t));
	grower->monotone = options->monotone_count > 0 ? monotone_columns(bins, options, fit->train) : NULL;
	grower->temp = mmq_array(bins->rows + 1, sizeof(uint32_t));
	return grower;
}

void
mmq_grower_destroy(struct mmq_grower **grower_p)
{
	struct mmq_grower *grower = *grower_p;
	if (grower == NULL)
		return;
	for (size_t k = 0; k < grower->free_count; k++)
		free(grower->free_hists[k]);
	for (size_t k = 0; k < grower->open_count; k++)
		free(grower->open[k].hist);
	mmq_hist_fini(&grower->hist);
	free(grower->free_hists);
	free(grower->columns_on);
	free(grower->columns_node);
	free(grower->columns_temp);
	free(grower->monotone);
	free(grower->temp);
	free(grower->open);
	free(grower->leaves);
	free(grower);
	*grower_p = NULL;
}

const struct mmq_leaf *
mmq_grower_leaves(const struct mmq_grower *grower, size_t *count_out)
{
	*count_out = grower->leaves_count;
	return grower->leaves;
}

static void
hist_release(struct mmq_grower *grower, int64_t *hist)
{
	if (hist == NULL)
		return;
	if (grower->free_count == grower->free_capacity) {
		grower->free_capacity = grower->free_capacity * 2 + 16;
		grower->free_hists = mmq_grow(grower->free_hists, grower->free_capacity, sizeof(*grower->free_hists));
	}
	grower->free_hists[grower->free_count++] = hist;
}

/* A histogram to write into; when all are in use, the open leaf that gains least loses its own. */
static int64_t *
hist_take(struct mmq_grower *grower)
{
	if (grower->free_count > 0)
		return grower->free_hists[--grower->free_count];
	if (grower->hists_count < grower->hists_max) {
		grower->hists_count++;
		return mmq_aligned(grower->hist.size * sizeof(int64_t) + 8);
	}
	struct candidate *least = NULL;
	for (size_t k = 0; k < grower->open_count; k++)
		if (grower->open[k].hist != NULL && (least == NULL || grower->open[k].split.gain < least->split.gain))
			least = &grower->open[k];
	if (least == NULL)
		return mmq_aligned(grower->hist.size * sizeof(int64_t) + 8);
	int64_t *hist = least->hist;
	least->hist = NULL;
	return hist;
}

static bool
is_better(const struct mmq_grower *grower, const struct candidate *a, const struct candidate *b)
{
	if (grower->options->depthwise && a->depth != b->depth)
		return a->depth < b->depth;
	return a->split.gain != b->split.gain ? a->split.gain > b->split.gain : a->leaf.node < b->leaf.node;
}

static void
heap_push(struct mmq_grower *grower, const struct candidate *candidate)
{
	size_t k = grower->open_count++;
	for (; k > 0 && is_better(grower, candidate, &grower->open[(k - 1) / 2]); k = (k - 1) / 2)
		grower->open[k] = grower->open[(k - 1) / 2];
	grower->open[k] = *candidate;
}

static struct candidate
heap_pop(struct mmq_grower *grower)
{
	struct candidate top = grower->open[0], last = grower->open[--grower->open_count];
	size_t k = 0, child;
	while ((child = 2 * k + 1) < grower->open_count) {
		if (child + 1 < grower->open_count && is_better(grower, &grower->open[child + 1], &grower->open[child]))
			child++;
		if (!is_better(grower, &grower->open[child], &last))
			break;
		grower->open[k] = grower->open[child];
		k = child;
	}
	if (grower->open_count > 0)
		grower->open[k] = last;
	return top;
}

/* Which columns a tree or a node may use: this fraction of those that are on in `from` (NULL: of all), at least one. */
static void
draw_columns(struct mmq_grower *grower, uint8_t *on, const uint8_t *from, double fraction, struct mmq_rng rng)
{
	uint32_t columns = grower->bins->columns_count, count = 0, *temp = grower->columns_temp;
	for (uint32_t c = 0; c < columns; c++)
		if (from == NULL || from[c] != 0)
			temp[count++] = c;
	uint32_t wanted = (uint32_t)((double)count * fraction + 0.5);
	if (wanted < count)
		mmq_rng_shuffle(&rng, temp, count);
	memset(on, 0, columns);
	for (uint32_t k = 0; k < count && (k < wanted || k == 0); k++)
		on[temp[k]] = 1;
}

/* The best split of a leaf. */
static void
search_leaf(struct mmq_grower *grower, struct candidate *candidate)
{
	const struct mmq_tree_options *options = grower->options;
	struct mmq_split_rules rules = { options, grower->columns_on, grower->monotone, grower->tree_key };
	candidate->split = (struct mmq_split){ 0 };
	if (candidate->hist == NULL || candidate->depth >= options->depth_max)
		return;
	if (options->feature_fraction_bynode < 1) {
		draw_columns(grower, grower->columns_node, grower->columns_on, options->feature_fraction_bynode,
		    mmq_rng_stream(grower->tree_key, 2, candidate->leaf.node));
		rules.columns_on = grower->columns_node;
	}
	mmq_split_search(&rules, &grower->hist, candidate->hist, candidate->total, &candidate->leaf, &candidate->split);
}

/* After the search: keep the leaf open if there is a split, else it is done. */
static void
settle(struct mmq_grower *grower, struct candidate *candidate)
{
	size_t wanted = grower->open_count + grower->leaves_count + 1;
	if (wanted > grower->capacity) {
		grower->capacity = wanted * 2 + 64;
		grower->open = mmq_grow(grower->open, grower->capacity, sizeof(*grower->open));
		grower->leaves = mmq_grow(grower->leaves, grower->capacity, sizeof(*grower->leaves));
	}
	if (candidate->split.gain > 0) {
		heap_push(grower, candidate);
		return;
	}
	hist_release(grower, candidate->hist);
	grower->leaves[grower->leaves_count++] = candidate->leaf;
}

/* Histograms of two new leaves, the parent's is used up. Leaves that cannot split get none. */
static void
build_children(struct mmq_grower *grower, int64_t *parent, struct candidate *a, struct candidate *b, const uint32_t *index)
{
	struct candidate *small = a->leaf.count <= b->leaf.count ? a : b, *large = small == a ? b : a;
	size_t least = 2 * (size_t)grower->options->min_data;
	bool wants_small = small->leaf.count >= least, wants_large = large->leaf.count >= least;
	/* The last leaves of a tree are not split either. */
	if (a->depth >= grower->options->depth_max || grower->open_count + grower->leaves_count + 2 >= grower->options->leaves_max)
		wants_small = wants_large = false;
	if (wants_small || (wants_large && parent != NULL)) {
		small->hist = hist_take(grower);
		mmq_hist_build(&grower->hist, index + small->leaf.begin, small->leaf.count, small->total, small->hist);
	}
	if (wants_large && parent != NULL) {
		mmq_hist_subtract(parent, small->hist, grower->hist.size);
		large->hist = parent;
	} else {
		hist_release(grower, parent);
		if (wants_large) {
			large->hist = hist_take(grower);
			mmq_hist_build(&grower->hist, index + large->leaf.begin, large->leaf.count, large->total, large->hist);
		}
	}
	if (!wants_small) {
		hist_release(grower, small->hist);
		small->hist = NULL;
	}
}

/* After a split on a constrained column the middle of the two values bounds all that grows below them: what is under the lower one can
 * never pass what is under the higher one. */
static void
bound_children(struct mmq_grower *grower, struct candidate *a, struct candidate *b, bool a_is_lower)
{
	double middle = (mmq_split_value(grower->options, &grower->hist, a->total, &a->leaf) +
	    mmq_split_value(grower->options, &grower->hist, b->total, &b->leaf)) / 2;
	struct candidate *lower = a_is_lower ? a : b, *higher = a_is_lower ? b : a;
	lower->leaf.high = middle;
	higher->leaf.low = middle;
}

static void
split_leaf(struct mmq_grower *grower, struct mmq_grown *tree, struct candidate *parent, uint32_t *index)
{
	const struct mmq_split *split = &parent->split;
	uint32_t pair = mmq_grown_pair(tree), begin = parent->leaf.begin;
	struct mmq_grown_node *node = &tree->nodes[parent->leaf.node];
	uint8_t first[MMQ_TREE_BINS_MAX];

	node->first = pair;
	node->column = split->column;
	node->kind = split->kind;
	node->bin = split->bin;
	node->threshold = split->kind == MMQ_NODE_CATEGORY ? 0 : grower->bins->columns[split->column].upper[split->bin];
	node->gain = (float)split->gain;
	if (split->kind == MMQ_NODE_CATEGORY)
		node->set = mmq_grown_set(tree, &split->set);
	mmq_grown_routes(tree, node, grower->bins, first);
	uint32_t count = (uint32_t)mmq_tree_partition(grower->bins->by_column + (size_t)split->column * grower->bins->rows, first, index + begin,
	    parent->leaf.count, grower->temp, grower->pool);
	double l2 = grower->options->l2 + (split->is_set ? grower->options->cat_l2 : 0), low = parent->leaf.low, high = parent->leaf.high;
	struct candidate a = { .leaf = { pair, begin, count, l2, low, high }, .depth = parent->depth + 1, .total = split->first_sum };
	struct candidate b = { .leaf = { pair + 1, begin + count, parent->leaf.count - count, l2, low, high }, .depth = parent->depth + 1,
		.total = parent->total - split->first_sum };
	if (grower->monotone != NULL && grower->monotone[split->column] != 0)
		bound_children(grower, &a, &b, (grower->monotone[split->column] > 0) == (split->kind == MMQ_NODE_LESS_FIRST));
	tree->nodes[pair].cover = (float)a.leaf.count;
	tree->nodes[pair + 1].cover = (float)b.leaf.count;
	build_children(grower, parent->hist, &a, &b, index);
	search_leaf(grower, &a);
	search_leaf(grower, &b);
	settle(grower, &a);
	settle(grower, &b);
}

struct leaf_job {
	struct mmq_grower *grower;
	const float *g, *h;
	const uint32_t *index;
	double *value;
};

static void
value_leaf(void *arg, size_t block, unsigned thread)
{
	struct leaf_job *job = arg;
	const struct mmq_leaf *leaf = &job->grower->leaves[block];
	const struct mmq_tree_options *options = job->grower->options;
	double g = 0, h = 0;
	(void)thread;
	for (uint32_t i = leaf->begin, end = leaf->begin + leaf->count; i < end; i++) {
		if (i + AHEAD < end) {
			__builtin_prefetch(job->g + job->index[i + AHEAD]);
			__builtin_prefetch(job->h + job->index[i + AHEAD]);
		}
		g += (double)job->g[job->index[i]];
		h += (double)job->h[job->index[i]];
	}
	g = g > options->l1 ? g - options->l1 : g < -options->l1 ? g + options->l1 : 0;
	double value = h + leaf->l2 > 0 ? -g / (h + leaf->l2) : 0;
	job->value[block] = fmin(fmax(value, leaf->low), leaf->high) * options->learning_rate;
}

int
mmq_grower_grow(struct mmq_grower *grower, struct mmq_grown *tree, const float *g, const float *h, uint32_t *index, size_t count,
    uint64_t tree_number, struct mmq_tree_watch *watch)
{
	uint64_t columns = grower->bins->columns_count;
	struct candidate root = { .leaf = { 0, 0, (uint32_t)count, grower->options->l2, -INFINITY, INFINITY }, .hist = hist_take(grower) };
	bool goes_on = true;

	grower->leaves_count = 0;
	mmq_grown_root(tree);
	tree->nodes[0].cover = (float)count;
	grower->tree_key = mmq_mix64(grower->options->seed ^ mmq_mix64(tree_number));
	draw_columns(grower, grower->columns_on, NULL, grower->options->feature_fraction,
	    mmq_rng_stream(grower->options->seed, 1, tree_number));
	mmq_hist_quantise(&grower->hist, g, h, count, grower->tree_key);
	root.total = mmq_hist_total(&grower->hist, index, count);
	mmq_hist_build(&grower->hist, index, count, root.total, root.hist);
	search_leaf(grower, &root);
	settle(grower, &root);
	while (grower->open_count > 0) {
		struct candidate next = heap_pop(grower);
		if (!goes_on || grower->open_count + grower->leaves_count + 2 > grower->options->leaves_max) {
			hist_release(grower, next.hist);
			grower->leaves[grower->leaves_count++] = next.leaf;
			continue;
		}
		split_leaf(grower, tree, &next, index);
		goes_on = mmq_tree_watch_work(watch, (next.leaf.count + 512) * columns);
	}
	if (!goes_on)
		return -1;
	double *values = mmq_array(grower->leaves_count, sizeof(*values));
	mmq_pool_run(count < MMQ_TREE_ROWS_ALONE ? NULL : grower->pool, grower->leaves_count, value_leaf, &(struct leaf_job){ grower, g, h, index, values });
	for (size_t k = 0; k < grower->leaves_count; k++)
		tree->nodes[grower->leaves[k].node].column = mmq_grown_value(tree, &values[k], 1);
	free(values);
	return 0;
}
