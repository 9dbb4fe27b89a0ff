/* explain.c: Shapley values of trees by quadrature, up to 64 rows in the lanes of vectors.
 *
 * In path-dependent TreeSHAP a leaf of value v, whose path looks at features 1..D, plays the game
 * "v times the product of o_j for known j and z_j for the others": z_j is the share of training rows that j's splits let through on this path, o_j
 * is 1 when they let this row through and 0 when not. Feature i's Shapley value in it is
 *   v (o_i - z_i) sum_k k!(D-1-k)!/D! e_k(...) = v (o_i - z_i) integral_0^1 prod_{j != i} (z_j (1 - t) + o_j t) dt,
 * since k!(D-1-k)!/D! is the integral of t^k (1-t)^(D-1-k). The integrand is a polynomial of degree D - 1, so a Gauss-Legendre rule of
 * D/2 points is exact. At each point the product is carried down the tree, and sums of v times product come back up, as in Linear TreeSHAP
 * (Yu et al. 2022), which evaluates the same polynomial elsewhere: no leaf's path is walked for itself. Every factor is positive; the only division
 * is by z (1 - t) + t >= t.
 *
 * An edge whose feature was split above already replaces that feature's factor, and takes back what the edge above will add for its leaves. */
#include <string.h>

#include "engine/tree/shap.h"
#include "engine/tree/walk.h"
#include "math/cpu.h"

enum { ROWS_MAX = 64, VECTOR = MMQ_SHAP_VECTOR, GROUPS = ROWS_MAX / MMQ_WALK_LANES };

typedef double doubles __attribute__((vector_size(64)));
typedef int64_t longs __attribute__((vector_size(64)));
typedef float floats __attribute__((vector_size(32)));
typedef int32_t ints __attribute__((vector_size(32)));

/* An edge of the path that is being walked, from its parent to `node`. Row masks are all ones or zeros. */
struct edge {
	uint32_t node;           /* from the tree's start */
	uint32_t used;           /* feature of the parent */
	uint8_t stage;           /* children that were entered */
	double z_before, z;      /* the feature's share before this edge and with it */
	longs let_before[ROWS_MAX / VECTOR];  /* rows that the feature's splits had let through before this edge */
};

/* What an edge multiplies products by, and its feature's part of the sums, at each point: for rows that this edge lets through (kept), that it
 * stops, and (all points alike) that its feature had stopped before: see enter(). Eight points to a vector. */
struct factors { doubles kept, stopped, part_kept, part_stopped; };

struct explain {
	const struct mmq_tree_model *model;
	const struct mmq_batch *x;
	enum mmq_walk_space space;
	size_t first, vectors;   /* row of x that lane 0 holds; vectors of 8 rows in use */
	float *rows;             /* (groups, slots, 16) */
	double *plain;           /* (64, cols), for trees that only exact.c can walk */
	doubles *phi;            /* (outputs, used, vectors) */
	doubles *product, *sum;  /* (depth, vectors, points) */
	struct edge *path;       /* (depth + 1) */
	double *z;               /* (used) share of each feature on the path */
	longs *let;              /* (used, vectors) */
	struct factors *factors; /* (depth, points / 8): of the edges on the path */
};

static size_t
vectors_of(size_t rows)
{
	return ((rows < ROWS_MAX ? rows : ROWS_MAX) + VECTOR - 1) / VECTOR;
}

static uint32_t
pieces_of(uint32_t points)
{
	return (uint32_t)(mmq_shap_padded(points) / VECTOR);
}

static void *
take(char **at, size_t count, size_t size)
{
	void *here = *at;
	*at += (count * size + 63) / 64 * 64;
	return here;
}

/* Lay out scratch; returns its end. */
static char *
lay_out(struct explain *e, const struct mmq_tree_model *model, size_t rows_max, char *at)
{
	const struct mmq_tree_shap *shap = model->walk->shap;
	size_t vectors = vectors_of(rows_max), stack = ((size_t)shap->depth_max + 1) * vectors * (shap->points_max + 1);
	e->rows = take(&at, (size_t)GROUPS * model->walk->slots.count * MMQ_WALK_LANES, sizeof(float));
	e->plain = take(&at, model->walk->any_plain ? (size_t)ROWS_MAX * model->cols : 0, sizeof(double));
	e->phi = take(&at, model->outputs * (size_t)shap->used * vectors, sizeof(doubles));
	e->product = take(&at, stack, sizeof(doubles));
	e->sum = take(&at, stack, sizeof(doubles));
	e->path = take(&at, (size_t)shap->depth_max + 2, sizeof(struct edge));
	e->z = take(&at, shap->used, sizeof(double));
	e->let = take(&at, shap->used * vectors, sizeof(longs));
	e->factors = take(&at, ((size_t)shap->depth_max + 1) * pieces_of(shap->points_max), sizeof(struct factors));
	return at;
}

