/* cells.c: planning the slots, taking the memory, and single cells: every rule of what a value may be is in this file. */
#include "wire/cells.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/match.h"
#include "util/hash.h"
#include "wire/want.h"

bool
mmq_slot_is_text(const struct mmq_slot *slot)
{
	return !slot->as_number && slot->kind != MMQ_FIELD_NUMERIC && slot->kind != MMQ_FIELD_VECTOR;
}

static void
put_bucket(struct mmq_cells *cells, const char *name, size_t index)
{
	size_t mask = cells->buckets_count - 1, at = mmq_hash64(name, strlen(name)) & mask;
	while (cells->buckets[at] != 0)
		at = (at + 1) & mask;
	cells->buckets[at] = (uint32_t)index + 1;
}

struct mmq_slot *
mmq_cells_add(struct mmq_cells *cells, const char *name, enum mmq_field_kind kind)
{
	if (cells->slots_count == cells->slots_capacity) {
		size_t capacity = cells->slots_capacity * 2 + 16;
		struct mmq_slot *larger = mmq_arena_get(&cells->frame->arena, capacity * sizeof(*larger));
		if (cells->slots_count > 0)
			memcpy(larger, cells->slots, cells->slots_count * sizeof(*larger));
		cells->slots = larger;
		cells->slots_capacity = capacity;
	}
	struct mmq_slot *slot = &cells->slots[cells->slots_count++];
	*slot = (struct mmq_slot){ .name = name, .kind = kind, .width = 1 };
	if (cells->buckets != NULL && cells->slots_count * 2 <= cells->buckets_count)
		put_bucket(cells, name, cells->slots_count - 1);
	else
		cells->buckets = NULL;  /* too full: made anew, larger, at the next look-up */
	return slot;
}

int
mmq_cells_plan(struct mmq_cells *cells, struct mmq_err *err)
{
	const struct mmq_schema *schema = cells->options->schema;

	if (schema->sparse_cols > 0) {
		struct mmq_slot *slot = mmq_cells_add(cells, "features", MMQ_FIELD_VECTOR);
		slot->width = schema->sparse_cols;
		slot->rank = 1;
		slot->shape[0] = (uint32_t)schema->sparse_cols;
		return 0;
	}
	for (size_t i = 0; i < schema->fields_count; i++) {
		const struct mmq_field *field = &schema->fields[i];
		if (!mmq_field_is_input(field))
			continue;
		struct mmq_slot *slot = mmq_cells_add(cells, field->name, field->kind);
		slot->required = field->required;
		slot->rank = field->rank;
		memcpy(slot->shape, field->shape, sizeof(slot->shape));
		slot->width = field->kind == MMQ_FIELD_VECTOR ? field->width : 1;
	}
	if (cells->slots_count == 0)
		return mmq_err_set(err, MMQ_INTERNAL, "the model's schema has no input columns");
	return 0;
}

