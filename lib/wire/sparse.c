/* sparse.c: `sparse` (CSR) and rows of {int: value} maps. Both become one CSR; a model with dense columns gets it spread out.
 * Absent is 0; a missing value (nil, NaN) has no place here and is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/cells.h"
#include "wire/want.h"

struct entry {
	uint32_t col;
	double value;
};

/* The CSR being built; arrays from the frame's arena, sized by a count of what was sent. */
struct build {
	uint64_t *row_start;
	struct entry *entries;
	size_t rows, count;
	size_t width;        /* 0: whatever the largest index makes it */
	size_t width_seen;
};

static int
begin(struct mmq_cells *cells, struct build *build, size_t rows, size_t entries, struct mmq_err *err)
{
	const struct mmq_values_options *options = cells->options;

	if (rows == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, cells->form, "at least one row", "none");
	if (rows > options->rows_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu rows, at most %zu in one request", cells->form, rows, options->rows_max);
	if (entries > options->cells_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s: %zu values, at most %zu in one request", cells->form, entries, options->cells_max);
	*build = (struct build){ .rows = rows };
	if (options->schema == NULL) {
		build->width = options->width;
	} else {
		for (size_t i = 0; i < cells->slots_count; i++) {
			build->width += cells->slots[i].width;
			if (mmq_slot_is_text(&cells->slots[i]))
				return mmq_err_value(err, MMQ_INVALID_ARGUMENT, cells->form, "values by column: this model's columns are not all numbers",
				    "sparse values");
		}
	}
	build->row_start = mmq_arena_get(&cells->frame->arena, (rows + 1) * sizeof(*build->row_start));
	build->entries = mmq_arena_get(&cells->frame->arena, entries * sizeof(*build->entries));
	build->row_start[0] = 0;
	return 0;
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = ((const struct entry *)a)->col, y = ((const struct entry *)b)->col;
	return x < y ? -1 : x > y;
}

/* Close a row: ascending columns, each once. */
static int
end_row(struct mmq_cells *cells, struct build *build, size_t row, struct mmq_err *err)
{
	struct entry *first = build->entries + build->row_start[row];
	size_t count = build->count - (size_t)build->row_start[row];
	bool is_sorted = true;
	char place[48];

	for (size_t i = 1; i < count; i++)
		is_sorted = is_sorted && first[i - 1].col < first[i].col;
	if (!is_sorted)
		qsort(first, count, sizeof(*first), compare);
	for (size_t i = 1; i < count; i++) {
		if (first[i - 1].col != first[i].col)
			continue;
		snprintf(place, sizeof(place), "%s[%zu]", cells->form, row);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "each column once", "column %u twice", first[i].col);
	}
	if (count > 0 && (size_t)first[count - 1].col + 1 > build->width_seen)
		build->width_seen = (size_t)first[count - 1].col + 1;
	build->row_start[row + 1] = build->count;
	return 0;
}

static int
add(struct mmq_cells *cells, struct build *build, size_t row, double col, double value, const char *wrong, struct mmq_err *err)
{
	char place[64], want[64];
	size_t width = build->width > 0 ? build->width : UINT32_MAX;

	snprintf(place, sizeof(place), "%s[%zu]", cells->form, row);
	if (!(col >= 0 && col < (double)width && col == floor(col))) {
		snprintf(want, sizeof(want), "a column from 0 to %zu", width - 1);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, want, "%.17g", col);
	}
	if (wrong != NULL || isnan(value)) {
		snprintf(place, sizeof(place), "%s[%zu].%u", cells->form, row, (uint32_t)col);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "a finite number; absent means 0", "%s", wrong != NULL ? wrong : "a missing value");
	}
	build->entries[build->count++] = (struct entry){ (uint32_t)col, value };
	return 0;
}

static int
finish_sparse(struct mmq_cells *cells, const struct build *build)
{
	uint32_t *col = mmq_arena_get(&cells->frame->arena, build->count * sizeof(*col));
	double *value = mmq_arena_get(&cells->frame->arena, build->count * sizeof(*value));

	for (size_t i = 0; i < build->count; i++) {
		col[i] = build->entries[i].col;
		value[i] = build->entries[i].value;
	}
	cells->frame->rows = build->rows;
	cells->frame->sparse = (struct mmq_csr){ .rows = build->rows, .cols = build->width > 0 ? build->width : build->width_seen,
		.row_start = build->row_start, .col = col, .value = value };
	cells->slots_count = 0;
	return 0;
}

static int
finish(struct mmq_cells *cells, const struct build *build, struct mmq_err *err)
{
	const struct mmq_schema *schema = cells->options->schema;

	if (schema == NULL || schema->sparse_cols > 0)
		return finish_sparse(cells, build);
	if (mmq_cells_alloc(cells, build->rows, err) == -1)
		return -1;
	double *block = cells->slots[0].numbers;
	memset(block, 0, build->rows * cells->numbers_width * sizeof(*block));
	for (size_t row = 0; row < build->rows; row++)
		for (uint64_t i = build->row_start[row]; i < build->row_start[row + 1]; i++)
			block[row * cells->numbers_width + build->entries[i].col] = build->entries[i].value;
	return 0;
}

