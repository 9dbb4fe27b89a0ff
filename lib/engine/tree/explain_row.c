/* explain_row.c: the contributions of explain.c for a single row, with the points of the quadrature in the lanes of vectors.
 *
 * All nodes of a tree are at hand, parents before children, so one pass carries products down and one brings sums up. Of a split's two edges the
 * row takes one (kept) and not the other, unless its feature had already stopped the row above. Values are the same as explain.c's, operation by
 * operation, and added up in the same order: the same bits. */
#include <string.h>

#include "engine/tree/shap.h"
#include "engine/tree/walk.h"
#include "math/cpu.h"

enum { VECTOR = MMQ_SHAP_VECTOR };

typedef double doubles __attribute__((vector_size(64)));

/* Arrays by node, of the edge that ends there; vectors have `pieces` parts a node. */
struct one {
	const struct mmq_tree_model *model;
	const int32_t *codes;    /* of the row */
	enum mmq_walk_space space;
	const float *slots;
	const double *plain;     /* (cols), for trees that only exact.c can walk */
	double *phi;             /* (outputs, used) */
	double *z;               /* share of rows that the feature's splits let through, down to here */
	bool *lets;              /* whether they let this row through */
	doubles *inverse;        /* 1 / (z (1 - t) + t), where they let it through */
	doubles *product, *part; /* product, later the sum of products of the leaves below; what the edge makes of it for its feature */
};

static inline __attribute__((always_inline)) bool
goes_second(const struct one *e, uint32_t tree, uint32_t k)
{
	const struct mmq_tree_walk *walk = e->model->walk;
	if (walk->is_plain[tree])
		return mmq_tree_goes_second(e->model, k, e->plain, e->codes);
	struct mmq_walk_node packed = walk->nodes[e->space][k];
	return !(e->slots[packed.packed & ((1u << walk->shift) - 1)] <= packed.threshold);
}

/* The row was stopped above by the feature of split k: its factor changes from z_before (1 - t) to z (1 - t). */
static inline __attribute__((always_inline)) void
pass_stopped(struct one *e, uint32_t start, uint32_t n, double z_before, uint32_t pieces)
{
	for (uint32_t side = 0; side < 2; side++) {
		uint32_t child = e->model->first[start + n] + side;
		double z = z_before * mmq_tree_share(e->model, start + n, start + child), share = z_before > 0 ? z / z_before : 0;
		e->z[child] = z;
		e->lets[child] = false;
		for (uint32_t p = 0; p < pieces; p++) {
			e->product[child * pieces + p] = e->product[n * pieces + p] * share;
			e->part[child * pieces + p] = (doubles){ 0 };
		}
	}
}

/* rule: see find_factors() of explain.c. */
static inline __attribute__((always_inline)) void
split_row(struct one *e, uint32_t tree, uint32_t n, const double *rule, uint32_t pieces)
{
	const struct mmq_tree_model *model = e->model;
	uint32_t start = model->tree_start[tree], earlier = model->walk->shap->earlier[start + n];
	double z_before = e->z[earlier];
	if (!e->lets[earlier]) {
		pass_stopped(e, start, n, z_before, pieces);
		return;
	}
	uint32_t second = goes_second(e, tree, start + n), kept = model->first[start + n] + second, stopped = model->first[start + n] + !second;
	double z = z_before * mmq_tree_share(model, start + n, start + kept), z_stopped = z_before * mmq_tree_share(model, start + n, start + stopped);
	e->z[kept] = z;
	e->z[stopped] = z_stopped;
	e->lets[kept] = true;
	e->lets[stopped] = false;
	for (uint32_t p = 0; p < pieces; p++) {
		doubles t, w, lost;
		memcpy(&t, rule + p * VECTOR, sizeof(t));
		memcpy(&w, rule + (pieces + p) * VECTOR, sizeof(w));
		memcpy(&lost, rule + (2 * pieces + p) * VECTOR, sizeof(lost));
		doubles rest = 1 - t, above = e->inverse[earlier * pieces + p], here = z * rest + t;
		doubles taken_back = (1 - z_before) * w * above, inverse = 1 / here;
		doubles product = e->product[n * pieces + p];
		e->inverse[kept * pieces + p] = inverse;
		e->product[kept * pieces + p] = product * (here * above);
		e->part[kept * pieces + p] = (1 - z) * w * inverse - taken_back;
		e->product[stopped * pieces + p] = product * (z_stopped * rest * above);
		e->part[stopped * pieces + p] = lost - taken_back;
	}
}

