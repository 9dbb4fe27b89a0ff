/* sample.h: which rows a boosting round learns from. */
#ifndef MMQ_ENGINE_TREE_SAMPLE_H
#define MMQ_ENGINE_TREE_SAMPLE_H

#include "engine/tree/options.h"

struct mmq_tree_sample {
	const struct mmq_tree_options *options;
	size_t rows, count;
	uint32_t *index;        /* (rows): the sample's first `count` in ascending order, the others behind it */
	float *size;            /* (rows) |g h|, for goss */
};

void mmq_tree_sample_init(struct mmq_tree_sample *sample, const struct mmq_tree_options *options, size_t rows);
void mmq_tree_sample_fini(struct mmq_tree_sample *sample);
/* Rows for this round. Derivatives g and h (outputs, rows) decide with goss, and those of sampled small ones are enlarged there.
 * is_first: nothing was drawn yet, in round 0 or in the one that a warm start begins with. */
void mmq_tree_sample_draw(struct mmq_tree_sample *sample, uint32_t round, bool is_first, float *g, float *h, uint32_t outputs);
/* Every round sees all rows. */
bool mmq_tree_sample_is_all(const struct mmq_tree_options *options);

#endif