int
mmq_cells_alloc(struct mmq_cells *cells, size_t rows, struct mmq_err *err)
{
	const struct mmq_values_options *options = cells->options;
	size_t numbers = 0, texts = 0, bytes;

	for (size_t i = 0; i < cells->slots_count; i++) {
		if (mmq_slot_is_text(&cells->slots[i]))
			texts++;
		else
			numbers += cells->slots[i].width;
	}
	if (rows == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, cells->form, "at least one row", "none");
	if (rows > options->rows_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu rows, at most %zu in one request", cells->form, rows, options->rows_max);
	if (!mmq_size_mul(rows, numbers + texts, &bytes) || bytes > options->cells_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu rows of %zu values, at most %zu values in one request", cells->form, rows,
		    numbers + texts, options->cells_max);
	double *number = mmq_arena_get(&cells->frame->arena, rows * numbers * sizeof(*number));
	struct mmq_text *text = mmq_arena_get(&cells->frame->arena, rows * texts * sizeof(*text));
	for (size_t i = 0; i < cells->slots_count; i++) {
		struct mmq_slot *slot = &cells->slots[i];
		bool is_text = mmq_slot_is_text(slot);
		slot->stride = is_text ? texts : numbers;
		slot->numbers = is_text ? NULL : number;
		slot->texts = is_text ? text : NULL;
		number += is_text ? 0 : slot->width;
		text += is_text;
	}
	cells->frame->rows = rows;
	cells->numbers_width = numbers;
	cells->texts_width = texts;
	return 0;
}

void
mmq_cells_finish(struct mmq_cells *cells)
{
	struct mmq_frame *frame = cells->frame;
	size_t capacity = 8;  /* the least, and the doubling, that mmq_frame_add_* counts on */

	while (capacity < cells->slots_count)
		capacity *= 2;
	frame->columns = mmq_arena_get(&frame->arena, capacity * sizeof(*frame->columns));
	frame->columns_count = cells->slots_count;
	for (size_t i = 0; i < cells->slots_count; i++) {
		const struct mmq_slot *slot = &cells->slots[i];
		bool is_text = mmq_slot_is_text(slot);
		frame->columns[i] = (struct mmq_column){
			.name = slot->name, .type = is_text ? MMQ_COLUMN_TEXT : MMQ_COLUMN_NUMBER, .width = slot->width, .rank = slot->rank,
			.is_boolean = is_text && slot->kind == MMQ_FIELD_BOOLEAN, .stride = slot->stride, .numbers = slot->numbers, .texts = slot->texts,
		};
		memcpy(frame->columns[i].shape, slot->shape, sizeof(slot->shape));
	}
}

int
mmq_cell_refuse(const struct mmq_cells *cells, size_t slot, size_t row, const char *got, const char *want, struct mmq_err *err)
{
	char place[96];

	if (cells->by_column)
		snprintf(place, sizeof(place), "%s.%s[%zu]", cells->form, cells->slots[slot].name, row);
	else
		snprintf(place, sizeof(place), "%s[%zu].%s", cells->form, row, cells->slots[slot].name);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "%s", got);
}

int
mmq_cells_note(const struct mmq_cells *cells, size_t row, const struct mmq_err *err)
{
	if (cells->options->errors == NULL || err->code != MMQ_INVALID_ARGUMENT)
		return -1;
	mmq_row_errors_add(cells->options->errors, row, err);
	return 0;
}

void
mmq_cell_clear(struct mmq_cells *cells, size_t slot, size_t row)
{
	struct mmq_slot *at = &cells->slots[slot];

	if (at->texts != NULL) {
		at->texts[row * at->stride] = (struct mmq_text){ NULL, 0 };
		return;
	}
	for (size_t k = 0; k < at->width; k++)
		at->numbers[row * at->stride + k] = (double)NAN;
}

void
mmq_row_clear(struct mmq_cells *cells, size_t row)
{
	for (size_t i = 0; i < cells->slots_count; i++)
		mmq_cell_clear(cells, i, row);
}

const char *
mmq_token_number(const struct mmq_token *token, double *number_out)
{
	static const int64_t exact_max = INT64_C(1) << 53;

	switch (token->type) {
	case MMQ_T_FLOAT:
		*number_out = token->f;
		return isinf(token->f) ? "infinity" : NULL;
	case MMQ_T_INT:
		*number_out = token->f;
		return token->i > exact_max || token->i < -exact_max ? "an integer beyond 2^53" : NULL;
	case MMQ_T_UINT:
		return "an integer beyond 2^53";
	case MMQ_T_NIL:
		*number_out = (double)NAN;
		return NULL;
	default:
		return mmq_type_name(token->type);
	}
}

static struct mmq_text
keep_text(struct mmq_cells *cells, const char *text, size_t size)
{
	return (struct mmq_text){ mmq_arena_strndup(&cells->frame->arena, text, size), (uint32_t)size };
}

