/* rowset.c: many kernel rows together, a stretch of the segment at a time, so that the stretch stays in the second cache for all of them. */
#include "engine/svm/rowset.h"

#include <stdlib.h>

#include "util/mem.h"

enum { STRETCH_BYTES = 256 << 10, QUERIES_BYTES_MAX = 64 << 20 };

struct svm_filler *
svm_filler_new(const struct svm_rowset *set, size_t rows_max, size_t lane)
{
	struct svm_filler *filler = mmq_alloc(sizeof(*filler));

	filler->block_queries = svm_queries_max(&set->rows, SIZE_MAX);
	filler->block_bytes = svm_queries_bytes(&set->rows, filler->block_queries);
	filler->blocks_max = (rows_max + filler->block_queries - 1) / filler->block_queries;
	/* Queries of very wide rows: fewer at a time. */
	while (filler->blocks_max > 1 && filler->blocks_max * filler->block_bytes > QUERIES_BYTES_MAX)
		filler->blocks_max = (filler->blocks_max + 1) / 2;
	filler->set = set;
	filler->rows_max = rows_max;
	filler->lane = lane;
	filler->memory = mmq_aligned(filler->blocks_max * filler->block_bytes);
	filler->blocks = mmq_array(filler->blocks_max, sizeof(*filler->blocks));
	for (size_t b = 0; b < filler->blocks_max; b++)
		svm_queries_begin(&filler->blocks[b], &set->rows, filler->block_queries, filler->memory + b * filler->block_bytes);
	filler->missing = mmq_array(rows_max, sizeof(void *));
	filler->missing_place = mmq_array(rows_max, sizeof(size_t));
	filler->waiting = mmq_array(rows_max, sizeof(size_t));
	return filler;
}

void
svm_filler_destroy(struct svm_filler **filler_p)
{
	struct svm_filler *filler = *filler_p;
	if (filler == NULL)
		return;
	free(filler->memory);
	free(filler->blocks);
	free(filler->missing);
	free(filler->missing_place);
	free(filler->waiting);
	free(filler);
	*filler_p = NULL;
}

static void
fill_stretch(void *arg, size_t block, unsigned thread)
{
	const struct svm_filler *filler = arg;
	const struct svm_rowset *set = filler->set;
	size_t base = set->segment_start[filler->segment] / SVM_PANEL, end = set->segment_start[filler->segment + 1] / SVM_PANEL;
	size_t from = base + block * filler->stretch_panels, to = from + filler->stretch_panels < end ? from + filler->stretch_panels : end;
	size_t element_bytes = svm_rows_element_bytes(&set->rows);
	void *out[SVM_SPARSE_QUERIES_MAX];

	(void)thread;
	for (size_t b = 0; b < filler->used; b++) {
		for (size_t q = 0; q < filler->blocks[b].count; q++)
			out[q] = (char *)filler->missing[filler->first + b * filler->block_queries + q] + (from - base) * SVM_PANEL * element_bytes;
		svm_rows_values(&set->kernel, &set->rows, &filler->blocks[b], from, to, out);
	}
}

/* As many at a time as there are query blocks. */
void
svm_filler_run(struct svm_filler *filler, struct mmq_pool *pool, size_t segment)
{
	const struct svm_rowset *set = filler->set;
	size_t panels = (set->segment_start[segment + 1] - set->segment_start[segment]) / SVM_PANEL;
	size_t panel_bytes = set->rows.cols * SVM_PANEL * svm_rows_element_bytes(&set->rows);

	filler->segment = segment;
	filler->stretch_panels = STRETCH_BYTES / (panel_bytes + 1) / 2 * 2 + 2;
	if (filler->stretch_panels > 64)
		filler->stretch_panels = 64;
	for (filler->first = 0; filler->first < filler->missing_count; filler->first += filler->blocks_max * filler->block_queries) {
		filler->used = 0;
		for (size_t m = filler->first; m < filler->missing_count && filler->used < filler->blocks_max; m += filler->block_queries) {
			struct svm_queries *queries = &filler->blocks[filler->used++];
			for (size_t q = 0; q < filler->block_queries && m + q < filler->missing_count; q++)
				svm_queries_put(queries, set->x, set->order[filler->missing_place[m + q]]);
		}
		mmq_pool_run(pool, (panels + filler->stretch_panels - 1) / filler->stretch_panels, fill_stretch, filler);
		for (size_t b = 0; b < filler->used; b++)
			svm_queries_clear(&filler->blocks[b]);
	}
}

double
svm_rowset_self(const struct svm_rowset *set, size_t place)
{
	size_t row = set->order[place], col;
	if (!set->rows.form.precomputed || row == SVM_NO_ROW)
		return row == SVM_NO_ROW ? 0 : svm_rows_self(&set->kernel, &set->rows, place);
	for (size_t k = 0; k < svm_batch_stored(set->x, row); k++) {
		double value = svm_batch_get(set->x, row, k, &col);
		if (col == row)
			return set->rows.form.wide ? value : (double)(float)value;
	}
	return 0;
}
