/* bins.h: training rows as bytes. Each column is cut once into at most 256 bins; growing a tree then reads bytes only.
 *
 * Numeric: bin b holds values x with upper[b-1] < x <= upper[b] as floats, so that a split "bin <= b" is "x <= upper[b]" at
 * prediction, exactly. Missing values have a bin of their own, always the one after the last. Category: a bin per frequent
 * code, missing counted as one of them; the last bin is for rare and unseen codes.
 * For exact splits of small data each value is a bin of its own, and bins are two bytes wide.
 * Columns are numbered as in mmq_batch: dense or sparse columns first, then code columns. Columns that cannot split are left out. */
#ifndef MMQ_ENGINE_TREE_BINS_H
#define MMQ_ENGINE_TREE_BINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/tree/options.h"

enum { MMQ_TREE_BINS_MAX = 256, MMQ_TREE_BINS_WIDE = 65536 };

struct mmq_tree_column {
	uint32_t source;          /* column of the batch; code columns come after x.cols */
	bool is_category, has_missing;
	uint32_t bins;            /* numeric: bins of values, missing is bin number `bins`; category: known codes, others are bin `bins` */
	float *upper;             /* numeric (bins), the last is +inf */
	float *low;               /* numeric (bins): least value of each bin */
	int32_t *code_of_bin;     /* category (bins), -1 = missing; in the order of categories.c */
	uint8_t *bin_of_code;     /* category (cardinality + 1), indexed by code + 1 */
	uint32_t codes;           /* category: cardinality + 1 */
};

struct mmq_tree_bins {
	size_t rows;
	uint32_t columns_count;
	struct mmq_tree_column *columns;
	uint32_t *offset;         /* (columns + 1): where a column's bins begin in a histogram, multiples of 4; the last is its size */
	uint8_t *by_column;       /* (columns, rows), or NULL where two bytes are needed: */
	uint16_t *wide;           /* (columns, rows) or NULL; then a numeric column may have up to 65,535 bins and the fields below are not there */
	/* For boosting, one of two forms by row: bytes, or the places in a histogram of bins that are not their column's `common` one. */
	size_t row_bytes;         /* columns padded to 8 */
	uint8_t *by_row;          /* (rows, row_bytes) or NULL */
	uint8_t *common;          /* (columns): most frequent bin */
	size_t *other_start;      /* (rows + 1) into other */
	uint32_t *other;          /* NULL when by_row is there */
};

/* Choose borders and code train->x. Borrows nothing afterwards. */
int mmq_tree_bins_new(struct mmq_tree_bins **bins_out, const struct mmq_fit *fit, const struct mmq_tree_options *options, struct mmq_err *err);

/* Other rows in the same bins, by column only: (columns, x->rows) bytes, the caller's to free. */
uint8_t *mmq_tree_bins_code(const struct mmq_tree_bins *bins, const struct mmq_batch *x, struct mmq_pool *pool);
void mmq_tree_bins_destroy(struct mmq_tree_bins **bins);

/* code.c: bins of numeric values as bytes or, when out is NULL, as pairs of bytes; and the form by row that suits the coded columns. */
void mmq_tree_bin_values(const struct mmq_tree_column *column, const float *values, size_t count, uint8_t *out, uint16_t *wide_out);
void mmq_tree_bins_layout(struct mmq_tree_bins *bins, struct mmq_pool *pool);

/* categories.c: choose the bins of a code column; fills all of column but source and is_category. */
void mmq_tree_cut_category(const struct mmq_dataset *data, size_t code_column, uint32_t cardinality, const struct mmq_tree_options *options,
    struct mmq_tree_column *column);

/* borders.c: sort values (count, no NaN) and write at most bins_max upper borders, the last +inf, and the least value of each bin; returns how
 * many. temp (2 * count). */
uint32_t mmq_tree_borders(float *upper_out, float *low_out, uint32_t bins_max, float *values, size_t count, uint32_t min_data, uint32_t *temp);

#endif