size_t
mmq_tree_shap_scratch_bytes(const struct mmq_tree_model *model, size_t rows_max)
{
	struct explain e;
	char *from = (char *)64;  /* any aligned place: only the distance counts */
	size_t many = (size_t)(lay_out(&e, model, rows_max, from) - from);
	size_t one = model->outputs * (size_t)model->walk->shap->used * sizeof(double) + 64 + mmq_tree_explain_row_bytes(model);
	return many > one ? many : one;
}

static inline __attribute__((always_inline)) doubles
pick(longs mask, double a)
{
	return (doubles)(mask & (longs)((doubles){ 0 } + a));
}

/* rule: points, weights and -w / (1 - t), padded to pieces of 8. The part of a feature that lets the row through is (1 - z) w / (z (1 - t) + t) times the
 * product, of one that does not -w / (1 - t) times it. */
static inline __attribute__((always_inline)) void
find_factors(struct factors *f, uint32_t pieces, const double *rule, double z_before, double z)
{
	for (uint32_t k = 0; k < pieces; k++, f++) {
		doubles t, w, lost, rest;
		memcpy(&t, rule + k * VECTOR, sizeof(t));
		memcpy(&w, rule + (pieces + k) * VECTOR, sizeof(w));
		memcpy(&lost, rule + (2 * pieces + k) * VECTOR, sizeof(lost));
		rest = 1 - t;
		doubles above = 1 / (z_before * rest + t), here = z * rest + t, taken_back = (1 - z_before) * w * above;
		f->kept = here * above;
		f->stopped = z * rest * above;
		f->part_kept = (1 - z) * w * (1 / here) - taken_back;
		f->part_stopped = lost - taken_back;
	}
}

/* Rows of vector v that node k sends to its second child. */
static inline __attribute__((always_inline)) longs
goes_second(const struct explain *e, uint32_t tree, uint32_t node, size_t v)
{
	const struct mmq_tree_walk *walk = e->model->walk;
	uint32_t k = e->model->tree_start[tree] + node;
	if (walk->is_plain[tree]) {
		longs second = { 0 };
		for (size_t j = 0; j < VECTOR && e->first + v * VECTOR + j < e->x->rows; j++) {
			size_t lane = v * VECTOR + j;
			const int32_t *codes = e->x->codes_cols > 0 ? e->x->codes + (e->first + lane) * e->x->codes_cols : NULL;
			second[j] = -(int64_t)mmq_tree_goes_second(e->model, k, e->plain + lane * e->model->cols, codes);
		}
		return second;
	}
	struct mmq_walk_node packed = walk->nodes[e->space][k];
	uint32_t slot = packed.packed & ((1u << walk->shift) - 1);
	const float *from = e->rows + (v / 2 * walk->slots.count + slot) * MMQ_WALK_LANES + v % 2 * VECTOR;
	return ~__builtin_convertvector((ints)(*(const floats *)from <= packed.threshold), longs);
}