/* Canonical text of a value as a category: equal values have equal texts however they were sent. */
static const char *
category_text(struct mmq_cells *cells, const struct mmq_token *token, struct mmq_text *text_out)
{
	char number[32];

	switch (token->type) {
	case MMQ_T_NIL:
		*text_out = (struct mmq_text){ NULL, 0 };
		return NULL;
	case MMQ_T_STR:
		*text_out = (struct mmq_text){ token->bytes, token->size };
		return NULL;
	case MMQ_T_BOOL:
		*text_out = token->boolean ? (struct mmq_text){ "true", 4 } : (struct mmq_text){ "false", 5 };
		return NULL;
	case MMQ_T_INT:
		*text_out = keep_text(cells, number, (size_t)snprintf(number, sizeof(number), "%lld", (long long)token->i));
		return NULL;
	case MMQ_T_FLOAT:
		if (isinf(token->f))
			return "infinity";
		*text_out = isnan(token->f) ? (struct mmq_text){ NULL, 0 } : keep_text(cells, number, mmq_canonical_number(token->f, number));
		return NULL;
	case MMQ_T_UINT:
		return "an integer beyond 2^63";
	default:
		return mmq_type_name(token->type);
	}
}

static bool
boolean_text(const struct mmq_token *token, struct mmq_text *text_out)
{
	bool is_true = (token->type == MMQ_T_BOOL && token->boolean) || (token->type == MMQ_T_INT && token->i == 1) || mmq_read_is(token, "true");
	bool is_false = (token->type == MMQ_T_BOOL && !token->boolean) || (token->type == MMQ_T_INT && token->i == 0) || mmq_read_is(token, "false");
	bool is_missing = token->type == MMQ_T_NIL || (token->type == MMQ_T_FLOAT && isnan(token->f));

	*text_out = is_true ? (struct mmq_text){ "true", 4 } : is_false ? (struct mmq_text){ "false", 5 } : (struct mmq_text){ NULL, 0 };
	return is_true || is_false || is_missing;
}

int
mmq_cell_put_text(struct mmq_cells *cells, size_t index, size_t row, const struct mmq_token *token, struct mmq_err *err)
{
	struct mmq_slot *slot = &cells->slots[index];
	struct mmq_text text;
	const char *wrong;

	if (slot->kind == MMQ_FIELD_BOOLEAN) {
		if (!boolean_text(token, &text))
			return mmq_cell_refuse(cells, index, row, mmq_type_name(token->type), "true or false", err);
	} else if (slot->kind == MMQ_FIELD_DATETIME && token->type != MMQ_T_STR && token->type != MMQ_T_NIL) {
		return mmq_cell_refuse(cells, index, row, mmq_type_name(token->type), "a date or time as ISO 8601 text", err);
	} else if ((wrong = category_text(cells, token, &text)) != NULL) {
		return mmq_cell_refuse(cells, index, row, wrong, "a string, number, bool or nil", err);
	}
	slot->texts[row * slot->stride] = text;
	return 0;
}

/* A tensor or NumPy scalar in one cell. */
static int
read_cell_tensor(struct mmq_cells *cells, size_t index, size_t row, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_slot *slot = &cells->slots[index];
	double *at = &slot->numbers[row * slot->stride];
	struct mmq_tensor_view view;
	char place[96];

	snprintf(place, sizeof(place), "%s[%zu].%s", cells->form, row, slot->name);
	if (mmq_tensor_view_read(&view, reader, place, NULL, err) == -1)
		return -1;
	if (view.dtype == MMQ_STR || view.count != slot->width)
		return mmq_cell_refuse(cells, index, row, "a tensor of another size or type", "as many numbers as the column is wide", err);
	for (size_t k = 0; k < view.count; k++) {
		const char *wrong = mmq_tensor_view_number(&view, k, &at[k]);
		if (wrong != NULL)
			return mmq_cell_refuse(cells, index, row, wrong, "a finite number", err);
	}
	return 0;
}

