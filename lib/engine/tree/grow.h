/* grow.h: growing one boosted tree from gradients: histograms, split search, leaf-wise growth. */
#ifndef MMQ_ENGINE_TREE_GROW_H
#define MMQ_ENGINE_TREE_GROW_H

#include "engine/progress.h"
#include "engine/tree/model.h"

/* Counts work between two looks at progress, since engines have no clock. */
struct mmq_tree_watch {
	const struct mmq_progress *progress;
	struct mmq_progress_state state;
	uint64_t work;
};
/* False: give up. units: about one histogram update each; every few ten million it asks. */
bool mmq_tree_watch_work(struct mmq_tree_watch *watch, uint64_t units);

/* Fewer rows in leaves are not worth a second thread. */
enum { MMQ_TREE_ROWS_ALONE = 16384 };

/* hist.c: gradient and hessian of a row as one integer, (gradient << 32) + hessian, both in fixed point, the hessian >= 0.
 * Sums of them are exact, in any order, and a sibling's histogram is an exact subtraction. (Algorithm: fixed-point variant of
 * the histogram trick of LightGBM, Ke et al. 2017.) */
struct mmq_hist {
	const struct mmq_tree_bins *bins;
	struct mmq_pool *pool;
	int64_t *row;          /* (bins rows) packed pairs */
	double g_unit, h_unit; /* what one step of the fixed point is worth */
	size_t size;           /* numbers in a histogram */
	int64_t *privates;     /* (threads, size) */
};
static inline double
mmq_packed_h(int64_t packed)
{
	return (double)(uint32_t)packed;
}
static inline double
mmq_packed_g(int64_t packed)
{
	return (double)((packed - (int64_t)(uint32_t)packed) >> 32);
}
void mmq_hist_init(struct mmq_hist *hist, const struct mmq_tree_bins *bins, struct mmq_pool *pool);
void mmq_hist_fini(struct mmq_hist *hist);
/* Fixed point for all rows, of which count take part; key makes the rounding's random part. */
void mmq_hist_quantise(struct mmq_hist *hist, const float *g, const float *h, size_t count, uint64_t key);
/* The sum over some rows. */
int64_t mmq_hist_total(const struct mmq_hist *hist, const uint32_t *index, size_t count);
/* total: the sum over these rows. */
void mmq_hist_build(const struct mmq_hist *hist, const uint32_t *index, size_t count, int64_t total, int64_t *out);
/* from -= part, both (size). */
void mmq_hist_subtract(int64_t *from, const int64_t *part, size_t size);

/* split.c */
struct mmq_leaf {
	uint32_t node, begin, count;
	double l2;
	double low, high;         /* what monotone constraints leave to its value, before the learning rate */
};
struct mmq_split {
	double gain;              /* over not splitting; <= 0: none found */
	uint32_t column;
	uint8_t kind, bin;
	bool is_set;              /* several categories: its leaves take cat_l2 */
	struct mmq_bin_set set;
	int64_t first_sum;        /* packed sum of the first child */
};
/* What a search needs to know of a tree besides its histograms. */
struct mmq_split_rules {
	const struct mmq_tree_options *options;
	const uint8_t *columns_on;
	const int8_t *monotone;   /* (columns) or NULL: no constraints */
	uint64_t key;             /* for extra_trees: where the random cuts come from */
};
/* The best split of a leaf over the columns that are on; hist as built, total: the leaf's packed sum. */
void mmq_split_search(const struct mmq_split_rules *rules, const struct mmq_hist *hist, const int64_t *sums, int64_t total,
    const struct mmq_leaf *leaf, struct mmq_split *best);
/* The leaf's value within its bounds, from the packed sum of its rows. */
double mmq_split_value(const struct mmq_tree_options *options, const struct mmq_hist *hist, int64_t sum, const struct mmq_leaf *leaf);

/* grow.c */
struct mmq_grower;
struct mmq_grower *mmq_grower_new(const struct mmq_tree_bins *bins, const struct mmq_tree_options *options, const struct mmq_fit *fit);
void mmq_grower_destroy(struct mmq_grower **grower);
/* Grow a tree on the rows index (count); index is reordered so that each leaf has a range. Leaf values are -G / (H + l2) times the
 * learning rate, from double sums. -1: cancelled. */
int mmq_grower_grow(struct mmq_grower *grower, struct mmq_grown *tree, const float *g, const float *h, uint32_t *index, size_t count,
    uint64_t tree_number, struct mmq_tree_watch *watch);
const struct mmq_leaf *mmq_grower_leaves(const struct mmq_grower *grower, size_t *count_out);

/* route.c: rows of index (count) whose byte in `column` is 1 in first (256) come in front, in their order; returns how many. temp (count).
 * column: 3 bytes more than it has rows can be read. */
size_t mmq_tree_partition(const uint8_t *column, const uint8_t *first, uint32_t *index, size_t count, uint32_t *temp, struct mmq_pool *pool);
/* The same for a piece: the others stay in temp. done: both sides' counts so far. route_512.c: as many rows as sixteens go; returns how many. */
size_t mmq_tree_partition_512(const uint8_t *column, const uint8_t *first, uint32_t *index, size_t count, uint32_t *temp, size_t done[2]);
/* Send rows (index, any order) of by_column bytes (columns, rows_total) down a tree; fills the leaves' ranges. */
void mmq_tree_route(const struct mmq_grown *tree, const struct mmq_tree_bins *bins, const uint8_t *by_column, size_t rows_total,
    uint32_t *index, size_t count, uint32_t *temp, struct mmq_leaf *ranges, struct mmq_pool *pool);

/* boost.c and forest.c: -1: err. */
int mmq_tree_boost(struct mmq_tree_model **model_out, const struct mmq_fit *fit, const struct mmq_tree_options *options,
    const struct mmq_tree_bins *bins, struct mmq_err *err);
int mmq_tree_forest(struct mmq_tree_model **model_out, const struct mmq_fit *fit, const struct mmq_tree_options *options,
    const struct mmq_tree_bins *bins, struct mmq_err *err);

/* checkpoint.c: where a fit by boosting stands between two rounds. */
struct mmq_boost_at {
	uint64_t fingerprint;       /* of all that the fit depends on */
	uint32_t round, best_round; /* of the next tree; kept with the best validation loss */
	uint32_t outputs;
	double best_loss;
	double *score, *valid_score;
	size_t scores, valid_scores;
	struct mmq_tree_builder *builder;
};
uint64_t mmq_boost_fingerprint(const struct mmq_fit *fit, const struct mmq_tree_bins *bins);
void mmq_boost_put(const struct mmq_boost_at *at, const struct mmq_tree_options *options, const double *base, struct mmq_part *out);
/* Fills at, whose fingerprint, sizes and arrays are set and whose builder is new. false: this is of another fit, or damaged; score and valid_score are
 * as they were. */
bool mmq_boost_get(struct mmq_boost_at *at, const struct mmq_part *in, const struct mmq_tree_model *previous);

/* refit.c: up to rows_max rows of x from row `first` on. */
struct mmq_batch mmq_tree_rows_of(const struct mmq_batch *x, size_t first, size_t rows_max);
/* Scores (outputs, rows) without a link, as training keeps them. */
void mmq_tree_scores(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_pool *pool, double *score_out);
/* fit->previous with the values of its leaves learnt anew from fit->train. -1: err. */
int mmq_tree_refit(struct mmq_tree_model **model_out, const struct mmq_fit *fit, const struct mmq_tree_options *options, struct mmq_err *err);

#endif
