/* rowcache.h: kernel rows K(i, all rows), kept by least recent use within a byte budget. */
#ifndef MMQ_ENGINE_SVM_ROWCACHE_H
#define MMQ_ENGINE_SVM_ROWCACHE_H

#include "engine/svm/kernel.h"
#include "math/pool.h"

struct svm_rowcache;

/* Holds at least rows_min rows whatever the budget. */
struct svm_rowcache *svm_rowcache_new(const struct svm_kernel *kernel, const struct svm_rows *rows, size_t bytes_max, size_t rows_min,
    struct mmq_pool *pool);
void svm_rowcache_destroy(struct svm_rowcache **cache);
/* count <= rows_min rows at once (a row may be asked for twice), so that those that are missing share passes over the data.
 * rows_out (count): valid until the next call. */
void svm_rowcache_get(struct svm_rowcache *cache, const size_t *rows, size_t count, const float **rows_out);

#endif
