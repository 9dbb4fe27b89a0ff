/* crashes.c: who crashed how often: workers by the name that outlives their processes, model versions by their strikes. Requests carry their
 * own strikes (lease.c). The number of names is bounded: past CRASH_NAMES_MAX the others share one. */
#include "broker/core_inner.h"

#include <stdlib.h>

enum { CRASH_NAMES_MAX = 256 };

static struct mmq_core_crash *
crash_find(struct mmq_core *core, enum mmq_worker_kind kind, const char *name)
{
	for (uint32_t i = 0; i < core->crashes_count; i++)
		if (core->crashes[i].kind == kind && strcmp(core->crashes[i].name, name) == 0)
			return &core->crashes[i];
	return NULL;
}

void
core_crash_count(struct mmq_core *core, const struct core_worker *worker)
{
	struct mmq_core_crash *crash = crash_find(core, worker->kind, worker->name);

	if (crash == NULL && core->crashes_count >= CRASH_NAMES_MAX)
		crash = crash_find(core, MMQ_WORKER_NONE, "other");
	if (crash == NULL) {
		bool is_full = core->crashes_count >= CRASH_NAMES_MAX;
		core->crashes = mmq_grow(core->crashes, core->crashes_count + 1, sizeof *core->crashes);
		crash = &core->crashes[core->crashes_count++];
		*crash = (struct mmq_core_crash){ .kind = is_full ? MMQ_WORKER_NONE : worker->kind };
		snprintf(crash->name, sizeof crash->name, "%s", is_full ? "other" : worker->name);
	}
	crash->crashes++;
	crash->last_us = core->now_us;
}

const struct mmq_core_crash *
mmq_core_crash(const struct mmq_core *core, uint32_t index)
{
	return index < core->crashes_count ? &core->crashes[index] : NULL;
}

/* The cursor runs over the slots of the table of models, then over the versions of one that have strikes. */
bool
mmq_core_bad_version(const struct mmq_core *core, struct mmq_core_bad_cursor *cursor, struct mmq_core_bad_version *bad_out)
{
	for (; core->models.slots != NULL && cursor->slot <= core->models.mask; cursor->slot++, cursor->at = 0) {
		const struct core_model *model = core->models.slots[cursor->slot].value;
		if (model == NULL || cursor->at >= model->bad_count)
			continue;
		const struct core_bad_version *bad = &model->bad[cursor->at++];
		*bad_out = (struct mmq_core_bad_version){ model->tenant, model->name, bad->version, bad->strikes,
			bad->strikes >= core->limits.version_strikes_max };
		return true;
	}
	return false;
}

void
core_crashes_fini(struct mmq_core *core)
{
	free(core->crashes);
}
