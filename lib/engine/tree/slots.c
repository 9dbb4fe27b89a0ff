/* slots.c: which slots a model needs, and filling them from rows. */
#include "engine/tree/slots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/rows.h"
#include "util/mem.h"

enum { SETS_PER_TREE = 24 };   /* more category nodes than that: testing every set costs more than walking past most of them */
static const float NEAR_ZERO = 1e-35f;  /* LightGBM's kZeroThreshold */

static bool
is_negated(uint8_t kind)
{
	return kind == MMQ_NODE_LESS_SECOND || kind == MMQ_NODE_ZERO_LESS_SECOND;
}

static bool
zero_is_missing(uint8_t kind)
{
	return kind == MMQ_NODE_ZERO_LESS_FIRST || kind == MMQ_NODE_ZERO_LESS_SECOND;
}

static bool
is_numeric(uint8_t kind)
{
	return kind != MMQ_NODE_LEAF && kind != MMQ_NODE_CATEGORY;
}

static unsigned
copy_kind(uint8_t kind)
{
	return (is_negated(kind) ? 1u : 0u) + (zero_is_missing(kind) ? 2u : 0u);
}

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The distinct thresholds of each column. */
static void
build_ladder(struct mmq_tree_slots *slots, const struct mmq_tree_model *model)
{
	size_t *at = mmq_array((size_t)slots->plain + 1, sizeof(*at)), kept = 0;
	slots->ladder_start = mmq_array((size_t)slots->plain + 1, sizeof(size_t));
	slots->ladder = mmq_array((size_t)model->nodes + 1, sizeof(double));
	for (uint32_t k = 0; k < model->nodes; k++)
		if (is_numeric(model->kind[k]))
			at[slots->column_slot[model->feature[k]]]++;
	for (uint32_t s = 0; s < slots->plain; s++)
		at[s + 1] += at[s];
	for (uint32_t k = 0; k < model->nodes; k++)
		if (is_numeric(model->kind[k]))
			slots->ladder[at[slots->column_slot[model->feature[k]] - 1]++] = model->threshold64[k];
	/* at[s] has moved to the end of column s. */
	for (uint32_t s = 0; s < slots->plain; s++) {
		size_t from = s > 0 ? at[s - 1] : 0;
		qsort(slots->ladder + from, at[s] - from, sizeof(double), compare_doubles);
		slots->ladder_start[s] = kept;
		for (size_t i = from; i < at[s]; i++)
			if (i == from || slots->ladder[i] != slots->ladder[kept - 1])
				slots->ladder[kept++] = slots->ladder[i];
	}
	slots->ladder_start[slots->plain] = kept;
	free(at);
}

static void
give_slots(struct mmq_tree_slots *slots, const struct mmq_tree_model *model)
{
	uint32_t next = 0;
	for (uint32_t c = 0; c < model->cols; c++)
		slots->plain += slots->column_slot[c];
	slots->source = mmq_array((size_t)slots->plain + 1, sizeof(uint32_t));
	slots->copy = mmq_array((size_t)slots->plain * 3 + 1, sizeof(*slots->copy));
	for (uint32_t c = 0; c < model->cols; c++) {
		if (slots->column_slot[c] == 0)
			continue;
		slots->source[next++] = c;
		slots->column_slot[c] = next;
		for (unsigned i = 1; i < 4; i++) {
			uint32_t *copy = &slots->copy_of[(size_t)c * 4 + i];
			if (*copy == 0)
				continue;
			slots->copy[slots->copies++] = (struct mmq_slot_copy){ next, (i & 1) != 0, (i & 2) != 0 };
			*copy = slots->plain + slots->copies;
		}
	}
}