static int
read_row(struct mmq_cells *cells, struct build *build, size_t row, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_token token, key, value;
	char place[48];
	double number = 0;

	if (!mmq_read(reader, &token))
		return mmq_want_broken(reader, err);
	snprintf(place, sizeof(place), "%s[%zu]", cells->form, row);
	if (token.type != MMQ_T_MAP)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "a map, as the first row", "%s", mmq_type_name(token.type));
	for (uint32_t i = 0; i < token.size; i++) {
		if (!mmq_read(reader, &key))
			return mmq_want_broken(reader, err);
		if (key.type != MMQ_T_INT)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "integers as keys, from 0", "%s", mmq_type_name(key.type));
		if (!mmq_read(reader, &value))
			return mmq_want_broken(reader, err);
		const char *wrong = mmq_token_number(&value, &number);
		if (add(cells, build, row, key.f, number, wrong, err) == -1)
			return -1;
	}
	return end_row(cells, build, row, err);
}

int
mmq_sparse_rows_read(struct mmq_cells *cells, struct mmq_reader *reader, size_t rows, struct mmq_err *err)
{
	struct mmq_reader ahead = *reader;
	struct build build;
	size_t entries = 0;

	for (size_t row = 0; row < rows; row++) {
		struct mmq_reader inside = ahead;
		struct mmq_token token;
		if (!mmq_read(&inside, &token) || !mmq_read_skip(&ahead))
			return mmq_want_broken(&ahead, err);
		entries += token.type == MMQ_T_MAP ? token.size : 0;
	}
	if (begin(cells, &build, rows, entries, err) == -1)
		return -1;
	for (size_t row = 0; row < rows; row++) {
		struct mmq_reader before = *reader;
		if (read_row(cells, &build, row, reader, err) == 0)
			continue;
		*reader = before;
		if (mmq_cells_note(cells, row, err) == -1 || !mmq_read_skip(reader))
			return -1;
		build.count = (size_t)build.row_start[row];
		build.row_start[row + 1] = build.count;
	}
	return finish(cells, &build, err);
}

/* A list of numbers or a tensor, read in order. */
struct numbers {
	struct mmq_tensor_view view;
	struct mmq_reader list;
	bool is_tensor;
	size_t count, next;
};

static int
numbers_open(struct numbers *numbers, struct mmq_reader *reader, const char *place, struct mmq_err *err)
{
	uint32_t count = 0;

	*numbers = (struct numbers){ .is_tensor = mmq_read_peek(reader) == MMQ_T_MAP };
	if (numbers->is_tensor) {
		if (mmq_tensor_view_read(&numbers->view, reader, place, NULL, err) == -1)
			return -1;
		if (numbers->view.dtype == MMQ_STR)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, place, "numbers", "strings");
		numbers->count = numbers->view.count;
		return 0;
	}
	numbers->list = *reader;
	if (mmq_want_array(&numbers->list, place, SIZE_MAX, &count, err) == -1)
		return -1;
	numbers->count = count;
	return mmq_read_skip(reader) ? 0 : mmq_want_broken(reader, err);
}

static const char *
numbers_next(struct numbers *numbers, double *value_out)
{
	struct mmq_token token;

	if (numbers->next == numbers->count)
		return "nothing";
	if (numbers->is_tensor)
		return mmq_tensor_view_number(&numbers->view, numbers->next++, value_out);
	numbers->next++;
	return mmq_read(&numbers->list, &token) ? mmq_token_number(&token, value_out) : "nothing readable";
}

struct csr_in {
	struct numbers indptr, indices, data;
	int64_t rows, cols;
	unsigned seen;       /* a bit per key */
};
enum { SEEN_SHAPE = 1, SEEN_INDPTR = 2, SEEN_INDICES = 4, SEEN_DATA = 8 };

static int
read_key(struct csr_in *csr, struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_text key;
	uint32_t rank;

	if (mmq_want_key(reader, "sparse", &key, err) == -1)
		return -1;
	if (mmq_text_is(&key, "shape")) {
		csr->seen |= SEEN_SHAPE;
		if (mmq_want_array(reader, "sparse.shape", 2, &rank, err) == -1)
			return -1;
		if (rank != 2)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "sparse.shape", "[rows, columns]", "a list of %u", rank);
		return mmq_want_int(reader, "sparse.shape", 0, UINT32_MAX - 1, &csr->rows, err) == -1 ||
		       mmq_want_int(reader, "sparse.shape", 1, UINT32_MAX, &csr->cols, err) == -1 ? -1 : 0;
	}
	if (mmq_text_is(&key, "indptr")) {
		csr->seen |= SEEN_INDPTR;
		return numbers_open(&csr->indptr, reader, "sparse.indptr", err);
	}
	if (mmq_text_is(&key, "indices")) {
		csr->seen |= SEEN_INDICES;
		return numbers_open(&csr->indices, reader, "sparse.indices", err);
	}
	if (mmq_text_is(&key, "data")) {
		csr->seen |= SEEN_DATA;
		return numbers_open(&csr->data, reader, "sparse.data", err);
	}
	return mmq_read_skip(reader) ? 0 : mmq_want_broken(reader, err);
}

