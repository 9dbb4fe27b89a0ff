/* reply_predict.c: the answer to predict. Outputs are arrays by row, as nested lists or, for numbers, as one tensor each.
 * Rows named in row_errors become nil in lists and NaN in tensors, whatever the arrays hold there. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mpack/writer.h"
#include "wire/reply.h"

static void
put_label(struct mmq_buf *out, const struct mmq_classes *classes, size_t index)
{
	if (classes->type == MMQ_LABEL_TEXT)
		mmq_put_str(out, classes->texts[index]);
	else if (classes->type == MMQ_LABEL_BOOL)
		mmq_put_bool(out, classes->ints[index] != 0);
	else
		mmq_put_int(out, classes->ints[index]);
}

void
mmq_reply_put_classes(struct mmq_buf *out, const struct mmq_classes *classes)
{
	mmq_put_array(out, classes->count);
	for (size_t i = 0; i < classes->count; i++)
		put_label(out, classes, i);
}

/* Walks row_errors beside the rows: both ascend. */
struct bad_rows {
	const struct mmq_row_errors *errors;
	size_t next;
};

static bool
is_bad(struct bad_rows *bad, size_t row)
{
	while (bad->errors != NULL && bad->next < bad->errors->count && bad->errors->items[bad->next].row < row)
		bad->next++;
	return bad->errors != NULL && bad->next < bad->errors->count && bad->errors->items[bad->next].row == row;
}

static void
put_labels(struct mmq_buf *out, const struct mmq_predict_reply *reply)
{
	struct bad_rows bad = { reply->row_errors, 0 };

	mmq_put_array(out, reply->rows);
	for (size_t row = 0; row < reply->rows; row++) {
		if (is_bad(&bad, row))
			mmq_put_nil(out);
		else
			put_label(out, reply->classes, reply->label[row]);
	}
}

/* One row's values (inner lengths a, b; b 0: no second axis). */
static void
put_row(struct mmq_buf *out, const double *values, size_t a, size_t b)
{
	if (b == 0) {
		mmq_put_doubles(out, values, a);
		return;
	}
	mmq_put_array(out, a);
	for (size_t i = 0; i < a; i++)
		mmq_put_doubles(out, values + i * b, b);
}

static void
put_tensor(struct mmq_buf *out, const struct mmq_predict_reply *reply, const double *values, size_t a, size_t b)
{
	size_t width = (a > 0 ? a : 1) * (b > 0 ? b : 1), bytes = reply->rows * width * sizeof(double);
	struct bad_rows bad = { reply->row_errors, 0 };
	uint8_t head[5] = { 0xc6 };

	mmq_put_map(out, 3);
	mmq_put_str(out, "dtype");
	mmq_put_str(out, "f64");
	mmq_put_str(out, "shape");
	mmq_put_array(out, 1u + (a > 0) + (b > 0));
	mmq_put_uint(out, reply->rows);
	if (a > 0)
		mmq_put_uint(out, a);
	if (b > 0)
		mmq_put_uint(out, b);
	mmq_put_str(out, "data");
	if (bytes > UINT32_MAX) {
		out->failed = true;  /* more than msgpack's longest binary */
		return;
	}
	for (unsigned i = 0; i < 4; i++)
		head[1 + i] = (uint8_t)(bytes >> (24 - 8 * i));
	mmq_buf_append(out, head, sizeof(head));
	for (size_t row = 0; row < reply->rows; row++) {
		const double *from = values + row * width;
		bool row_is_bad = is_bad(&bad, row);
		for (size_t k = 0; k < width; k++) {
			double value = row_is_bad ? (double)NAN : from[k];
			uint64_t bits;
			memcpy(&bits, &value, sizeof(bits));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
			bits = __builtin_bswap64(bits);
#endif
			mmq_buf_append(out, &bits, sizeof(bits));
		}
	}
}

/* values (rows, a, b) by row; a 0: one value per row. */
static void
put_values(struct mmq_buf *out, const struct mmq_predict_reply *reply, const char *key, const double *values, size_t a, size_t b)
{
	struct bad_rows bad = { reply->row_errors, 0 };

	mmq_put_str(out, key);
	if (reply->as_tensor) {
		put_tensor(out, reply, values, a, b);
		return;
	}
	mmq_put_array(out, reply->rows);
	for (size_t row = 0; row < reply->rows; row++) {
		if (is_bad(&bad, row))
			mmq_put_nil(out);
		else if (a == 0)
			mmq_put_double(out, values[row]);
		else
			put_row(out, values + row * a * (b > 0 ? b : 1), a, b);
	}
}

static void
put_leaves(struct mmq_buf *out, const struct mmq_predict_reply *reply)
{
	struct bad_rows bad = { reply->row_errors, 0 };

	mmq_put_str(out, "leaf");
	mmq_put_array(out, reply->rows);
	for (size_t row = 0; row < reply->rows; row++) {
		if (is_bad(&bad, row)) {
			mmq_put_nil(out);
			continue;
		}
		mmq_put_array(out, reply->leaf_cols);
		for (size_t k = 0; k < reply->leaf_cols; k++)
			mmq_put_uint(out, reply->leaf[row * reply->leaf_cols + k]);
	}
}

