/* worst.h: the worst violators of one end of the order of f: a bounded heap whose root is the least violating of those kept. */
#ifndef MMQ_ENGINE_SVM_WORST_H
#define MMQ_ENGINE_SVM_WORST_H

#include <stddef.h>
#include <stdint.h>

struct svm_worst {
	double *key;         /* (max) larger violates more */
	uint32_t *variable;  /* (max) */
	size_t count, max;
};

/* The lower variable wins a tie. */
void svm_worst_offer(struct svm_worst *heap, double key, uint32_t variable);
/* Leaves the kept ones in order, the worst violator first. */
void svm_worst_sort(struct svm_worst *heap);

#endif
