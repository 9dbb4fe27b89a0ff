/* rows.c: `rows`: a list of lists, of maps by name, or of {int: value} maps. The first row says which. */
#include <stdio.h>
#include <string.h>

#include "wire/cells.h"
#include "wire/want.h"

/* Numbers of a flat row. Returns NULL, or what is wrong with value *k_out in words. */
static const char *
read_numbers(struct mmq_reader *reader, double *out, size_t count, size_t *k_out)
{
	struct mmq_token token;

	for (size_t k = 0; k < count; k++) {
		if (mmq_read_double(reader, &out[k]))
			continue;
		*k_out = k;
		const char *wrong = mmq_read(reader, &token) ? mmq_token_number(&token, &out[k]) : "nothing readable";
		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}

static int
refuse_number(const struct mmq_cells *cells, size_t row, size_t k, const char *wrong, struct mmq_err *err)
{
	size_t slot = 0;
	while (slot + 1 < cells->slots_count && k >= cells->slots[slot].width)
		k -= cells->slots[slot++].width;
	return mmq_cell_refuse(cells, slot, row, wrong, "a finite number", err);
}

static int
read_list(struct mmq_cells *cells, size_t row, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_reader before = *reader;
	struct mmq_token token;
	char place[48], want[96];

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type == MMQ_T_ARRAY && cells->texts_width == 0 && token.size == cells->numbers_width &&
	    mmq_read_peek(reader) != MMQ_T_ARRAY && mmq_read_peek(reader) != MMQ_T_MAP) {
		size_t k = 0;
		struct mmq_reader numbers = *reader;
		double *block = cells->slots[0].numbers + row * cells->numbers_width;
		const char *wrong = read_numbers(&numbers, block, cells->numbers_width, &k);
		if (wrong == NULL) {
			*reader = numbers;
			return 0;
		}
		if (token.size != cells->slots_count)
			return refuse_number(cells, row, k, wrong, err);
	}
	if (token.type == MMQ_T_ARRAY && token.size == cells->slots_count) {
		for (size_t i = 0; i < cells->slots_count; i++)
			if (mmq_cell_read(cells, i, row, reader, err) == -1)
				return -1;
		return 0;
	}
	if (token.type == MMQ_T_ARRAY && cells->slots_count == 1 && cells->slots[0].kind == MMQ_FIELD_VECTOR) {
		*reader = before;  /* the row is itself the nested lists of the one vector column */
		return mmq_cell_read(cells, 0, row, reader, err);
	}
	snprintf(place, sizeof(place), "%s[%zu]", cells->form, row);
	snprintf(want, sizeof(want), "a list of %zu values, one per column", cells->slots_count);
	return token.type == MMQ_T_ARRAY ? mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "a list of %u", token.size)
	                                 : mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "%s", mmq_type_name(token.type));
}

static int
refuse_key(const struct mmq_cells *cells, size_t row, const struct mmq_token *key, const char *got, const char *want, struct mmq_err *err)
{
	char place[96];
	int shown = key->type == MMQ_T_STR && key->size <= 48 ? (int)key->size : 0;

	snprintf(place, sizeof(place), "%s[%zu].%.*s", cells->form, row, shown, shown > 0 ? key->bytes : "");
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "%s", got);
}

static int
read_pair(struct mmq_cells *cells, size_t row, size_t guess, struct mmq_reader *reader, size_t *seen, struct mmq_err *err)
{
	struct mmq_token key;

	if (!mmq_read(reader, &key))
		return mmq_want_broken(reader, err);
	if (key.type != MMQ_T_STR)
		return refuse_key(cells, row, &key, mmq_type_name(key.type), "column names as keys, as in the first row", err);
	struct mmq_text name = { key.bytes, key.size };
	int64_t index = mmq_cells_find(cells, &name, guess);
	if (index == MMQ_SLOT_NONE && !cells->options->extra_is_ignored)
		return refuse_key(cells, row, &key, "a column that the model does not have", "the model's columns, or extra: ignore", err);
	if (index < 0)
		return mmq_read_skip(reader) ? 0 : mmq_want_broken(reader, err);
	if (cells->slots[index].row_mark == row + 1)
		return refuse_key(cells, row, &key, "the column twice", "each column once", err);
	cells->slots[index].row_mark = (uint32_t)row + 1;
	++*seen;
	return mmq_cell_read(cells, (size_t)index, row, reader, err);
}

static int
read_map(struct mmq_cells *cells, size_t row, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_token token;
	size_t seen = 0;
	char place[48];

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	if (token.type != MMQ_T_MAP) {
		snprintf(place, sizeof(place), "%s[%zu]", cells->form, row);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "a map, as the first row", "%s", mmq_type_name(token.type));
	}
	for (uint32_t i = 0; i < token.size; i++)
		if (read_pair(cells, row, i, reader, &seen, err) == -1)
			return -1;
	for (size_t i = 0; i < cells->slots_count && seen < cells->slots_count; i++) {
		if (cells->slots[i].row_mark == row + 1)
			continue;
		if (cells->slots[i].required)
			return mmq_cell_refuse(cells, i, row, "nothing", "a value, or nil when it is missing", err);
		mmq_cell_clear(cells, i, row);
	}
	return 0;
}

/* The keys of the first map that has any; MMQ_T_STR when all are empty. */
static enum mmq_type
key_type(struct mmq_reader reader, uint32_t rows)
{
	for (uint32_t i = 0; i < rows; i++) {
		struct mmq_reader inside = reader;
		struct mmq_token token;
		if (mmq_read(&inside, &token) && token.type == MMQ_T_MAP && token.size > 0)
			return mmq_read_peek(&inside);
		if (!mmq_read_skip(&reader))
			break;
	}
	return MMQ_T_STR;
}

int
mmq_rows_read(struct mmq_cells *cells, struct mmq_reader *reader, struct mmq_err *err)
{
	const struct mmq_schema *schema = cells->options->schema;
	uint32_t rows;

	if (mmq_read_peek(reader) == MMQ_T_MAP)
		return mmq_tensor_fill(cells, reader, NULL, err);  /* an array of the msgpack-numpy packages */
	if (mmq_want_array(reader, cells->form, SIZE_MAX, &rows, err) == -1)
		return -1;
	bool is_map = mmq_read_peek(reader) == MMQ_T_MAP;
	bool is_sparse = is_map && (key_type(*reader, rows) != MMQ_T_STR || (schema != NULL && schema->sparse_cols > 0));
	if (is_sparse)
		return mmq_sparse_rows_read(cells, reader, rows, err);
	if (schema == NULL && mmq_infer_rows(cells, *reader, rows, err) == -1)
		return -1;
	if (mmq_cells_alloc(cells, rows, err) == -1)
		return -1;
	for (size_t row = 0; row < rows; row++) {
		struct mmq_reader before = *reader;
		if ((is_map ? read_map(cells, row, reader, err) : read_list(cells, row, reader, err)) == 0)
			continue;
		*reader = before;
		if (mmq_cells_note(cells, row, err) == -1 || !mmq_read_skip(reader))
			return -1;
		mmq_row_clear(cells, row);
	}
	return 0;
}
