/* values.c: finds which form of values a map has and hands it to the file that reads it. */
#include "wire/values.h"

#include <stdlib.h>

#include "wire/cells.h"
#include "wire/want.h"

static const char *const form_names[] = { "", "rows", "columns", "tensor", "sparse" };

/* Exactly one of the four keys, found in one pass; reader_out stands before its value. names_out stands before the value of `names`, if any. */
static int
find_form(const void *map, size_t size, enum mmq_values_form *form_out, struct mmq_reader *reader_out, struct mmq_reader *names_out, bool *has_names_out,
    struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_text key;
	uint32_t pairs;

	mmq_reader_init(&reader, map, size);
	if (mmq_want_map(&reader, "values", &pairs, err) == -1)
		return -1;
	for (; pairs > 0; pairs--) {
		if (mmq_want_key(&reader, "values", &key, err) == -1)
			return -1;
		struct mmq_reader value = reader;
		bool is_nil = mmq_read_peek(&reader) == MMQ_T_NIL;
		if (!mmq_read_skip(&reader))
			return mmq_want_broken(&reader, err);
		if (mmq_text_is(&key, "names") && !is_nil) {
			*names_out = value;
			*has_names_out = true;
		}
		int form = MMQ_VALUES_ROWS;
		while (form <= MMQ_VALUES_SPARSE && !mmq_text_is(&key, form_names[form]))
			form++;
		if (form > MMQ_VALUES_SPARSE || is_nil)
			continue;
		if (*form_out != MMQ_VALUES_NONE)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, form_names[form], "one of rows, columns, tensor, sparse", "%s too", form_names[*form_out]);
		*form_out = (enum mmq_values_form)form;
		*reader_out = value;
	}
	if (*form_out == MMQ_VALUES_NONE)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "rows", "one of rows, columns, tensor, sparse", "nothing");
	return 0;
}

static int
compare_rows(const void *a, const void *b)
{
	const struct mmq_row_error *x = a, *y = b;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Columns are read one after the other, so their errors come by column: put them in row order and keep one per row. */
static void
order_errors(struct mmq_row_errors *errors)
{
	size_t kept = 0;

	if (errors == NULL || errors->count < 2)
		return;
	qsort(errors->items, errors->count, sizeof(*errors->items), compare_rows);
	for (size_t i = 1; i < errors->count; i++)
		if (errors->items[i].row != errors->items[kept].row)
			errors->items[++kept] = errors->items[i];
	errors->count = kept + 1;
}

static int
read_form(struct mmq_cells *cells, enum mmq_values_form form, struct mmq_reader *reader, const struct mmq_text *payload, struct mmq_err *err)
{
	switch (form) {
	case MMQ_VALUES_ROWS:
		return mmq_rows_read(cells, reader, err);
	case MMQ_VALUES_COLUMNS:
		return mmq_columns_read(cells, reader, err);
	case MMQ_VALUES_TENSOR:
		return mmq_tensor_fill(cells, reader, payload, err);
	default:
		return mmq_sparse_read(cells, reader, err);
	}
}

int
mmq_values_read(struct mmq_frame *frame, enum mmq_values_form *form_out, const void *map, size_t size, const struct mmq_text *payload,
    const struct mmq_values_options *options, struct mmq_err *err)
{
	struct mmq_cells cells = { .frame = frame, .options = options };
	struct mmq_reader reader, names;

	bool has_names = false;

	*form_out = MMQ_VALUES_NONE;
	if (find_form(map, size, form_out, &reader, &names, &has_names, err) == -1)
		return -1;
	cells.form = form_names[*form_out];
	if (options->schema != NULL && mmq_cells_plan(&cells, err) == -1)
		return -1;
	bool takes_names = *form_out == MMQ_VALUES_ROWS || *form_out == MMQ_VALUES_TENSOR;
	if (options->schema == NULL && takes_names && has_names && mmq_infer_names(&cells, &names, err) == -1)
		return -1;
	if (read_form(&cells, *form_out, &reader, payload, err) == -1)
		return -1;
	bool is_dense = frame->sparse.row_start == NULL;
	if (is_dense && options->schema != NULL && options->schema->sparse_cols > 0 && mmq_dense_to_sparse(&cells, err) == -1)
		return -1;
	mmq_cells_finish(&cells);
	order_errors(options->errors);
	return 0;
}