/* Nested lists of the slot's shape, or one flat list of its width; an explicit count per level instead of recursion. */
static int
read_vector(struct mmq_cells *cells, size_t index, size_t row, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_slot *slot = &cells->slots[index];
	double *at = &slot->numbers[row * slot->stride];
	struct mmq_token token;
	size_t left[MMQ_TENSOR_RANK_MAX + 1] = { 1 }, k = 0;
	unsigned depth = 0;
	bool is_flat = false;
	char want[96];

	snprintf(want, sizeof(want), "%zu finite numbers, flat or nested as the column's shape", slot->width);
	for (;;) {
		while (left[depth] == 0)
			if (depth-- == 0)
				return k == slot->width ? 0 : mmq_cell_refuse(cells, index, row, "another number of values", want, err);
		left[depth]--;
		if (!mmq_read(reader, &token))
			return mmq_want_broken(reader, err);
		if (token.type == MMQ_T_ARRAY) {
			is_flat = depth == 0 && token.size == slot->width;
			if (depth == MMQ_TENSOR_RANK_MAX || (!is_flat && (depth >= slot->rank || token.size != slot->shape[depth])))
				return mmq_cell_refuse(cells, index, row, "a list of another length", want, err);
			left[++depth] = token.size;
			continue;
		}
		const char *wrong = k == slot->width || depth == 0 ? "another number of values" : mmq_token_number(&token, &at[k]);
		if (wrong != NULL)
			return mmq_cell_refuse(cells, index, row, wrong, want, err);
		k++;
	}
}

int
mmq_cell_read(struct mmq_cells *cells, size_t index, size_t row, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_slot *slot = &cells->slots[index];
	struct mmq_token token;

	if (slot->numbers != NULL && slot->width == 1 && mmq_read_double(reader, &slot->numbers[row * slot->stride]))
		return 0;
	enum mmq_type type = mmq_read_peek(reader);
	if (type == MMQ_T_MAP && slot->numbers != NULL)
		return read_cell_tensor(cells, index, row, reader, err);
	if (type == MMQ_T_ARRAY && slot->kind == MMQ_FIELD_VECTOR)
		return read_vector(cells, index, row, reader, err);
	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (slot->texts != NULL)
		return mmq_cell_put_text(cells, index, row, &token, err);
	if (token.type == MMQ_T_NIL || (token.type == MMQ_T_FLOAT && isnan(token.f))) {
		mmq_cell_clear(cells, index, row);
		return 0;
	}
	const char *wrong = slot->width != 1 ? "one value" : mmq_token_number(&token, &slot->numbers[row * slot->stride]);
	return wrong == NULL ? 0 : mmq_cell_refuse(cells, index, row, wrong, slot->width == 1 ? "a finite number" : "a list of numbers", err);
}

/* Fields of other roles are in the table too: a request may bring them along. */
static void
make_buckets(struct mmq_cells *cells)
{
	const struct mmq_schema *schema = cells->options->schema;
	size_t others = schema != NULL ? schema->fields_count : 0, count = 16;

	while (count < (cells->slots_count + others) * 4)
		count *= 2;
	cells->buckets = mmq_arena_get(&cells->frame->arena, count * sizeof(*cells->buckets));
	cells->buckets_count = count;
	memset(cells->buckets, 0, count * sizeof(*cells->buckets));
	for (size_t i = 0; i < cells->slots_count + others; i++) {
		const char *name = i < cells->slots_count ? cells->slots[i].name : schema->fields[i - cells->slots_count].name;
		put_bucket(cells, name, i);
	}
}

int64_t
mmq_cells_find(struct mmq_cells *cells, const struct mmq_text *name, size_t guess)
{
	if (guess < cells->slots_count && mmq_text_is(name, cells->slots[guess].name))
		return (int64_t)guess;
	if (cells->buckets == NULL)
		make_buckets(cells);
	size_t mask = cells->buckets_count - 1, at = mmq_hash64(name->at, name->size) & mask;
	for (; cells->buckets[at] != 0; at = (at + 1) & mask) {
		size_t i = cells->buckets[at] - 1;
		bool is_slot = i < cells->slots_count;
		if (mmq_text_is(name, is_slot ? cells->slots[i].name : cells->options->schema->fields[i - cells->slots_count].name))
			return is_slot ? (int64_t)i : MMQ_SLOT_PASSED;
	}
	return MMQ_SLOT_NONE;
}