void
mmq_tree_slots_init(struct mmq_tree_slots *slots, const struct mmq_tree_model *model)
{
	*slots = (struct mmq_tree_slots){ 0 };
	slots->column_slot = mmq_array((size_t)model->cols + 1, sizeof(uint32_t));
	slots->copy_of = mmq_array((size_t)model->cols * 4 + 4, sizeof(uint32_t));
	slots->set_column = mmq_array((size_t)model->sets + 1, sizeof(uint32_t));
	bool *is_named = mmq_array((size_t)model->sets + 1, sizeof(bool)), is_shared = false;
	for (uint32_t k = 0; k < model->nodes; k++) {
		if (is_numeric(model->kind[k])) {
			slots->column_slot[model->feature[k]] = 1;
			slots->copy_of[(size_t)model->feature[k] * 4 + copy_kind(model->kind[k])] = 1;
		} else if (model->kind[k] == MMQ_NODE_CATEGORY) {
			uint32_t set = (uint32_t)model->threshold[k], column = model->feature[k] - model->cols;
			is_shared = is_shared || (is_named[set] && slots->set_column[set] != column);
			is_named[set] = true;
			slots->set_column[set] = column;
		}
	}
	give_slots(slots, model);
	free(is_named);
	slots->has_sets = model->sets / SETS_PER_TREE <= model->trees && model->codes_cols > 0 && !is_shared;
	slots->sets = slots->has_sets ? model->sets : 0;
	slots->count = 1 + slots->plain + slots->copies + slots->sets;
	if (model->threshold64 != NULL)
		build_ladder(slots, model);
}

void
mmq_tree_slots_fini(struct mmq_tree_slots *slots)
{
	free(slots->source);
	free(slots->column_slot);
	free(slots->copy_of);
	free(slots->copy);
	free(slots->set_column);
	free(slots->ladder_start);
	free(slots->ladder);
}

uint32_t
mmq_tree_slot_of(const struct mmq_tree_slots *slots, const struct mmq_tree_model *model, uint32_t k)
{
	if (model->kind[k] == MMQ_NODE_CATEGORY)
		return slots->has_sets ? 1 + slots->plain + slots->copies + (uint32_t)model->threshold[k] : 0;
	unsigned copy = copy_kind(model->kind[k]);
	return copy == 0 ? slots->column_slot[model->feature[k]] : slots->copy_of[(size_t)model->feature[k] * 4 + copy];
}

/* How many thresholds of a column lie below x, without branches on the data. */
static size_t
rank_of(const struct mmq_tree_slots *slots, uint32_t plain, double x)
{
	const double *from = slots->ladder + slots->ladder_start[plain], *base = from;
	size_t length = slots->ladder_start[plain + 1] - slots->ladder_start[plain];
	while (length > 1) {
		size_t half = length / 2;
		base += base[half - 1] < x ? half : 0;
		length -= half;
	}
	return (size_t)(base - from) + (*base < x);
}

float
mmq_tree_slot_threshold(const struct mmq_tree_slots *slots, const struct mmq_tree_model *model, uint32_t k, enum mmq_walk_space space)
{
	if (model->kind[k] == MMQ_NODE_CATEGORY)
		return 0.5f;
	bool negated = is_negated(model->kind[k]);
	if (space == MMQ_SPACE_RANKS) {
		float rank = (float)rank_of(slots, slots->column_slot[model->feature[k]] - 1, model->threshold64[k]);
		return negated ? -(rank + 1.0f) : rank;
	}
	/* x > t is -x <= -next(t), next(t) the float above t; missing fails both. */
	float t = model->threshold[k];
	return negated ? -nextafterf(t, INFINITY) : t;
}

enum mmq_walk_space
mmq_tree_slots_space(const struct mmq_tree_slots *slots, const struct mmq_batch *x)
{
	return slots->ladder != NULL && x->dtype == MMQ_F64 ? MMQ_SPACE_RANKS : MMQ_SPACE_VALUES;
}

/* x as a slot holds it; zero: whether it counts as zero. */
static inline float
slot_value(const struct mmq_tree_slots *slots, uint32_t plain, bool is_ranked, double x)
{
	return !is_ranked ? (float)x : isnan(x) ? NAN : (float)rank_of(slots, plain, x);
}