/* Go down the edge of path[depth]; at a leaf add its value at once. Returns whether the node is a leaf. */
static inline __attribute__((always_inline)) bool
enter(struct explain *e, uint32_t tree, uint32_t depth, uint32_t side, uint32_t points, uint32_t output, uint32_t column)
{
	const struct mmq_tree_model *model = e->model;
	struct edge *edge = &e->path[depth];
	uint32_t start = model->tree_start[tree], parent = e->path[depth - 1].node, used = model->walk->shap->used;
	bool is_leaf = model->kind[start + edge->node] == MMQ_NODE_LEAF;
	double value = is_leaf ? model->values[(size_t)model->feature[start + edge->node] * model->width + column] : 0;
	const struct factors *factors = e->factors + (size_t)depth * pieces_of(points);
	double before_share = edge->z_before > 0 ? edge->z / edge->z_before : 0;
	for (size_t v = 0; v < e->vectors; v++) {
		longs let_before = e->let[edge->used * e->vectors + v], second = goes_second(e, tree, parent, v);
		longs let = let_before & (side == 1 ? second : ~second), stops = let_before & ~let;
		const doubles *above = e->product + ((depth - 1) * e->vectors + v) * points, before = pick(~let_before, before_share);
		doubles *product = e->product + (depth * e->vectors + v) * points, *sum = e->sum + (depth * e->vectors + v) * points;
		doubles *sum_above = e->sum + ((depth - 1) * e->vectors + v) * points, *phi = e->phi + (output * used + edge->used) * e->vectors + v;
		doubles part = { 0 };
		edge->let_before[v] = let_before;
		e->let[edge->used * e->vectors + v] = let;
		for (uint32_t q = 0; q < points; q++) {
			const struct factors *f = &factors[q / VECTOR];
			doubles p = above[q] * (pick(let, f->kept[q % VECTOR]) + pick(stops, f->stopped[q % VECTOR]) + before);
			if (is_leaf) {
				p *= value;
				part += p * (pick(let, f->part_kept[q % VECTOR]) + pick(stops, f->part_stopped[q % VECTOR]));
				sum_above[q] += p;
			} else {
				product[q] = p;
				sum[q] = (doubles){ 0 };
			}
		}
		if (is_leaf) {
			*phi += part;
			e->let[edge->used * e->vectors + v] = let_before;
		}
	}
	return is_leaf;
}

/* Come back up the edge of path[depth] with the sums of its leaves. */
static inline __attribute__((always_inline)) void
leave(struct explain *e, uint32_t depth, uint32_t points, uint32_t output)
{
	const struct edge *edge = &e->path[depth];
	const struct factors *factors = e->factors + (size_t)depth * pieces_of(points);
	for (size_t v = 0; v < e->vectors; v++) {
		longs let = e->let[edge->used * e->vectors + v], stops = edge->let_before[v] & ~let;
		const doubles *sum = e->sum + (depth * e->vectors + v) * points;
		doubles *sum_above = e->sum + ((depth - 1) * e->vectors + v) * points, part = { 0 };
		for (uint32_t q = 0; q < points; q++) {
			const struct factors *f = &factors[q / VECTOR];
			part += sum[q] * (pick(let, f->part_kept[q % VECTOR]) + pick(stops, f->part_stopped[q % VECTOR]));
			sum_above[q] += sum[q];
		}
		e->phi[(output * e->model->walk->shap->used + edge->used) * e->vectors + v] += part;
		e->let[edge->used * e->vectors + v] = edge->let_before[v];
	}
}

/* Column `column` of one tree's values into phi of an output. */
static inline __attribute__((always_inline)) void
explain_tree(struct explain *e, uint32_t tree, uint32_t output, uint32_t column)
{
	const struct mmq_tree_model *model = e->model;
	const struct mmq_tree_shap *shap = model->walk->shap;
	uint32_t start = model->tree_start[tree], points = shap->points[tree], depth = 0;
	if (points == 0)
		return;
	const double *rule = shap->rule + shap->rule_start[points];
	for (size_t i = 0; i < e->vectors * points; i++) {
		e->product[i] = (doubles){ 0 } + 1.0;
		e->sum[i] = (doubles){ 0 };
	}
	e->path[0] = (struct edge){ 0 };
	for (;;) {
		struct edge *top = &e->path[depth];
		if (top->stage == 2) {
			if (depth == 0)
				break;
			leave(e, depth, points, output);
			e->z[top->used] = top->z_before;
			depth--;
			continue;
		}
		uint32_t k = start + top->node, side = top->stage++, child = model->first[k] + side;
		struct edge *edge = &e->path[depth + 1];
		edge->node = child;
		edge->stage = 0;
		edge->used = shap->used_of[model->feature[k]];
		edge->z_before = e->z[edge->used];
		edge->z = edge->z_before * mmq_tree_share(model, k, start + child);
		find_factors(e->factors + (size_t)(depth + 1) * pieces_of(points), pieces_of(points), rule, edge->z_before, edge->z);
		if (enter(e, tree, depth + 1, side, points, output, column))
			continue;
		e->z[edge->used] = edge->z;
		depth++;
	}
}

