/* local.h: the dual problem of one working set, small enough to stay in the second cache.
 *
 * f is in float32 relative to the middle of its group's gap, so that its rounding shrinks with the gap; the steps (alpha) are in double. */
#ifndef MMQ_ENGINE_SVM_LOCAL_H
#define MMQ_ENGINE_SVM_LOCAL_H

#include <stddef.h>
#include <stdint.h>

struct svm_local {
	size_t stride;         /* slots, rounded up to 8 */
	size_t split;          /* multiple of 8: steps stay within the slots below it or from it on; stride: one group */
	float *kernel;         /* (stride, stride) kernel values between the members; unused rows and columns are 0 */
	float *self;           /* (stride) K(i, i) */
	float *f;              /* (stride) */
	float *block_up;       /* (stride) 0: y a may grow, else +inf; unused members: +inf */
	float *block_low;      /* (stride) 0: y a may fall, else -inf; unused members: -inf */
	double *room_up, *room_low;  /* (stride) how far y a may move */
	double *moved;         /* (stride) how far it has moved, from 0 */
};

/* Steps until the local gap (of each group) is below tol or after iterations_max; returns how many. */
int64_t svm_local_solve(struct svm_local *local, double tol, int64_t iterations_max);

void svm_local_init(struct svm_local *local, size_t size_max);
void svm_local_fini(struct svm_local *local);

#endif
