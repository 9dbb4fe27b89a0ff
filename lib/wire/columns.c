/* columns.c: `columns`: {name: list or tensor}; and `tensor`: all columns in one block. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "wire/cells.h"
#include "wire/want.h"

/* One column as it was sent, found in a first pass: the memory can be taken only when the number of rows is known. */
struct sent {
	struct mmq_reader at;          /* a list: before its first element */
	struct mmq_tensor_view view;
	bool is_here, is_tensor;
	size_t rows;
};

static int
look_at(struct sent *sent, struct mmq_reader *reader, const char *place, struct mmq_err *err)
{
	struct mmq_token token;

	sent->is_here = true;
	sent->is_tensor = mmq_read_peek(reader) == MMQ_T_MAP;
	if (sent->is_tensor) {
		if (mmq_tensor_view_read(&sent->view, reader, place, NULL, err) == -1)
			return -1;
		if (sent->view.rank == 0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "a tensor whose first length is the number of rows", "a scalar");
		sent->rows = (size_t)sent->view.shape[0];
		return 0;
	}
	struct mmq_reader before = *reader;
	if (!mmq_read(&before, &token) || !mmq_read_skip(reader))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_ARRAY)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "a list or a tensor", "%s", mmq_type_name(token.type));
	sent->at = before;
	sent->rows = token.size;
	return 0;
}

/* A slot takes the tensor's numbers if its kind can: categories, booleans and dates may come as numbers, text may not. */
static int
fit_tensor(struct mmq_slot *slot, const struct sent *sent, const char *place, struct mmq_err *err)
{
	char want[64];

	if (sent->view.dtype == MMQ_STR && !mmq_slot_is_text(slot))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "numbers", "strings");
	if (sent->view.dtype != MMQ_STR && slot->kind == MMQ_FIELD_TEXT)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "strings", "numbers");
	if (sent->view.count != sent->rows * slot->width) {
		snprintf(want, sizeof(want), "%zu per row", slot->width);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "%zu values for %zu rows", sent->view.count, sent->rows);
	}
	slot->as_number = sent->view.dtype != MMQ_STR;
	return 0;
}

/* Training: the slot's kind and shape follow from the tensor. */
static void
infer_tensor(struct mmq_slot *slot, const struct mmq_tensor_view *view)
{
	slot->kind = view->dtype == MMQ_STR ? MMQ_FIELD_CATEGORICAL : view->rank > 1 ? MMQ_FIELD_VECTOR : MMQ_FIELD_NUMERIC;
	for (unsigned i = 1; i < view->rank && view->dtype != MMQ_STR; i++) {
		slot->shape[slot->rank++] = (uint32_t)view->shape[i];
		slot->width *= (size_t)view->shape[i];
	}
}

static int
find_column(struct mmq_cells *cells, const struct mmq_text *name, size_t guess, const char *place, int64_t *slot_out, struct mmq_err *err)
{
	*slot_out = mmq_cells_find(cells, name, guess);
	if (cells->options->schema == NULL && *slot_out < 0) {
		mmq_cells_add(cells, mmq_arena_strndup(&cells->frame->arena, name->at, name->size), MMQ_FIELD_NUMERIC);
		*slot_out = (int64_t)cells->slots_count - 1;
	} else if (*slot_out == MMQ_SLOT_NONE && !cells->options->extra_is_ignored) {
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "the model's columns, or extra: ignore", "a column that the model does not have");
	}
	return 0;
}

