/* kept_part.h: a checkpoint as the trainer takes one: keeps a copy of the n-th part that a fit offers, and stops nothing. */
#ifndef TESTS_ENGINE_KEPT_PART_H
#define TESTS_ENGINE_KEPT_PART_H

#include "engine/engine.h"

struct kept_part {
	int64_t asked, at;     /* times; the time at which it is due */
	struct mmq_part part;  /* the test's to fini, when asked >= at */
};

static inline bool
kept_part_is_due(void *arg)
{
	struct kept_part *kept = arg;
	return ++kept->asked == kept->at;
}

static inline void
kept_part_write(void *arg, const struct mmq_part *part)
{
	struct kept_part *kept = arg;
	mmq_part_init(&kept->part, true);
	for (size_t i = 0; i < part->values_count; i++) {
		if (part->values[i].type == MMQ_V_INT)
			mmq_part_put_int(&kept->part, part->values[i].key, part->values[i].i);
		else
			mmq_part_put_double(&kept->part, part->values[i].key, part->values[i].f);
	}
	for (size_t i = 0; i < part->tensors_count; i++) {
		const struct mmq_tensor *tensor = &part->tensors[i];
		if (tensor->rank == 1)
			mmq_part_put_vector(&kept->part, tensor->name, tensor->dtype, tensor->shape[0], tensor->data);
		else
			mmq_part_put_matrix(&kept->part, tensor->name, tensor->dtype, tensor->shape[0], tensor->shape[1], tensor->data);
	}
}

#endif
