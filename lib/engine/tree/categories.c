/* categories.c: the bins of a category column: one for each frequent code.
 *
 * For boosting they keep the order of their frequency. Forests of two classes or of numbers cut them in the order of their mean target over all
 * rows: at each node the order of its own rows would make the best two sides that there are (Fisher 1958), but in small nodes it follows
 * luck, and deep trees do worse by it (Wright and Koenig 2019). Of more classes there is no one order that tells enough; see cart_split.c. */
#include <stdlib.h>
#include <string.h>

#include "engine/tree/bins.h"
#include "util/mem.h"

struct frequency { uint32_t count; int32_t code; double mean; };

static int
compare_frequency(const void *a_p, const void *b_p)
{
	const struct frequency *a = a_p, *b = b_p;
	return a->count != b->count ? (a->count < b->count ? 1 : -1) : a->code < b->code ? -1 : 1;
}

static int
compare_mean(const void *a_p, const void *b_p)
{
	const struct frequency *a = a_p, *b = b_p;
	return a->mean != b->mean ? (a->mean < b->mean ? -1 : 1) : a->code < b->code ? -1 : 1;
}

static void
number_bins(struct mmq_tree_column *column, const struct frequency *found)
{
	for (uint32_t b = 0; b < column->bins; b++) {
		column->code_of_bin[b] = found[b].code;
		column->bin_of_code[found[b].code + 1] = (uint8_t)b;
	}
}

/* Mean target of each bin's rows. */
static void
find_means(const struct mmq_dataset *data, size_t code_column, const struct mmq_tree_column *column, struct frequency *found)
{
	double weight[MMQ_TREE_BINS_MAX] = { 0 }, sum[MMQ_TREE_BINS_MAX] = { 0 };
	for (size_t r = 0; r < data->x.rows; r++) {
		int64_t place = (int64_t)data->x.codes[r * data->x.codes_cols + code_column] + 1;
		uint32_t bin = place >= 0 && place < column->codes ? column->bin_of_code[place] : column->bins;
		double w = data->weight != NULL ? (double)data->weight[r] : 1.0;
		weight[bin] += w;
		sum[bin] += w * data->y[r];
	}
	for (uint32_t b = 0; b < column->bins; b++)
		found[b].mean = sum[b] / weight[b];
}

void
mmq_tree_cut_category(const struct mmq_dataset *data, size_t code_column, uint32_t cardinality, const struct mmq_tree_options *options,
    struct mmq_tree_column *column)
{
	const struct mmq_batch *x = &data->x;
	uint32_t bins = 0, bins_max = options->max_bin < 254 ? options->max_bin : 254;

	column->codes = cardinality + 1;
	struct frequency *found = mmq_array(column->codes, sizeof(*found));
	for (uint32_t k = 0; k < column->codes; k++)
		found[k].code = (int32_t)k - 1;
	for (size_t r = 0; r < x->rows; r++) {
		int64_t place = (int64_t)x->codes[r * x->codes_cols + code_column] + 1;
		if (place >= 0 && place < column->codes)
			found[place].count++;
	}
	column->has_missing = found[0].count > 0;
	qsort(found, column->codes, sizeof(*found), compare_frequency);
	while (bins < column->codes && bins < bins_max && found[bins].count > 0)
		bins++;
	column->bins = bins;
	column->code_of_bin = mmq_array(bins + 1, sizeof(*column->code_of_bin));
	column->bin_of_code = mmq_array(column->codes, 1);
	memset(column->bin_of_code, (int)bins, column->codes);
	number_bins(column, found);
	if (options->kind != MMQ_TREE_GBDT && data->classes <= 2) {
		find_means(data, code_column, column, found);
		qsort(found, bins, sizeof(*found), compare_mean);
		number_bins(column, found);
	}
	free(found);
}
