/* worst.c: a bounded heap of violators. */
#include "engine/svm/worst.h"

#include <stdbool.h>

static bool
is_before(const struct svm_worst *heap, size_t a, size_t b)
{
	return heap->key[a] < heap->key[b] || (heap->key[a] == heap->key[b] && heap->variable[a] > heap->variable[b]);
}

static void
heap_swap(struct svm_worst *heap, size_t a, size_t b)
{
	double key = heap->key[a];
	uint32_t variable = heap->variable[a];
	heap->key[a] = heap->key[b];
	heap->variable[a] = heap->variable[b];
	heap->key[b] = key;
	heap->variable[b] = variable;
}

static void
heap_sink(struct svm_worst *heap, size_t at)
{
	for (;;) {
		size_t least = at, child = 2 * at + 1;
		if (child < heap->count && is_before(heap, child, least))
			least = child;
		if (child + 1 < heap->count && is_before(heap, child + 1, least))
			least = child + 1;
		if (least == at)
			return;
		heap_swap(heap, at, least);
		at = least;
	}
}

void
svm_worst_offer(struct svm_worst *heap, double key, uint32_t variable)
{
	if (heap->count < heap->max) {
		size_t at = heap->count++;
		heap->key[at] = key;
		heap->variable[at] = variable;
		for (; at > 0 && is_before(heap, at, (at - 1) / 2); at = (at - 1) / 2)
			heap_swap(heap, at, (at - 1) / 2);
	} else if (key > heap->key[0]) {
		heap->key[0] = key;
		heap->variable[0] = variable;
		heap_sink(heap, 0);
	}
}

void
svm_worst_sort(struct svm_worst *heap)
{
	size_t count = heap->count;
	while (heap->count > 1) {
		heap->count--;
		heap_swap(heap, 0, heap->count);
		heap_sink(heap, 0);
	}
	heap->count = count;
}
