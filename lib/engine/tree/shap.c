/* shap.c: what explanations need to know about a model: quadrature rules, features in use, the expected score. */
#include "engine/tree/shap.h"

#include <math.h>
#include <stdlib.h>

#include "util/mem.h"

/* Gauss and Legendre's rule on (0, 1): exact for polynomials of degree 2n - 1. Roots by Newton's iteration from Tricomi's guess. */
static void
make_rule(uint32_t n, double *t, double *w)
{
	for (uint32_t i = 0; i < n; i++) {
		double x = cos(M_PI * (i + 0.75) / (n + 0.5)), slope = 1;
		for (int turn = 0; turn < 100; turn++) {
			double p = 1, before = 0;
			for (uint32_t j = 0; j < n; j++) {
				double next = ((2.0 * j + 1) * x * p - j * before) / (j + 1.0);
				before = p;
				p = next;
			}
			slope = n * (x * p - before) / (x * x - 1);
			double step = p / slope;
			x -= step;
			if (fabs(step) < 1e-16)
				break;
		}
		t[i] = (1 - x) / 2;
		w[i] = 1 / ((1 - x * x) * slope * slope);
	}
}

struct path { uint32_t node, feature, last_before; uint8_t stage; };

/* The most different features on any path of a tree; uses (used) counts how often each is on the path, last (used) is the end of its last edge
 * there. Fills earlier and edges, where they are wanted. */
static uint32_t
walk_paths(struct mmq_tree_shap *shap, const struct mmq_tree_model *model, uint32_t tree, struct path *path, uint32_t *uses, uint32_t *last)
{
	uint32_t start = model->tree_start[tree], depth = 1, distinct = 0, most = 0;
	struct mmq_shap_edge *edge = shap->edges != NULL ? shap->edges + start : NULL;
	path[0] = (struct path){ 0 };
	while (depth > 0) {
		struct path *top = &path[depth - 1];
		uint32_t k = start + top->node;
		bool is_leaf = model->kind[k] == MMQ_NODE_LEAF;
		if (top->stage == 0 && !is_leaf) {
			top->feature = shap->used_of[model->feature[k]];
			top->last_before = last[top->feature];
			distinct += uses[top->feature]++ == 0;
			most = distinct > most ? distinct : most;
			if (edge != NULL)
				shap->earlier[k] = top->last_before;
		}
		if (is_leaf || top->stage == 2) {
			if (!is_leaf) {
				distinct -= --uses[top->feature] == 0;
				last[top->feature] = top->last_before;
			}
			depth--;
			if (edge != NULL && depth > 0)
				*edge++ = (struct mmq_shap_edge){ top->node, path[depth - 1].node, path[depth - 1].feature };
			continue;
		}
		uint32_t child = model->first[k] + top->stage++;
		last[top->feature] = child;
		path[depth++] = (struct path){ .node = child };
	}
	return most;
}

static void
find_used(struct mmq_tree_shap *shap, const struct mmq_tree_model *model)
{
	size_t columns = (size_t)model->cols + model->codes_cols;
	uint32_t *place = mmq_array((size_t)model->features + 1, sizeof(*place));
	shap->used_of = mmq_array(columns + 1, sizeof(uint32_t));
	shap->feature = mmq_array((size_t)(model->features < columns ? model->features : columns) + 1, sizeof(uint32_t));
	for (uint32_t k = 0; k < model->nodes; k++) {
		if (model->kind[k] == MMQ_NODE_LEAF)
			continue;
		uint32_t feature = model->feature_of[model->feature[k]];
		if (place[feature] == 0) {
			shap->feature[shap->used++] = feature;
			place[feature] = shap->used;
		}
		shap->used_of[model->feature[k]] = place[feature] - 1;
	}
	free(place);
}

