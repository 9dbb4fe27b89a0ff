/* shap.h: contributions of features to a score: exact Shapley values of path-dependent TreeSHAP (Lundberg et al. 2020), for all rows of a batch. */
#ifndef MMQ_ENGINE_TREE_SHAP_H
#define MMQ_ENGINE_TREE_SHAP_H

#include "engine/tree/model.h"

enum {
	MMQ_SHAP_VECTOR = 8,
	MMQ_SHAP_ONE_NODES_MAX = 1024,  /* larger trees do not go by the way of one row, which keeps all nodes at hand */
	MMQ_SHAP_ONE_ROWS_MAX = 2,      /* so many rows are less work one by one */
};

/* An edge from a split to its child, both counted from the tree's start; used: place of the split's feature among the used ones. */
struct mmq_shap_edge { uint32_t node, parent, used; };

/* What is worked out when a model is loaded. */
struct mmq_tree_shap {
	uint32_t *points;              /* (trees): of the quadrature that is exact for the tree */
	uint32_t points_max, depth_max;
	size_t *rule_start;            /* (points_max + 1) into rule; only of numbers of points that some tree needs */
	double *rule;                  /* points t in (0, 1), as many weights w, then -w / (1 - t); each padded with zeros to a multiple of 8 */
	uint32_t used;                 /* features that some node looks at */
	uint32_t *feature;             /* (used): of the contributions */
	uint32_t *used_of;             /* (cols + codes_cols): place of a column's feature among the used ones */
	double *expected;              /* (outputs): what contributions add up from */
	/* For one row; NULL: some tree has too many nodes. */
	uint32_t *earlier;             /* (nodes): of a split, the node at the end of the last edge above it that is of the same feature; 0: none */
	struct mmq_shap_edge *edges;   /* (nodes): of tree t from tree_start[t] on, all edges, children before parents, first before second */
	uint32_t nodes_max;            /* of a tree */
};

struct mmq_tree_shap *mmq_tree_shap_new(const struct mmq_tree_model *model);
void mmq_tree_shap_destroy(struct mmq_tree_shap **shap);
size_t mmq_tree_shap_scratch_bytes(const struct mmq_tree_model *model, size_t rows_max);
/* out->contribution (rows, outputs, features) and, unless NULL, base and contribution_error (of zeros). scratch: 64-byte aligned. */
void mmq_tree_explain(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch);

/* explain_row.c: one row of x; phi_out (outputs, used). */
void mmq_tree_explain_row(const struct mmq_tree_model *model, const struct mmq_batch *x, size_t row, double *phi_out, void *scratch);
size_t mmq_tree_explain_row_bytes(const struct mmq_tree_model *model);

/* Numbers of a rule, padded. */
static inline size_t
mmq_shap_padded(uint32_t points)
{
	return ((size_t)points + MMQ_SHAP_VECTOR - 1) / MMQ_SHAP_VECTOR * MMQ_SHAP_VECTOR;
}

/* The share of a node's training rows that went to its child. */
static inline double
mmq_tree_share(const struct mmq_tree_model *model, uint32_t node, uint32_t child)
{
	double all = (double)model->cover[node], part = (double)model->cover[child];
	return all > 0 ? (part < all ? part / all : 1.0) : 0.5;
}

#endif
