/* csv.c: two passes over the bytes with one tokenizer. The first counts rows and finds each column's type, the second
 * fills the columns; nothing but the columns themselves is ever held. */
#include "data/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/match.h"
#include "mpack/reader.h"
#include "util/number.h"

enum guess { GUESS_NUMBER = 1, GUESS_BOOLEAN = 2, GUESS_TEXT = 4 };

struct cell {
	const char *at;      /* quoted: the first byte inside the quotes */
	size_t size;
	bool is_quoted;
	bool has_pairs;      /* "" inside, to be read as " */
	bool ends_line;
};

struct csv {
	struct mmq_frame *frame;
	const char *name;
	const struct mmq_csv_options *options;
	char delimiter;
	const char *body, *at, *end;
	size_t line;         /* from 1 */
	size_t body_line;
	size_t cols;
	const char **names;  /* (cols) */
	unsigned char *guesses; /* (cols) what is still possible */
	char *scratch;       /* one unquoted text */
	size_t scratch_bytes;
};

static int
refuse(const struct csv *csv, size_t col, enum mmq_code code, const char *what, struct mmq_err *err)
{
	const char *name = csv->names != NULL && col < csv->cols ? csv->names[col] : "";
	return mmq_err_set(err, code, "%s, line %zu, column %zu%s%.80s%s: %s", csv->name, csv->line, col + 1, *name ? " '" : "", name,
	    *name ? "'" : "", what);
}

static const char *
newline_skip(const char *at, const char *end)
{
	if (at < end && *at == '\r')
		at++;
	if (at < end && *at == '\n')
		at++;
	return at;
}

/* Next cell; leaves csv->at behind its delimiter or line end. Lines inside quotes are counted. */
static int
take_cell(struct csv *csv, size_t col, struct cell *cell, struct mmq_err *err)
{
	const char *at = csv->at, *end = csv->end;
	size_t lines = 0;

	*cell = (struct cell){ .at = at };
	if (at < end && *at == '"') {
		cell->is_quoted = true;
		cell->at = ++at;
		for (;; at++) {
			const char *quote = memchr(at, '"', (size_t)(end - at));
			if (quote == NULL)
				return refuse(csv, col, MMQ_INVALID_ARGUMENT, "the quote that begins here is never closed", err);
			for (const char *nl = at; (nl = memchr(nl, '\n', (size_t)(quote - nl))) != NULL; nl++)
				lines++;
			at = quote + 1;
			if (at == end || *at != '"')
				break;
			cell->has_pairs = true;
		}
		cell->size = (size_t)(at - 1 - cell->at);
		if (at < end && *at != csv->delimiter && *at != '\n' && *at != '\r')
			return refuse(csv, col, MMQ_INVALID_ARGUMENT, "text after a closing quote", err);
	} else {
		while (at < end && *at != csv->delimiter && *at != '\n' && *at != '\r' && *at != '"')
			at++;
		if (at < end && *at == '"')
			return refuse(csv, col, MMQ_INVALID_ARGUMENT, "a quote inside an unquoted field", err);
		cell->size = (size_t)(at - cell->at);
	}
	if (cell->size > csv->options->limits.cell_bytes_max || cell->size > UINT32_MAX)
		return refuse(csv, col, MMQ_RESOURCE_EXHAUSTED, "the field is longer than cell_bytes_max", err);
	cell->ends_line = at == end || *at != csv->delimiter;
	csv->at = cell->ends_line ? newline_skip(at, end) : at + 1;
	csv->line += lines;
	return 0;
}

/* The field's text with doubled quotes undone; points into the bytes or into scratch. */
static struct mmq_text
cell_text(struct csv *csv, const struct cell *cell)
{
	if (!cell->has_pairs)
		return (struct mmq_text){ cell->at, (uint32_t)cell->size };
	if (csv->scratch_bytes < cell->size) {
		free(csv->scratch);
		csv->scratch_bytes = cell->size * 2;
		csv->scratch = mmq_alloc(csv->scratch_bytes);
	}
	size_t size = 0;
	for (size_t i = 0; i < cell->size; i++) {
		csv->scratch[size++] = cell->at[i];
		if (cell->at[i] == '"')
			i++;
	}
	return (struct mmq_text){ csv->scratch, (uint32_t)size };
}

static bool
cell_is_missing(const struct cell *cell)
{
	return cell->size == 0 && !cell->is_quoted;
}

/* Spaces around a number are passed over, as most writers of tables put some. */
static bool
cell_number(const struct cell *cell, double *value_out)
{
	const char *at = cell->at, *end = at + cell->size;

	while (at < end && *at == ' ')
		at++;
	while (end > at && end[-1] == ' ')
		end--;
	return mmq_number_parse(at, (size_t)(end - at), value_out);
}

