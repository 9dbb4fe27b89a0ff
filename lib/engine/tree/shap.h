/* shap.h: contributions of features to a score: exact Shapley values of path-dependent TreeSHAP (Lundberg et al. 2020), for all rows of a batch. */
#ifndef MMQ_ENGINE_TREE_SHAP_H
#define MMQ_ENGINE_TREE_SHAP_H

#include "engine/tree/model.h"

/* What is worked out when a model is loaded. */
struct mmq_tree_shap {
	uint32_t *points;              /* (trees): of the quadrature that is exact for the tree */
	uint32_t points_max, depth_max;
	size_t *rule_start;            /* (points_max + 1) into rule; only of numbers of points that some tree needs */
	double *rule;                  /* points t in (0, 1), then as many weights, each padded with zeros to a multiple of 8 */
	uint32_t used;                 /* features that some node looks at */
	uint32_t *feature;             /* (used): of the contributions */
	uint32_t *used_of;             /* (cols + codes_cols): place of a column's feature among the used ones */
	double *expected;              /* (outputs): what contributions add up from */
};

struct mmq_tree_shap *mmq_tree_shap_new(const struct mmq_tree_model *model);
void mmq_tree_shap_destroy(struct mmq_tree_shap **shap);
size_t mmq_tree_shap_scratch_bytes(const struct mmq_tree_model *model, size_t rows_max);
/* out->contribution (rows, outputs, features) and, unless NULL, base and contribution_error (of zeros). scratch: 64-byte aligned. */
void mmq_tree_explain(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch);

/* The share of a node's training rows that went to its child. */
static inline double
mmq_tree_share(const struct mmq_tree_model *model, uint32_t node, uint32_t child)
{
	double all = (double)model->cover[node], part = (double)model->cover[child];
	return all > 0 ? (part < all ? part / all : 1.0) : 0.5;
}

#endif