static void
fill_plain(const struct mmq_tree_slots *slots, const struct mmq_batch *x, size_t r, bool is_ranked, float *out, size_t step)
{
	if (x->row_start != NULL) {
		for (uint32_t s = 0; s < slots->plain; s++)
			out[s * step] = slot_value(slots, s, is_ranked, 0.0);
		for (uint64_t k = x->row_start[r]; k < x->row_start[r + 1]; k++) {
			uint32_t slot = slots->column_slot[x->col[k]];
			double value = x->dtype == MMQ_F32 ? (double)((const float *)x->value)[k] : ((const double *)x->value)[k];
			if (slot != 0)
				out[(slot - 1) * step] = slot_value(slots, slot - 1, is_ranked, value);
		}
	} else if (x->dtype == MMQ_F32) {
		const float *row = (const float *)x->dense + r * x->stride;
		for (uint32_t s = 0; s < slots->plain; s++)
			out[s * step] = row[slots->source[s]];
	} else {
		const double *row = (const double *)x->dense + r * x->stride;
		for (uint32_t s = 0; s < slots->plain; s++)
			out[s * step] = slot_value(slots, s, is_ranked, row[slots->source[s]]);
	}
}

/* Whether a column's value counts as zero; absent ones of sparse rows do. */
static bool
is_near_zero(const struct mmq_batch *x, size_t r, uint32_t column, bool is_ranked, float value)
{
	if (!is_ranked)
		return fabsf(value) <= NEAR_ZERO;
	if (x->row_start == NULL)
		return fabs(((const double *)x->dense)[r * x->stride + column]) <= (double)NEAR_ZERO;
	for (uint64_t k = x->row_start[r]; k < x->row_start[r + 1]; k++)
		if (x->col[k] == column)
			return fabs(((const double *)x->value)[k]) <= (double)NEAR_ZERO;
	return true;
}

static void
fill_sets(const struct mmq_tree_slots *slots, const struct mmq_tree_model *model, const int32_t *codes, float *out, size_t step)
{
	for (uint32_t set = 0; set < slots->sets; set++) {
		uint32_t from = model->set_start[set];
		uint64_t place = (uint64_t)((int64_t)codes[slots->set_column[set]] + 1);
		bool is_in = place / 32 < model->set_start[set + 1] - from && (model->set_word[from + place / 32] >> place % 32 & 1) != 0;
		out[set * step] = is_in ? 0.0f : 1.0f;
	}
}

void
mmq_tree_slots_fill(const struct mmq_tree_slots *slots, const struct mmq_tree_model *model, const struct mmq_batch *x, size_t r, float *out,
    size_t step)
{
	bool is_ranked = mmq_tree_slots_space(slots, x) == MMQ_SPACE_RANKS;
	float *copies = out + (1 + slots->plain) * step;
	out[0] = 0.0f;
	fill_plain(slots, x, r, is_ranked, out + step, step);
	for (uint32_t c = 0; c < slots->copies; c++) {
		const struct mmq_slot_copy *copy = &slots->copy[c];
		float value = out[copy->slot * step];
		if (copy->zero_is_missing && is_near_zero(x, r, slots->source[copy->slot - 1], is_ranked, value))
			value = NAN;
		copies[c * step] = copy->is_negated ? -value : value;
	}
	if (slots->sets > 0)
		fill_sets(slots, model, x->codes + r * x->codes_cols, copies + slots->copies * step, step);
}

void
mmq_tree_slots_plain_row(const struct mmq_tree_model *model, const struct mmq_batch *x, size_t r, enum mmq_walk_space space, double *out)
{
	mmq_rows_get_f64(x, r, out);
	for (uint32_t c = 0; c < model->cols && space == MMQ_SPACE_VALUES; c++)
		out[c] = (double)(float)out[c];
}