/* Mean of each output over the training rows, by the shares of rows that went to each child. */
static void
find_expected(struct mmq_tree_shap *shap, const struct mmq_tree_model *model)
{
	double *share = mmq_array((size_t)model->nodes + 1, sizeof(*share));
	shap->expected = mmq_array(model->outputs, sizeof(double));
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t start = model->tree_start[tree];
		share[start] = 1;
		for (uint32_t k = start; k < model->tree_start[tree + 1]; k++) {
			if (model->kind[k] != MMQ_NODE_LEAF) {
				for (uint32_t child = start + model->first[k], side = 0; side < 2; side++, child++)
					share[child] = share[k] * mmq_tree_share(model, k, child);
				continue;
			}
			const double *values = model->values + (size_t)model->feature[k] * model->width;
			for (uint32_t c = 0; c < model->width; c++)
				shap->expected[model->width > 1 ? c : tree % model->outputs] += values[c] * share[k];
		}
	}
	for (uint32_t c = 0; c < model->outputs; c++)
		shap->expected[c] = model->base[c] + (model->boosting == MMQ_TREE_GBDT ? shap->expected[c] : shap->expected[c] / model->trees);
	free(share);
}

static void
make_rules(struct mmq_tree_shap *shap, const struct mmq_tree_model *model)
{
	size_t size = 0;
	bool *is_needed = mmq_array((size_t)shap->points_max + 1, sizeof(*is_needed));
	shap->rule_start = mmq_array((size_t)shap->points_max + 1, sizeof(size_t));
	for (uint32_t tree = 0; tree < model->trees; tree++)
		is_needed[shap->points[tree]] = true;
	for (uint32_t n = 1; n <= shap->points_max; n++) {
		shap->rule_start[n] = size;
		size += is_needed[n] ? 3 * mmq_shap_padded(n) : 0;
	}
	shap->rule = mmq_array(size + 1, sizeof(double));
	for (uint32_t n = 1; n <= shap->points_max; n++) {
		double *t = shap->rule + shap->rule_start[n], *w = t + mmq_shap_padded(n), *lost = w + mmq_shap_padded(n);
		if (!is_needed[n])
			continue;
		make_rule(n, t, w);
		for (uint32_t i = 0; i < n; i++)
			lost[i] = -w[i] / (1 - t[i]);
	}
	free(is_needed);
}

struct mmq_tree_shap *
mmq_tree_shap_new(const struct mmq_tree_model *model)
{
	struct mmq_tree_shap *shap = mmq_alloc(sizeof(*shap));
	struct path *path = mmq_array((size_t)model->nodes + 2, sizeof(*path));
	uint32_t *depth = mmq_array((size_t)model->nodes + 1, sizeof(*depth));
	find_used(shap, model);
	shap->points = mmq_array((size_t)model->trees + 1, sizeof(uint32_t));
	uint32_t *uses = mmq_array((size_t)shap->used + 1, sizeof(*uses)), *last = mmq_array((size_t)shap->used + 1, sizeof(*last));
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t nodes = model->tree_start[tree + 1] - model->tree_start[tree];
		shap->nodes_max = nodes > shap->nodes_max ? nodes : shap->nodes_max;
	}
	if (shap->nodes_max <= MMQ_SHAP_ONE_NODES_MAX) {
		shap->earlier = mmq_array((size_t)model->nodes + 1, sizeof(*shap->earlier));
		shap->edges = mmq_array((size_t)model->nodes + 1, sizeof(*shap->edges));
	}
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		shap->points[tree] = (walk_paths(shap, model, tree, path, uses, last) + 1) / 2;
		shap->points_max = shap->points[tree] > shap->points_max ? shap->points[tree] : shap->points_max;
		for (uint32_t k = model->tree_start[tree]; k < model->tree_start[tree + 1]; k++) {
			shap->depth_max = depth[k] > shap->depth_max ? depth[k] : shap->depth_max;
			for (uint32_t side = 0; side < 2 && model->kind[k] != MMQ_NODE_LEAF; side++)
				depth[model->tree_start[tree] + model->first[k] + side] = depth[k] + 1;
		}
	}
	make_rules(shap, model);
	find_expected(shap, model);
	free(path);
	free(depth);
	free(uses);
	free(last);
	return shap;
}

void
mmq_tree_shap_destroy(struct mmq_tree_shap **shap_p)
{
	struct mmq_tree_shap *shap = *shap_p;
	if (shap == NULL)
		return;
	free(shap->points);
	free(shap->rule_start);
	free(shap->rule);
	free(shap->feature);
	free(shap->used_of);
	free(shap->expected);
	free(shap->earlier);
	free(shap->edges);
	free(shap);
	*shap_p = NULL;
}
