/* infer.c: training data whose columns are not known yet. A first pass over the values finds the columns and what each
 * holds; the second pass is then the same that predictions go through. A column with any string is text, one of booleans only is
 * boolean, one of lists a vector, all others are numbers. */
#include <stdio.h>
#include <string.h>

#include "wire/cells.h"
#include "wire/want.h"

enum { SEEN_NUMBER = 1, SEEN_TEXT = 2, SEEN_BOOL = 4, SEEN_VECTOR = 8 };

/* The shape of nested lists: the lengths met on the way to the first number. The cells are held to it later. */
static void
take_shape(struct mmq_slot *slot, struct mmq_reader reader)
{
	struct mmq_token token;

	slot->kind = MMQ_FIELD_VECTOR;
	while (slot->rank < MMQ_TENSOR_RANK_MAX && mmq_read(&reader, &token) && token.type == MMQ_T_ARRAY) {
		slot->shape[slot->rank++] = token.size;
		if (token.size == 0 || !mmq_size_mul(slot->width, token.size, &slot->width))
			slot->width = 0;
	}
}

static int
look_at(struct mmq_cells *cells, size_t index, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_slot *slot = &cells->slots[index];
	struct mmq_reader before = *reader;
	enum mmq_type type = mmq_read_peek(reader);

	if (!mmq_read_skip(reader))
		return mmq_want_broken(reader, err);
	if (type == MMQ_T_ARRAY) {
		if ((slot->seen & SEEN_VECTOR) == 0)
			take_shape(slot, before);
		slot->seen |= SEEN_VECTOR;
	} else if (type == MMQ_T_STR) {
		slot->seen |= SEEN_TEXT;
	} else if (type == MMQ_T_BOOL) {
		slot->seen |= SEEN_BOOL;
	} else if (type != MMQ_T_NIL) {
		slot->seen |= SEEN_NUMBER;
	}
	return 0;
}

static int
decide(struct mmq_cells *cells, size_t index, struct mmq_err *err)
{
	struct mmq_slot *slot = &cells->slots[index];

	if ((slot->seen & SEEN_VECTOR) != 0) {
		if (slot->width == 0 || (slot->seen & (SEEN_TEXT | SEEN_BOOL)) != 0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, slot->name, "lists of numbers in every row", slot->width == 0 ? "an empty list" : "other values too");
	} else if ((slot->seen & SEEN_TEXT) != 0 || slot->seen == (SEEN_BOOL | SEEN_NUMBER)) {
		slot->kind = MMQ_FIELD_CATEGORICAL;
	} else {
		slot->kind = slot->seen == SEEN_BOOL ? MMQ_FIELD_BOOLEAN : MMQ_FIELD_NUMERIC;
	}
	return 0;
}

static int
look_at_list(struct mmq_cells *cells, size_t row, uint32_t count, bool may_add, struct mmq_reader *reader, struct mmq_err *err)
{
	char place[48], want[64], name[24];

	for (uint32_t i = 0; i < count; i++) {
		if (i == cells->slots_count && may_add && i < MMQ_TRAIN_COLUMNS_MAX) {
			int size = snprintf(name, sizeof(name), "c%u", i);
			mmq_cells_add(cells, mmq_arena_strndup(&cells->frame->arena, name, (size_t)size), MMQ_FIELD_NUMERIC);
		}
		if (i < cells->slots_count && look_at(cells, i, reader, err) == -1)
			return -1;
	}
	if (count == cells->slots_count)
		return 0;
	snprintf(place, sizeof(place), "%s[%zu]", cells->form, row);
	snprintf(want, sizeof(want), "a list of %zu values, one per column", cells->slots_count);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "a list of %u", count);
}

static int
look_at_map(struct mmq_cells *cells, uint32_t pairs, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_text name;

	for (uint32_t i = 0; i < pairs; i++) {
		if (mmq_want_key(reader, cells->form, &name, err) == -1)
			return -1;
		int64_t index = mmq_cells_find(cells, &name, i);
		if (index < 0) {
			if (cells->slots_count == MMQ_TRAIN_COLUMNS_MAX)
				return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: more than %zu columns", cells->form, MMQ_TRAIN_COLUMNS_MAX);
			mmq_cells_add(cells, mmq_arena_strndup(&cells->frame->arena, name.at, name.size), MMQ_FIELD_NUMERIC);
			index = (int64_t)cells->slots_count - 1;
		}
		if (look_at(cells, (size_t)index, reader, err) == -1)
			return -1;
	}
	return 0;
}

int
mmq_infer_rows(struct mmq_cells *cells, struct mmq_reader reader, size_t rows, struct mmq_err *err)
{
	bool is_map = mmq_read_peek(&reader) == MMQ_T_MAP, has_names = cells->slots_count > 0;
	struct mmq_token token;
	char place[48];

	for (size_t row = 0; row < rows; row++) {
		if (!mmq_read(&reader, &token))
			return mmq_want_broken(&reader, err);
		if (token.type != (is_map ? MMQ_T_MAP : MMQ_T_ARRAY)) {
			snprintf(place, sizeof(place), "%s[%zu]", cells->form, row);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, is_map ? "a map, as the first row" : "a list", "%s", mmq_type_name(token.type));
		}
		int rc = is_map ? look_at_map(cells, token.size, &reader, err) : look_at_list(cells, row, token.size, row == 0 && !has_names, &reader, err);
		if (rc == -1)
			return -1;
	}
	if (rows > 0 && cells->slots_count == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, cells->form, "at least one column", "none");
	for (size_t i = 0; i < cells->slots_count; i++)
		if (decide(cells, i, err) == -1)
			return -1;
	return 0;
}

int
mmq_infer_list(struct mmq_cells *cells, size_t index, struct mmq_reader reader, size_t rows, struct mmq_err *err)
{
	for (size_t row = 0; row < rows; row++)
		if (look_at(cells, index, &reader, err) == -1)
			return -1;
	return decide(cells, index, err);
}

int
mmq_infer_names(struct mmq_cells *cells, struct mmq_reader *names, struct mmq_err *err)
{
	struct mmq_text name;
	uint32_t count;

	if (mmq_want_array(names, "names", MMQ_TRAIN_COLUMNS_MAX, &count, err) == -1)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		if (mmq_want_text(names, "names", 1, 1024, &name, err) == -1)
			return -1;
		if (mmq_cells_find(cells, &name, SIZE_MAX) >= 0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "names", "each name once", "'%.*s' twice", name.size <= 48 ? (int)name.size : 0, name.at);
		mmq_cells_add(cells, mmq_arena_strndup(&cells->frame->arena, name.at, name.size), MMQ_FIELD_NUMERIC);
	}
	return 0;
}