static int
find_all(struct mmq_cells *cells, struct mmq_reader *reader, struct sent *sent, uint32_t pairs, struct mmq_err *err)
{
	char place[96];
	struct mmq_text name;
	int64_t slot;

	for (uint32_t i = 0; i < pairs; i++) {
		if (mmq_want_key(reader, "columns", &name, err) == -1)
			return -1;
		snprintf(place, sizeof(place), "columns.%.*s", name.size <= 64 ? (int)name.size : 64, name.at);
		if (find_column(cells, &name, i, place, &slot, err) == -1)
			return -1;
		if (slot < 0) {
			if (!mmq_read_skip(reader))
				return mmq_want_broken(reader, err);
			continue;
		}
		if (sent[slot].is_here)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "each column once", "the column twice");
		if (look_at(&sent[slot], reader, place, err) == -1)
			return -1;
		if (sent[slot].is_tensor && cells->options->schema == NULL)
			infer_tensor(&cells->slots[slot], &sent[slot].view);
		if (sent[slot].is_tensor && fit_tensor(&cells->slots[slot], &sent[slot], place, err) == -1)
			return -1;
		if (!sent[slot].is_tensor && cells->options->schema == NULL &&
		    mmq_infer_list(cells, (size_t)slot, sent[slot].at, sent[slot].rows, err) == -1)
			return -1;
	}
	return 0;
}

static int
count_rows(const struct mmq_cells *cells, const struct sent *sent, size_t *rows_out, struct mmq_err *err)
{
	const char *first = NULL;
	char place[96], want[128];

	*rows_out = 0;
	for (size_t i = 0; i < cells->slots_count; i++) {
		snprintf(place, sizeof(place), "columns.%s", cells->slots[i].name);
		if (!sent[i].is_here && cells->slots[i].required)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "a column of values", "nothing");
		if (!sent[i].is_here)
			continue;
		if (first != NULL && sent[i].rows != *rows_out) {
			snprintf(want, sizeof(want), "%zu, as column %.64s", *rows_out, first);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "%zu values", sent[i].rows);
		}
		first = cells->slots[i].name;
		*rows_out = sent[i].rows;
	}
	return 0;
}

static int
fill_number(struct mmq_cells *cells, size_t slot, size_t row, const struct mmq_tensor_view *view, size_t first, struct mmq_err *err)
{
	const struct mmq_slot *to = &cells->slots[slot];

	for (size_t k = 0; k < to->width; k++) {
		const char *wrong = mmq_tensor_view_number(view, first + k, &to->numbers[row * to->stride + k]);
		if (wrong != NULL)
			return mmq_cell_refuse(cells, slot, row, wrong, "a finite number", err);
	}
	return 0;
}

static int
fill_column(struct mmq_cells *cells, size_t slot, struct sent *sent, size_t rows, struct mmq_err *err)
{
	struct mmq_reader *reader = sent->is_tensor ? &sent->view.texts : &sent->at;
	bool is_numbers = sent->is_tensor && sent->view.dtype != MMQ_STR;

	for (size_t row = 0; row < rows; row++) {
		struct mmq_reader before = *reader;
		int rc = is_numbers ? fill_number(cells, slot, row, &sent->view, row * cells->slots[slot].width, err)
		                    : mmq_cell_read(cells, slot, row, reader, err);
		if (rc == 0)
			continue;
		*reader = before;
		if (mmq_cells_note(cells, row, err) == -1 || (!is_numbers && !mmq_read_skip(reader)))
			return -1;
		mmq_cell_clear(cells, slot, row);
	}
	return 0;
}

int
mmq_columns_read(struct mmq_cells *cells, struct mmq_reader *reader, struct mmq_err *err)
{
	uint32_t pairs;
	size_t rows;

	cells->by_column = true;
	if (mmq_want_map(reader, cells->form, &pairs, err) == -1)
		return -1;
	if (cells->options->schema == NULL && pairs > MMQ_TRAIN_COLUMNS_MAX)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "columns: %u, at most %zu", pairs, MMQ_TRAIN_COLUMNS_MAX);
	size_t sent_count = cells->options->schema != NULL ? cells->slots_count : pairs;
	struct sent *sent = mmq_arena_get(&cells->frame->arena, sent_count * sizeof(*sent));
	memset(sent, 0, sent_count * sizeof(*sent));
	if (find_all(cells, reader, sent, pairs, err) == -1 || count_rows(cells, sent, &rows, err) == -1 || mmq_cells_alloc(cells, rows, err) == -1)
		return -1;
	for (size_t i = 0; i < cells->slots_count; i++) {
		if (sent[i].is_here && fill_column(cells, i, &sent[i], rows, err) == -1)
			return -1;
		for (size_t row = 0; row < rows && !sent[i].is_here; row++)
			mmq_cell_clear(cells, i, row);
	}
	return 0;
}

