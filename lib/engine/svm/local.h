/* local.h: the dual problem of one working set, small enough to stay in the second cache.
 *
 * f is in float32 relative to the middle of the gap, so that its rounding shrinks with the gap; the steps (alpha) are in double. */
#ifndef MMQ_ENGINE_SVM_LOCAL_H
#define MMQ_ENGINE_SVM_LOCAL_H

#include <stddef.h>
#include <stdint.h>

struct svm_local {
	size_t size, stride;   /* variables, and rounded up to 8 */
	float *kernel;         /* (stride, stride) kernel values between the members; unused rows and columns are 0 */
	float *self;           /* (stride) K(i, i) */
	float *f;              /* (stride) */
	float *block_up;       /* (stride) 0: y a may grow, else +inf; unused members: +inf */
	float *block_low;      /* (stride) 0: y a may fall, else -inf; unused members: -inf */
	double *room_up, *room_low;  /* (size) how far y a may move */
	double *moved;         /* (size) how far it has moved, from 0 */
};

/* Steps until the local gap is below tol or after iterations_max; returns how many. */
int64_t svm_local_solve(struct svm_local *local, double tol, int64_t iterations_max);

void svm_local_init(struct svm_local *local, size_t size_max);
void svm_local_fini(struct svm_local *local);

#endif
