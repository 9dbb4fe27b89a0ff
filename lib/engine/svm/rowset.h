/* rowset.h: the rows of a training set in the order of the kernel rows, and the computing of many kernel rows together. */
#ifndef MMQ_ENGINE_SVM_ROWSET_H
#define MMQ_ENGINE_SVM_ROWSET_H

#include "engine/svm/rows.h"
#include "math/pool.h"

/* The rows of a training set as kernel products see them. */
struct svm_rowset {
	const struct mmq_batch *x;
	const uint32_t *order;        /* (rows.panels * SVM_PANEL) row of x at each place; SVM_NO_ROW: padding */
	struct svm_rows rows;
	struct svm_kernel kernel;
	size_t segments;
	const size_t *segment_start;  /* (segments + 1) first place, multiples of SVM_PANEL */
};

double svm_rowset_self(const struct svm_rowset *set, size_t place);   /* K(row, row) */

/* Kernel rows that are wanted, one per thread that asks: note where they go, then run. */
struct svm_filler {
	const struct svm_rowset *set;
	size_t lane;              /* of the cache that its thread uses */
	size_t rows_max, missing_count;
	void **missing;           /* (rows_max) where their values go */
	size_t *missing_place;    /* (rows_max) */
	size_t *waiting;          /* (rows_max) which of the rows asked for another thread is at work on */
	size_t block_queries, blocks_max, block_bytes;
	struct svm_queries *blocks;
	char *memory;
	size_t segment, stretch_panels, first, used;   /* of the pass that runs */
};

struct svm_filler *svm_filler_new(const struct svm_rowset *set, size_t rows_max, size_t lane);
void svm_filler_destroy(struct svm_filler **filler);
void svm_filler_run(struct svm_filler *filler, struct mmq_pool *pool, size_t segment);

#endif
