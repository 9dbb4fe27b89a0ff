/* exact.c: the plain walk: one row, one tree, doubles, every kind of node. For rows of doubles through models that compare
 * doubles, where rounding to float would send some rows another way; slower than the walks of predict.c. */
#include <math.h>

#include "engine/tree/model.h"

static const double ZERO = 1e-35;  /* LightGBM's kZeroThreshold, as the float nearest to it */

static bool
is_less_first(enum mmq_tree_node_kind kind)
{
	return kind == MMQ_NODE_LESS_FIRST || kind == MMQ_NODE_ZERO_LESS_FIRST;
}

uint32_t
mmq_tree_walk_exact(const struct mmq_tree_model *model, uint32_t tree, const double *row, const int32_t *codes)
{
	uint32_t start = model->tree_start[tree], at = start;
	while (model->kind[at] != MMQ_NODE_LEAF) {
		enum mmq_tree_node_kind kind = (enum mmq_tree_node_kind)model->kind[at];
		bool goes_second;
		if (kind == MMQ_NODE_CATEGORY) {
			uint32_t set = (uint32_t)model->threshold[at], from = model->set_start[set];
			uint64_t place = (uint64_t)((int64_t)codes[model->feature[at] - model->cols] + 1);
			goes_second = place / 32 >= model->set_start[set + 1] - from || (model->set_word[from + place / 32] >> place % 32 & 1) == 0;
		} else {
			double value = row[model->feature[at]], threshold = model->threshold64 != NULL ? model->threshold64[at] : (double)model->threshold[at];
			bool takes_zero = kind == MMQ_NODE_ZERO_LESS_FIRST || kind == MMQ_NODE_ZERO_LESS_SECOND;
			if (takes_zero && fabs(value) <= (double)(float)ZERO)
				value = NAN;
			goes_second = is_less_first(kind) ? !(value <= threshold) : !(value > threshold);
		}
		at = start + model->first[at] + goes_second;
	}
	return at;
}