static void
put_contribution(struct mmq_buf *out, const struct mmq_predict_reply *reply)
{
	size_t a = reply->score_cols == 1 ? reply->columns : reply->score_cols;
	size_t b = reply->score_cols == 1 ? 0 : reply->columns;

	put_values(out, reply, "contribution", reply->contribution, a, b);
	if (reply->contribution_error != NULL)
		put_values(out, reply, "contribution_error", reply->contribution_error, a, b);
	mmq_put_str(out, "base");
	mmq_put_doubles(out, reply->base, reply->score_cols);
	mmq_put_str(out, "method");
	mmq_put_str(out, reply->contribution_method);
	mmq_put_str(out, "columns");
	mmq_put_array(out, reply->columns);
	for (size_t i = 0; i < reply->columns; i++)
		mmq_put_str(out, reply->column_names[i]);
}

static void
put_outputs(struct mmq_buf *out, const struct mmq_predict_reply *reply)
{
	size_t place = mmq_put_map_begin(out);
	uint32_t pairs = 0;

	if (reply->label != NULL) {
		mmq_put_str(out, "prediction");
		put_labels(out, reply);
		pairs++;
	} else if (reply->value != NULL) {
		put_values(out, reply, "prediction", reply->value, 0, 0);
		pairs++;
	}
	if (reply->probability != NULL) {
		put_values(out, reply, "probability", reply->probability, reply->classes != NULL ? reply->classes->count : 1, 0);
		pairs++;
	}
	if (reply->score != NULL) {
		put_values(out, reply, "score", reply->score, reply->score_cols == 1 ? 0 : reply->score_cols, 0);
		pairs++;
	}
	if (reply->interval != NULL) {
		put_values(out, reply, "interval", reply->interval, 2, 0);
		pairs++;
	}
	if (reply->leaf != NULL) {
		put_leaves(out, reply);
		pairs++;
	}
	if (reply->contribution != NULL) {
		put_contribution(out, reply);
		pairs += 4 + (reply->contribution_error != NULL);
	}
	mmq_put_map_end(out, place, pairs);
}

/* "a|b": > 0 votes for a; the pairs in the order (0,1) (0,2) .. (1,2) .. */
static void
put_score_names(struct mmq_buf *out, const struct mmq_classes *classes)
{
	char first[32], second[32], name[256];

	mmq_put_str(out, "score_names");
	mmq_put_array(out, classes->count * (classes->count - 1) / 2);
	for (size_t i = 0; i < classes->count; i++) {
		for (size_t j = i + 1; j < classes->count; j++) {
			int size = snprintf(name, sizeof(name), "%.120s|%.120s", mmq_classes_text(classes, i, first), mmq_classes_text(classes, j, second));
			bool is_text = mmq_utf8_is_valid(name, (size_t)size);
			mmq_put_str(out, is_text ? name : "pair");
		}
	}
}

static void
put_row_errors(struct mmq_buf *out, const struct mmq_row_errors *errors)
{
	mmq_put_str(out, "row_errors");
	mmq_put_array(out, errors->count);
	for (size_t i = 0; i < errors->count; i++) {
		const struct mmq_row_error *bad = &errors->items[i];
		bool has_field = bad->err.field[0] != '\0' && mmq_utf8_is_valid(bad->err.field, strlen(bad->err.field));
		mmq_put_map(out, 3u + has_field);
		mmq_put_str(out, "row");
		mmq_put_uint(out, bad->row);
		mmq_put_str(out, "code");
		mmq_put_str(out, mmq_code_name(bad->err.code));
		if (has_field) {
			mmq_put_str(out, "field");
			mmq_put_str(out, bad->err.field);
		}
		mmq_put_str(out, "message");
		mmq_put_str(out, mmq_utf8_is_valid(bad->err.message, strlen(bad->err.message)) ? bad->err.message : "this row cannot be read");
	}
}

static void
put_heading(struct mmq_buf *out, const struct mmq_predict_reply *reply, uint32_t *pairs)
{
	mmq_put_str(out, "model");
	mmq_put_str(out, reply->model);
	mmq_put_str(out, "version");
	mmq_put_uint(out, reply->version);
	if (reply->alias.at != NULL) {
		mmq_put_str(out, "alias");
		mmq_put_strn(out, reply->alias.at, reply->alias.size);
		++*pairs;
	}
	mmq_put_str(out, "task");
	mmq_put_str(out, reply->task);
	mmq_put_str(out, "rows");
	mmq_put_uint(out, reply->rows);
	*pairs += 4;
	if (reply->classes == NULL)
		return;
	mmq_put_str(out, "classes");
	mmq_reply_put_classes(out, reply->classes);
	++*pairs;
	if (reply->positive >= 0) {
		mmq_put_str(out, "positive");
		put_label(out, reply->classes, (size_t)reply->positive);
		++*pairs;
	}
	if (reply->score != NULL && reply->score_is_pairwise) {
		put_score_names(out, reply->classes);
		++*pairs;
	}
}

void
mmq_reply_predict(struct mmq_buf *out, const struct mmq_head *head, const struct mmq_predict_reply *reply)
{
	size_t place = mmq_reply_begin_open(out, head);
	uint32_t pairs = mmq_reply_pairs(head);

	put_heading(out, reply, &pairs);
	mmq_put_str(out, "outputs");
	put_outputs(out, reply);
	if (reply->row_ids.at != NULL) {
		mmq_put_str(out, "row_ids");
		mmq_buf_append(out, reply->row_ids.at, reply->row_ids.size);
		pairs++;
	}
	if (reply->row_errors != NULL && reply->row_errors->count > 0) {
		put_row_errors(out, reply->row_errors);
		pairs++;
	}
	mmq_put_str(out, "queue_us");
	mmq_put_int(out, reply->queue_us);
	mmq_put_str(out, "service_us");
	mmq_put_int(out, reply->service_us);
	mmq_put_map_end(out, place, pairs + 3);
}
