/* rowcache.h: kernel rows K(i, all rows), kept by least recent use within a byte budget. */
#ifndef MMQ_ENGINE_SVM_ROWCACHE_H
#define MMQ_ENGINE_SVM_ROWCACHE_H

#include "engine/svm/kernel.h"
#include "math/pool.h"

struct svm_rowcache;

struct svm_rowcache *svm_rowcache_new(const struct svm_kernel *kernel, const struct svm_rows *rows, size_t bytes_max, struct mmq_pool *pool);
void svm_rowcache_destroy(struct svm_rowcache **cache);
/* Both rows at once, so that two that are missing share one pass over the data. Valid until the next call. */
void svm_rowcache_get_two(struct svm_rowcache *cache, size_t i, size_t j, const float **row_i_out, const float **row_j_out);
const float *svm_rowcache_get(struct svm_rowcache *cache, size_t i);

#endif