/* Training: one column per element of the last axis, or one vector column when there are more than two axes. */
static int
infer_block(struct mmq_cells *cells, const struct mmq_tensor_view *view, struct mmq_err *err)
{
	size_t cols = view->rank < 2 ? 1 : (size_t)view->shape[1];
	char name[24];

	if (view->rank > 2)
		cols = 1;
	if (cells->slots_count > 0 && cells->slots_count != cols)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "names", "one name per column of the tensor", "%zu names for %zu columns", cells->slots_count, cols);
	if (cols > MMQ_TRAIN_COLUMNS_MAX)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: more than %zu columns", cells->form, MMQ_TRAIN_COLUMNS_MAX);
	for (size_t i = cells->slots_count; i < cols; i++) {
		int size = snprintf(name, sizeof(name), "c%zu", i);
		mmq_cells_add(cells, mmq_arena_strndup(&cells->frame->arena, name, (size_t)size), MMQ_FIELD_NUMERIC);
	}
	for (size_t i = 0; i < cols; i++)
		if (view->dtype == MMQ_STR)
			cells->slots[i].kind = MMQ_FIELD_CATEGORICAL;
	if (view->rank > 2)
		infer_tensor(&cells->slots[0], view);
	return 0;
}

static int
fill_row(struct mmq_cells *cells, size_t row, struct mmq_tensor_view *view, size_t first, struct mmq_err *err)
{
	for (size_t i = 0; i < cells->slots_count; i++) {
		int rc = view->dtype == MMQ_STR ? mmq_cell_read(cells, i, row, &view->texts, err) : fill_number(cells, i, row, view, first, err);
		if (rc == -1)
			return -1;
		first += cells->slots[i].width;
	}
	return 0;
}

int
mmq_tensor_fill(struct mmq_cells *cells, struct mmq_reader *reader, const struct mmq_text *payload, struct mmq_err *err)
{
	struct mmq_tensor_view view;
	size_t width = 0;
	char want[128];

	if (mmq_tensor_view_read(&view, reader, cells->form, payload, err) == -1)
		return -1;
	if (cells->options->schema == NULL && infer_block(cells, &view, err) == -1)
		return -1;
	for (size_t i = 0; i < cells->slots_count; i++) {
		struct mmq_slot *slot = &cells->slots[i];
		if ((view.dtype == MMQ_STR) != mmq_slot_is_text(slot) && (view.dtype == MMQ_STR || slot->kind == MMQ_FIELD_TEXT)) {
			snprintf(want, sizeof(want), "%s for column %.64s; send rows or columns", mmq_slot_is_text(slot) ? "str" : "numbers", slot->name);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "tensor.dtype", want, "%s", mmq_dtype_name(view.dtype));
		}
		slot->as_number = view.dtype != MMQ_STR;
		width += slot->width;
	}
	size_t rows = view.rank > 0 ? (size_t)view.shape[0] : 0;
	if (rows > 0 && view.count / rows != width) {
		snprintf(want, sizeof(want), "[rows, %zu]", width);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "tensor.shape", want, "%zu values per row", view.count / rows);
	}
	if (mmq_cells_alloc(cells, rows, err) == -1)
		return -1;
	for (size_t row = 0; row < rows; row++) {
		struct mmq_reader before = view.texts;
		if (fill_row(cells, row, &view, row * width, err) == 0)
			continue;
		if (mmq_cells_note(cells, row, err) == -1)
			return -1;
		view.texts = before;
		for (size_t i = 0; view.dtype == MMQ_STR && i < width; i++)
			if (!mmq_read_skip(&view.texts))
				return mmq_want_broken(&view.texts, err);
		mmq_row_clear(cells, row);
	}
	return 0;
}
