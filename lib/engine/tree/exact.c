/* exact.c: the plain walk: one row, one tree, doubles, every kind of node. The reference of tests, and the way through trees that cannot be
 * packed (walk.c) because they have very many category nodes or columns. */
#include <math.h>

#include "engine/tree/model.h"

static const double ZERO = 1e-35;  /* LightGBM's kZeroThreshold, as the float nearest to it */

static bool
is_less_first(enum mmq_tree_node_kind kind)
{
	return kind == MMQ_NODE_LESS_FIRST || kind == MMQ_NODE_ZERO_LESS_FIRST;
}

bool
mmq_tree_goes_second(const struct mmq_tree_model *model, uint32_t k, const double *row, const int32_t *codes)
{
	enum mmq_tree_node_kind kind = (enum mmq_tree_node_kind)model->kind[k];
	if (kind == MMQ_NODE_CATEGORY) {
		uint32_t set = (uint32_t)model->threshold[k], from = model->set_start[set];
		uint64_t place = (uint64_t)((int64_t)codes[model->feature[k] - model->cols] + 1);
		return place / 32 >= model->set_start[set + 1] - from || (model->set_word[from + place / 32] >> place % 32 & 1) == 0;
	}
	double value = row[model->feature[k]], threshold = model->threshold64 != NULL ? model->threshold64[k] : (double)model->threshold[k];
	bool takes_zero = kind == MMQ_NODE_ZERO_LESS_FIRST || kind == MMQ_NODE_ZERO_LESS_SECOND;
	if (takes_zero && fabs(value) <= (double)(float)ZERO)
		value = NAN;
	return is_less_first(kind) ? !(value <= threshold) : !(value > threshold);
}

uint32_t
mmq_tree_walk_exact(const struct mmq_tree_model *model, uint32_t tree, const double *row, const int32_t *codes)
{
	uint32_t start = model->tree_start[tree], at = start;
	while (model->kind[at] != MMQ_NODE_LEAF)
		at = start + model->first[at] + mmq_tree_goes_second(model, at, row, codes);
	return at;
}
