/* split.c: train, valid and test rows. Each row gets one of three marks, then the marks are read off in row order,
 * so the lists are ascending, disjoint and complete by construction.
 *
 * Stratified: rows of one class are shuffled together and dealt out in turn, so each part has each class in its share. */
#include "data/split.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "math/rng.h"
#include "util/mem.h"

enum mark { TRAIN, VALID, TEST };

static int
refuse_share(struct mmq_err *err, const struct mmq_split_spec *spec)
{
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "split", "valid >= 0, test >= 0, valid + test < 1", "valid %g, test %g", spec->valid, spec->test);
}

/* Rows in an order in which neighbours of one class are together, each class shuffled: dealing them out in turn is stratified. */
static uint32_t *
dealt_order(uint64_t seed, size_t rows, const double *codes, uint32_t classes)
{
	uint32_t *order = mmq_array(rows, sizeof(*order));
	uint32_t groups = codes != NULL ? classes : 1;
	size_t *start = mmq_array((size_t)groups + 1, sizeof(*start));

	for (size_t i = 0; i < rows; i++)
		start[(codes != NULL ? (size_t)codes[i] : 0) + 1]++;
	for (uint32_t k = 0; k < groups; k++)
		start[k + 1] += start[k];
	size_t *at = mmq_array(groups, sizeof(*at));
	memcpy(at, start, groups * sizeof(*at));
	for (size_t i = 0; i < rows; i++)
		order[at[codes != NULL ? (size_t)codes[i] : 0]++] = (uint32_t)i;
	for (uint32_t k = 0; k < groups; k++) {
		struct mmq_rng rng = mmq_rng_stream(seed, 0x73706c6974, k);
		mmq_rng_shuffle(&rng, order + start[k], start[k + 1] - start[k]);
	}
	free(start);
	free(at);
	return order;
}

/* Position i of the order lies on the unit circle at i times the golden ratio, and parts are arcs of it: any run of positions
 * (a class) spreads evenly, so each part has its share of each class to within a row or two. */
static double
circle(size_t position)
{
	return fmod((double)position * 0.61803398874989484820, 1.0);
}

static void
mark_random(unsigned char *marks, const struct mmq_split_spec *spec, size_t rows, const double *codes, uint32_t classes)
{
	uint32_t *order = dealt_order(spec->seed, rows, codes, classes);

	for (size_t i = 0; i < rows; i++) {
		double place = circle(i);
		marks[order[i]] = place < spec->test ? TEST : place < spec->test + spec->valid ? VALID : TRAIN;
	}
	free(order);
}

static void
mark_folds(unsigned char *marks, const struct mmq_split_spec *spec, size_t rows, const double *codes, uint32_t classes, uint32_t fold)
{
	uint32_t *order = dealt_order(spec->seed, rows, codes, classes);

	for (size_t i = 0, rest = 0; i < rows; i++) {
		if (i % spec->folds == fold)
			marks[order[i]] = TEST;
		else if (circle(rest++) < spec->valid)
			marks[order[i]] = VALID;
	}
	free(order);
}

static void
mark_head(unsigned char *marks, const struct mmq_split_spec *spec, size_t rows)
{
	size_t test = (size_t)llround((double)rows * spec->test), valid = (size_t)llround((double)rows * spec->valid);
	size_t head = spec->head_rows > 0 ? spec->head_rows : rows - test;

	head = head < rows ? head : rows;
	valid = valid < head ? valid : head;
	for (size_t i = head - valid; i < rows; i++)
		marks[i] = i < head ? VALID : TEST;
}

static void
mark_modulo(unsigned char *marks, const struct mmq_split_spec *spec, size_t rows)
{
	size_t modulo = spec->modulo > 0 ? spec->modulo : spec->test > 0 ? (size_t)llround(1 / spec->test) : 0;
	double step = modulo > 1 ? spec->valid * (double)modulo / (double)(modulo - 1) : spec->valid, sum = 0;

	for (size_t i = 0; i < rows; i++) {
		if (modulo > 0 && i % modulo == modulo - 1) {
			marks[i] = TEST;
			continue;
		}
		/* Of the rows that are left, the one at which the running share passes an integer. */
		double before = floor(sum);
		sum += step;
		if (floor(sum) > before)
			marks[i] = VALID;
	}
}