static int
check_counts(const struct csr_in *csr, struct mmq_err *err)
{
	static const char *const names[] = { "sparse.shape", "sparse.indptr", "sparse.indices", "sparse.data" };
	char want[64];

	for (unsigned i = 0; i < 4; i++)
		if ((csr->seen & 1u << i) == 0)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, names[i], "shape, indptr, indices and data", "nothing");
	if (csr->indptr.count != (size_t)csr->rows + 1) {
		snprintf(want, sizeof(want), "%lld values, rows + 1", (long long)csr->rows + 1);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "sparse.indptr", want, "%zu", csr->indptr.count);
	}
	if (csr->indices.count != csr->data.count)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "sparse.indices", "as many as data", "%zu for %zu values", csr->indices.count, csr->data.count);
	return 0;
}

/* One row of entries up to `end`. The readers move on even past a bad value, so that the next row is read right. */
static int
read_csr_row(struct mmq_cells *cells, struct build *build, struct csr_in *csr, size_t row, size_t end, struct mmq_err *err)
{
	int rc = 0;

	while (csr->indices.next < end) {
		double col = -1, value = 0;
		const char *bad_col = numbers_next(&csr->indices, &col);
		const char *wrong = numbers_next(&csr->data, &value);
		if (rc == 0)
			rc = add(cells, build, row, bad_col != NULL ? -1 : col, value, wrong, err);
	}
	return rc == 0 ? end_row(cells, build, row, err) : -1;
}

int
mmq_sparse_read(struct mmq_cells *cells, struct mmq_reader *reader, struct mmq_err *err)
{
	struct csr_in csr = { .seen = 0 };
	struct build build;
	uint32_t pairs;
	double before = 0, at = -1;
	char want[64];

	if (mmq_want_map(reader, "sparse", &pairs, err) == -1)
		return -1;
	for (uint32_t i = 0; i < pairs; i++)
		if (read_key(&csr, reader, err) == -1)
			return -1;
	if (check_counts(&csr, err) == -1 || begin(cells, &build, (size_t)csr.rows, csr.data.count, err) == -1)
		return -1;
	if (build.width > 0 && (size_t)csr.cols > build.width) {
		snprintf(want, sizeof(want), "at most %zu columns", build.width);
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "sparse.shape", want, "%lld", (long long)csr.cols);
	}
	if (build.width == 0)
		build.width = (size_t)csr.cols;
	if (numbers_next(&csr.indptr, &at) != NULL || at != 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "sparse.indptr", "0 first", "%.17g", at);
	for (size_t row = 0; row < build.rows; row++, before = at) {
		if (numbers_next(&csr.indptr, &at) != NULL || !(at >= before && at <= (double)csr.data.count && at == floor(at)))
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "sparse.indptr", "ascending offsets into data", "another value for row %zu", row);
		if (read_csr_row(cells, &build, &csr, row, (size_t)at, err) == 0)
			continue;
		if (mmq_cells_note(cells, row, err) == -1)
			return -1;
		build.count = (size_t)build.row_start[row];
		build.row_start[row + 1] = build.count;
	}
	if ((size_t)at != csr.data.count)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "sparse.indptr", "the number of values last", "%.17g", at);
	return finish(cells, &build, err);
}

int
mmq_dense_to_sparse(struct mmq_cells *cells, struct mmq_err *err)
{
	size_t rows = cells->frame->rows, width = cells->numbers_width, entries = 0;
	const double *block = cells->slots[0].numbers;
	struct build build;

	for (size_t i = 0; i < rows * width; i++)
		entries += block[i] != 0;
	if (begin(cells, &build, rows, entries, err) == -1)
		return -1;
	for (size_t row = 0; row < rows; row++) {
		int rc = 0;
		for (size_t k = 0; k < width && rc == 0; k++)
			if (block[row * width + k] != 0)
				rc = add(cells, &build, row, (double)k, block[row * width + k], NULL, err);
		if (rc == 0)
			rc = end_row(cells, &build, row, err);
		if (rc == 0)
			continue;
		if (mmq_cells_note(cells, row, err) == -1)
			return -1;
		build.count = (size_t)build.row_start[row];
		build.row_start[row + 1] = build.count;
	}
	return finish_sparse(cells, &build);
}