/* 1 true, 0 false, -1 neither. */
static int
cell_boolean(const struct cell *cell)
{
	static const struct { const char *text; size_t size; int value; } words[] = {
		{ "true", 4, 1 }, { "false", 5, 0 }, { "True", 4, 1 }, { "False", 5, 0 }, { "TRUE", 4, 1 }, { "FALSE", 5, 0 },
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (cell->size == words[i].size && memcmp(cell->at, words[i].text, cell->size) == 0)
			return words[i].value;
	return -1;
}

static int
add_name(struct csv *csv, struct mmq_text text, size_t *capacity, struct mmq_err *err)
{
	if (csv->cols == csv->options->limits.cols_max)
		return refuse(csv, csv->cols, MMQ_RESOURCE_EXHAUSTED, "more columns than cols_max", err);
	if (text.size == 0 || memchr(text.at, '\0', text.size) != NULL)
		return refuse(csv, csv->cols, MMQ_INVALID_ARGUMENT, "a column name is empty or holds a zero byte", err);
	if (csv->cols == *capacity) {
		*capacity = *capacity * 2 + 16;
		csv->names = mmq_grow(csv->names, *capacity, sizeof(*csv->names));
	}
	csv->names[csv->cols++] = mmq_arena_strndup(&csv->frame->arena, text.at, text.size);
	return 0;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
check_names(struct csv *csv, struct mmq_err *err)
{
	const char **sorted = mmq_array(csv->cols, sizeof(*sorted));
	int result = 0;

	memcpy(sorted, csv->names, csv->cols * sizeof(*sorted));
	qsort(sorted, csv->cols, sizeof(*sorted), compare_names);
	for (size_t i = 1; i < csv->cols && result == 0; i++)
		if (strcmp(sorted[i], sorted[i - 1]) == 0)
			result = mmq_err_value(err, MMQ_INVALID_ARGUMENT, "header", "each column name once", "'%s' twice in %s", sorted[i], csv->name);
	free(sorted);
	return result;
}

static int
read_names(struct csv *csv, struct mmq_err *err)
{
	const struct mmq_csv_options *options = csv->options;
	size_t capacity = 0;
	struct cell cell = { .ends_line = false };

	for (size_t i = 0; i < options->names_count && options->names != NULL; i++)
		if (add_name(csv, (struct mmq_text){ options->names[i], (uint32_t)strlen(options->names[i]) }, &capacity, err) == -1)
			return -1;
	if (options->names == NULL) {
		if (csv->at == csv->end)
			return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s is empty: want a header line with column names", csv->name);
		while (!cell.ends_line)
			if (take_cell(csv, csv->cols, &cell, err) == -1 || add_name(csv, cell_text(csv, &cell), &capacity, err) == -1)
				return -1;
		csv->line++;
	}
	if (csv->cols == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "names", "at least one column name", "none");
	csv->body = csv->at;
	csv->body_line = csv->line;
	return check_names(csv, err);
}

/* What the schema knows is not guessed: numbers must be numbers, everything else is text. */
static void
set_guesses(struct csv *csv)
{
	csv->guesses = mmq_alloc(csv->cols);
	for (size_t i = 0; i < csv->cols; i++) {
		const struct mmq_field *field = csv->options->schema != NULL ? mmq_schema_find(csv->options->schema, csv->names[i]) : NULL;
		csv->guesses[i] = GUESS_NUMBER | GUESS_BOOLEAN | GUESS_TEXT;
		bool is_used = field != NULL && (mmq_field_is_input(field) || field->role == MMQ_ROLE_TARGET);
		if (!is_used || field->kind == MMQ_FIELD_VECTOR || field->kind == MMQ_FIELD_IGNORE || !field->kind_is_set)
			continue;
		csv->guesses[i] = field->kind == MMQ_FIELD_NUMERIC ? GUESS_NUMBER : field->kind == MMQ_FIELD_BOOLEAN ? GUESS_BOOLEAN : GUESS_TEXT;
	}
}

static int
guess_cell(struct csv *csv, size_t col, const struct cell *cell, struct mmq_err *err)
{
	unsigned char before = csv->guesses[col];
	double number;

	if (cell_is_missing(cell))
		return 0;
	if ((before & GUESS_NUMBER) && !cell_number(cell, &number))
		csv->guesses[col] &= (unsigned char)~GUESS_NUMBER;
	if ((before & GUESS_BOOLEAN) && cell_boolean(cell) == -1)
		csv->guesses[col] &= (unsigned char)~GUESS_BOOLEAN;
	if (csv->guesses[col] == 0)
		return refuse(csv, col, MMQ_INVALID_ARGUMENT, before & GUESS_NUMBER ? "not a number" : "not true or false", err);
	return 0;
}

/* One line through `visit`. A line without any byte is passed over where it cannot be a row of one missing value. */
static int
take_row(struct csv *csv, size_t row, int (*visit)(struct csv *csv, size_t row, size_t col, const struct cell *cell, struct mmq_err *err),
    struct mmq_err *err)
{
	struct cell cell = { .ends_line = false };

	for (size_t col = 0; !cell.ends_line; col++) {
		size_t line = csv->line;
		if (col == csv->cols)
			return refuse(csv, col, MMQ_INVALID_ARGUMENT, "more fields than the header has", err);
		if (take_cell(csv, col, &cell, err) == -1)
			return -1;
		if (cell.ends_line && col + 1 < csv->cols) {
			csv->line = line;
			return refuse(csv, col + 1, MMQ_INVALID_ARGUMENT, "the line ends before this field", err);
		}
		if (visit(csv, row, col, &cell, err) == -1)
			return -1;
	}
	csv->line++;
	return 0;
}

static int
visit_guess(struct csv *csv, size_t row, size_t col, const struct cell *cell, struct mmq_err *err)
{
	(void)row;
	return guess_cell(csv, col, cell, err);
}

static int
visit_fill(struct csv *csv, size_t row, size_t col, const struct cell *cell, struct mmq_err *err)
{
	struct mmq_column *column = &csv->frame->columns[col];

	(void)err;
	if (column->type == MMQ_COLUMN_NUMBER) {
		double *number = (double *)column->numbers + row;
		*number = NAN;
		if (!cell_is_missing(cell))
			cell_number(cell, number);
		return 0;
	}
	struct mmq_text *text = (struct mmq_text *)column->texts + row, found;
	if (cell_is_missing(cell)) {
		*text = (struct mmq_text){ 0 };
	} else if (column->is_boolean) {
		*text = cell_boolean(cell) ? (struct mmq_text){ "true", 4 } : (struct mmq_text){ "false", 5 };
	} else {
		found = cell_text(csv, cell);
		*text = (struct mmq_text){ mmq_arena_strndup(&csv->frame->arena, found.at, found.size), found.size };
	}
	return 0;
}

/* A blank line: passed over unless the table has one column, where it is a missing value. */
static bool
skip_blank(struct csv *csv)
{
	const char *next = newline_skip(csv->at, csv->end);
	if (next == csv->at || csv->cols == 1)
		return false;
	csv->at = next;
	csv->line++;
	return true;
}

static int
guess_all(struct csv *csv, size_t *rows_out, struct mmq_err *err)
{
	const struct mmq_data_limits *limits = &csv->options->limits;
	size_t rows = 0;

	while (csv->at < csv->end) {
		if (skip_blank(csv))
			continue;
		if (rows == limits->rows_max || rows >= UINT32_MAX || (rows + 1) * csv->cols > limits->values_max)
			return refuse(csv, 0, MMQ_RESOURCE_EXHAUSTED, "more rows or values than rows_max or values_max", err);
		if (take_row(csv, rows, visit_guess, err) == -1)
			return -1;
		rows++;
	}
	*rows_out = rows;
	return 0;
}

static int
fill_all(struct csv *csv, struct mmq_err *err)
{
	for (size_t i = 0; i < csv->cols; i++) {
		unsigned char guess = csv->guesses[i];
		if (guess & GUESS_NUMBER) {
			mmq_frame_add_numbers(csv->frame, csv->names[i], 1);
			continue;
		}
		mmq_frame_add_texts(csv->frame, csv->names[i]);
		csv->frame->columns[i].is_boolean = (guess & GUESS_BOOLEAN) != 0;
	}
	csv->at = csv->body;
	csv->line = csv->body_line;
	for (size_t row = 0; row < csv->frame->rows;) {
		if (skip_blank(csv))
			continue;
		if (take_row(csv, row++, visit_fill, err) == -1)
			return -1;
	}
	return 0;
}

int
mmq_csv_read(struct mmq_frame *frame, const char *bytes, size_t size, const char *name, const struct mmq_csv_options *options, struct mmq_err *err)
{
	struct csv csv = { .frame = frame, .name = name, .options = options, .delimiter = options->delimiter != 0 ? options->delimiter : ',',
		.at = bytes, .end = bytes + size, .line = 1 };
	int result = -1;

	if (size > options->limits.bytes_max)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s has %zu bytes, more than bytes_max %zu", name, size, options->limits.bytes_max);
	if (csv.delimiter == '"' || csv.delimiter == '\n' || csv.delimiter == '\r')
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "delimiter", "one character such as , ; or tab", "a quote or line end");
	if (!mmq_utf8_is_valid(bytes, size))
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s is not UTF-8 text", name);
	if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		csv.at += 3;
	if (read_names(&csv, err) == 0) {
		set_guesses(&csv);
		if (guess_all(&csv, &frame->rows, err) == 0)
			result = fill_all(&csv, err);
	}
	free(csv.names);
	free(csv.guesses);
	free(csv.scratch);
	return result;
}