static inline __attribute__((always_inline)) void
explain_trees(struct explain *e)
{
	const struct mmq_tree_model *model = e->model;
	for (uint32_t tree = 0; tree < model->trees; tree++)
		for (uint32_t c = 0; c < model->width; c++)
			explain_tree(e, tree, model->width > 1 ? c : tree % model->outputs, c);
}

static void
explain_portable(struct explain *e)
{
	explain_trees(e);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void
explain_avx2(struct explain *e)
{
	explain_trees(e);
}

__attribute__((target("avx512f,avx512dq"))) static void
explain_avx512(struct explain *e)
{
	explain_trees(e);
}
#endif

static void
load_rows(struct explain *e, size_t count)
{
	const struct mmq_tree_model *model = e->model;
	const struct mmq_tree_slots *slots = &model->walk->slots;
	memset(e->rows, 0, (count + MMQ_WALK_LANES - 1) / MMQ_WALK_LANES * slots->count * MMQ_WALK_LANES * sizeof(float));
	for (size_t r = 0; r < count; r++) {
		mmq_tree_slots_fill(slots, model, e->x, e->first + r, e->rows + r / MMQ_WALK_LANES * slots->count * MMQ_WALK_LANES + r % MMQ_WALK_LANES,
		    MMQ_WALK_LANES);
		if (model->walk->any_plain)
			mmq_tree_slots_plain_row(model, e->x, e->first + r, e->space, e->plain + r * model->cols);
	}
}

/* Row r of the batch from its values phi[(output * used + feature) * step]. */
static void
write_row(const struct mmq_tree_model *model, const double *phi, size_t step, double *out)
{
	const struct mmq_tree_shap *shap = model->walk->shap;
	double scale = model->boosting == MMQ_TREE_GBDT ? 1.0 : 1.0 / model->trees;
	memset(out, 0, (size_t)model->outputs * model->features * sizeof(*out));
	for (uint32_t c = 0; c < model->outputs; c++)
		for (uint32_t u = 0; u < shap->used; u++)
			out[(size_t)c * model->features + shap->feature[u]] = phi[(c * shap->used + u) * step] * scale;
}

static void
explain_block(struct explain *e, size_t count, double *out)
{
	const struct mmq_tree_model *model = e->model;
	const struct mmq_tree_shap *shap = model->walk->shap;
	void (*explain)(struct explain *) = explain_portable;
#if defined(__x86_64__)
	explain = mmq_cpu_has_avx512() ? explain_avx512 : mmq_cpu_has_avx2() ? explain_avx2 : explain_portable;
#endif
	e->vectors = vectors_of(count);
	load_rows(e, count);
	memset(e->phi, 0, model->outputs * (size_t)shap->used * e->vectors * sizeof(*e->phi));
	memset(e->let, 0xff, shap->used * e->vectors * sizeof(*e->let));
	for (uint32_t u = 0; u < shap->used; u++)
		e->z[u] = 1.0;
	explain(e);
	for (size_t r = 0; r < count; r++)
		write_row(model, (const double *)e->phi + r, e->vectors * VECTOR, out + r * model->outputs * model->features);
}

void
mmq_tree_explain(const struct mmq_tree_model *model, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch)
{
	const struct mmq_tree_shap *shap = model->walk->shap;
	struct explain e = { .model = model, .x = x, .space = mmq_tree_slots_space(&model->walk->slots, x) };
	size_t values = (size_t)model->outputs * model->features;
	char *at = scratch;
	double *phi = take(&at, model->outputs * (size_t)shap->used, sizeof(double));
	bool singly = shap->edges != NULL && x->rows <= MMQ_SHAP_ONE_ROWS_MAX;
	for (size_t r = 0; singly && r < x->rows; r++) {
		mmq_tree_explain_row(model, x, r, phi, at);
		write_row(model, phi, 1, out->contribution + r * values);
	}
	if (!singly)
		lay_out(&e, model, x->rows, scratch);
	for (size_t count; !singly && e.first < x->rows; e.first += count) {
		count = x->rows - e.first < ROWS_MAX ? x->rows - e.first : ROWS_MAX;
		explain_block(&e, count, out->contribution + e.first * values);
	}
	if (out->base != NULL)
		memcpy(out->base, shap->expected, model->outputs * sizeof(double));
	if (out->contribution_error != NULL)
		memset(out->contribution_error, 0, x->rows * values * sizeof(double));
}
