/* rowcache.h: kernel rows K(i, .) within a byte budget, cut into segments that are there or not on their own.
 *
 * Rows are in an order of their own ("places"): with several classes they are sorted by class and each class is a segment, so that all
 * pairs of classes share what is computed once: the values of a class with itself. Those between two classes are for one pair only. When the
 * first fit the budget beside the second of one pair for each thread (lane), nothing is given up before its time and several threads may use
 * the cache at once; else the least recently used segments go, and each thread needs a cache of its own. */
#ifndef MMQ_ENGINE_SVM_ROWCACHE_H
#define MMQ_ENGINE_SVM_ROWCACHE_H

#include "engine/svm/rowset.h"

struct svm_rowcache;

/* For pairs of segments that are solved in `lanes` threads. Keeps at least segments_min segments whatever the budget. Borrows set. */
struct svm_rowcache *svm_rowcache_new(const struct svm_rowset *set, size_t bytes_max, size_t segments_min, size_t lanes);
void svm_rowcache_destroy(struct svm_rowcache **cache);
bool svm_rowcache_is_shared(const struct svm_rowcache *cache);   /* gives nothing up: for any number of threads */
size_t svm_rowcache_room(const struct svm_rowcache *cache);      /* segments it holds at the same time */
const struct svm_rowset *svm_rowcache_set(const struct svm_rowcache *cache);

/* The pair of the lane is through: values between its two segments will not be asked for again. */
void svm_rowcache_forget(struct svm_rowcache *cache, size_t lane, size_t first, size_t second);

/* A cache of the rows place[0..count-1] (ascending; set: these rows) of a cache with one segment. It takes over the memory, and what the rows that
 * are there have in common with set; cache is empty from then on, and may be used again when the narrower one is destroyed. For one thread. */
struct svm_rowcache *svm_rowcache_narrow(struct svm_rowcache *cache, const struct svm_rowset *set, const size_t *place, size_t count);

/* One segment of count rows (places; one may be asked for twice; not padding), so that those that are missing share passes over the data.
 * rows_out[i * out_stride]: float, or double when wide; valid until as many further segments were asked for as there is room. */
void svm_rowcache_get(struct svm_rowcache *cache, struct svm_filler *filler, struct mmq_pool *pool, const size_t *places, size_t count,
    size_t segment, const void **rows_out, size_t out_stride);

#endif