static int
mark_column(unsigned char *marks, const struct mmq_split_spec *spec, const struct mmq_frame *frame, size_t rows, struct mmq_err *err)
{
	static const char *const words[] = { [TRAIN] = "train", [VALID] = "valid", [TEST] = "test" };
	const struct mmq_column *column = frame != NULL ? mmq_frame_find(frame, spec->column) : NULL;
	bool has_valid = false;
	char field[96];

	if (column == NULL || column->type != MMQ_COLUMN_TEXT)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "split.column", "a text column of train, valid, test", "'%s'", spec->column);
	for (size_t i = 0; i < rows; i++) {
		struct mmq_text text = mmq_column_text(column, i);
		int mark = TEST;
		while (mark >= 0 && (text.at == NULL || strlen(words[mark]) != text.size || memcmp(words[mark], text.at, text.size) != 0))
			mark--;
		if (mark < 0) {
			snprintf(field, sizeof(field), "rows[%zu].%.60s", i, spec->column);
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, "train, valid or test", "%.*s", text.at != NULL ? (int)text.size : 7,
			    text.at != NULL ? text.at : "nothing");
		}
		marks[i] = (unsigned char)mark;
		has_valid = has_valid || mark == VALID;
	}
	double sum = 0;
	for (size_t i = 0; !has_valid && i < rows; i++) {
		double before = floor(sum);
		if (marks[i] == TRAIN && floor(sum += spec->valid) > before)
			marks[i] = VALID;
	}
	return 0;
}

static void
read_marks(struct mmq_split *out, const unsigned char *marks, size_t rows)
{
	size_t counts[3] = { 0, 0, 0 };

	for (size_t i = 0; i < rows; i++)
		counts[marks[i]]++;
	out->rows = mmq_array(rows, sizeof(*out->rows));
	uint32_t *at[3] = { out->rows, out->rows + counts[TRAIN], out->rows + counts[TRAIN] + counts[VALID] };
	out->train = at[TRAIN];
	out->valid = at[VALID];
	out->test = at[TEST];
	out->train_count = counts[TRAIN];
	out->valid_count = counts[VALID];
	out->test_count = counts[TEST];
	for (size_t i = 0; i < rows; i++)
		*at[marks[i]]++ = (uint32_t)i;
}

int
mmq_split_make(struct mmq_split *out, const struct mmq_split_spec *spec, const struct mmq_frame *frame, size_t rows, const double *codes,
    uint32_t classes, uint32_t fold, struct mmq_err *err)
{
	int result = 0;

	*out = (struct mmq_split){ 0 };
	if (!(spec->valid >= 0) || !(spec->test >= 0) || !(spec->valid + spec->test < 1))
		return refuse_share(err, spec);
	if (spec->kind == MMQ_SPLIT_FOLDS && (spec->folds < 2 || spec->folds > MMQ_SPLIT_FOLDS_MAX || fold >= spec->folds))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "split.folds", "2 to 100, and a fold below it", "%u, fold %u", spec->folds, fold);
	if (rows > UINT32_MAX)
		return mmq_err_value(err, MMQ_RESOURCE_EXHAUSTED, "rows", "at most 2^32 - 1", "%zu", rows);
	unsigned char *marks = mmq_alloc(rows);  /* all TRAIN */
	switch (spec->kind) {
	case MMQ_SPLIT_RANDOM: mark_random(marks, spec, rows, codes, classes); break;
	case MMQ_SPLIT_HEAD: mark_head(marks, spec, rows); break;
	case MMQ_SPLIT_MODULO: mark_modulo(marks, spec, rows); break;
	case MMQ_SPLIT_COLUMN: result = mark_column(marks, spec, frame, rows, err); break;
	case MMQ_SPLIT_FOLDS: mark_folds(marks, spec, rows, codes, classes, fold); break;
	}
	if (result == 0) {
		read_marks(out, marks, rows);
		if (out->train_count == 0) {
			result = mmq_err_value(err, MMQ_INVALID_ARGUMENT, "split", "at least one training row", "0 of %zu", rows);
			mmq_split_fini(out);
		}
	}
	free(marks);
	return result;
}

void
mmq_split_fini(struct mmq_split *split)
{
	free(split->rows);
	*split = (struct mmq_split){ 0 };
}