static inline __attribute__((always_inline)) void
explain_tree(struct one *e, uint32_t tree, uint32_t output, uint32_t column, uint32_t pieces)
{
	const struct mmq_tree_model *model = e->model;
	const struct mmq_tree_shap *shap = model->walk->shap;
	uint32_t start = model->tree_start[tree], nodes = model->tree_start[tree + 1] - start, points = shap->points[tree];
	const double *rule = shap->rule + shap->rule_start[points];
	double *phi = e->phi + (size_t)output * shap->used;
	e->z[0] = 1;
	e->lets[0] = true;
	for (uint32_t p = 0; p < pieces; p++)
		e->inverse[p] = e->product[p] = (doubles){ 0 } + 1.0;
	for (uint32_t n = 0; n < nodes; n++) {
		if (model->kind[start + n] != MMQ_NODE_LEAF) {
			split_row(e, tree, n, rule, pieces);
			continue;
		}
		double value = model->values[(size_t)model->feature[start + n] * model->width + column];
		for (uint32_t p = 0; p < pieces; p++)
			e->product[n * pieces + p] *= value;
	}
	for (const struct mmq_shap_edge *edge = shap->edges + start, *end = edge + nodes - 1; edge < end; edge++) {
		bool is_first = edge->node == model->first[start + edge->parent];
		double part = 0;
		for (uint32_t p = 0; p < pieces; p++) {
			doubles sum = e->product[edge->node * pieces + p], *above = &e->product[edge->parent * pieces + p];
			doubles parts = sum * e->part[edge->node * pieces + p];
			*above = is_first ? sum : *above + sum;
			for (uint32_t q = 0; q < VECTOR && p * VECTOR + q < points; q++)
				part += parts[q];
		}
		phi[edge->used] += part;
	}
}

static inline __attribute__((always_inline)) void
explain_trees(struct one *e)
{
	const struct mmq_tree_model *model = e->model;
	for (uint32_t tree = 0; tree < model->trees; tree++) {
		uint32_t points = model->walk->shap->points[tree], pieces = (uint32_t)(mmq_shap_padded(points) / VECTOR);
		for (uint32_t c = 0; c < model->width && points > 0; c++) {
			uint32_t output = model->width > 1 ? c : tree % model->outputs;
			if (pieces == 1)
				explain_tree(e, tree, output, c, 1);
			else
				explain_tree(e, tree, output, c, pieces);
		}
	}
}

static void
explain_portable(struct one *e)
{
	explain_trees(e);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void
explain_avx2(struct one *e)
{
	explain_trees(e);
}

__attribute__((target("avx512f,avx512dq"))) static void
explain_avx512(struct one *e)
{
	explain_trees(e);
}
#endif

size_t
mmq_tree_explain_row_bytes(const struct mmq_tree_model *model)
{
	const struct mmq_tree_shap *shap = model->walk->shap;
	size_t pieces = mmq_shap_padded(shap->points_max) / VECTOR;
	return 3 * shap->nodes_max * pieces * sizeof(doubles) + shap->nodes_max * (sizeof(double) + sizeof(bool)) +
	    model->cols * sizeof(double) + model->walk->slots.count * sizeof(float);
}

void
mmq_tree_explain_row(const struct mmq_tree_model *model, const struct mmq_batch *x, size_t row, double *phi_out, void *scratch)
{
	const struct mmq_tree_walk *walk = model->walk;
	size_t vectors = walk->shap->nodes_max * (mmq_shap_padded(walk->shap->points_max) / VECTOR);
	struct one e = { .model = model, .space = mmq_tree_slots_space(&walk->slots, x), .phi = phi_out,
		.codes = x->codes_cols > 0 ? x->codes + row * x->codes_cols : NULL };
	void (*explain)(struct one *) = explain_portable;
#if defined(__x86_64__)
	explain = mmq_cpu_has_avx512() ? explain_avx512 : mmq_cpu_has_avx2() ? explain_avx2 : explain_portable;
#endif
	e.inverse = scratch;
	e.product = e.inverse + vectors;
	e.part = e.product + vectors;
	e.z = (double *)(e.part + vectors);
	double *plain = e.z + walk->shap->nodes_max;
	float *slots = (float *)(plain + model->cols);
	e.lets = (bool *)(slots + walk->slots.count);
	e.plain = plain;
	e.slots = slots;
	mmq_tree_slots_fill(&walk->slots, model, x, row, slots, 1);
	if (walk->any_plain)
		mmq_tree_slots_plain_row(model, x, row, e.space, plain);
	memset(phi_out, 0, model->outputs * (size_t)walk->shap->used * sizeof(*phi_out));
	explain(&e);
}
