/* warm.c: a version is loaded before its alias points at it, so that no prediction waits for a file.
 *
 * A worker that is about to move an alias asks for the number of that change. The answer waits here until every predictor has said
 * LOADED, or WARM_US at most: a slow or dead predictor delays a switch, it does not stop it. One that finds the file damaged does. */
#include "broker/core_inner.h"

#include <stdlib.h>

static bool
lease_is(const struct mmq_lease *a, const struct mmq_lease *b)
{
	return a->delivery == b->delivery && memcmp(a->epoch, b->epoch, sizeof a->epoch) == 0;
}

bool
core_warm(struct mmq_core *core, uint64_t route, const struct core_lease *lease, uint32_t above)
{
	const struct core_request *request = lease->request;
	struct core_warming *warming;

	for (warming = core->warmings; warming != NULL; warming = warming->next)
		if (lease_is(&warming->lease, &lease->name)) { /* asked again while it waits */
			warming->above = above;
			return true;
		}
	if (request->warm_version == 0 || core->predictors_count == 0)
		return false;
	warming = mmq_alloc(sizeof *warming);
	*warming = (struct core_warming){ .timer.kind = TIMER_WARMING, .next = core->warmings, .route = route, .lease = lease->name, .above = above,
		.version = request->warm_version, .missing = core->predictors_count };
	memcpy(warming->tenant, request->lane->tenant->name, sizeof warming->tenant);
	memcpy(warming->model, request->lane->model, sizeof warming->model);
	core->warmings = warming;
	core_heap_set(&core->timers, &warming->timer, core->now_us + WARM_US);
	core_load_everywhere(core, warming->tenant, warming->model, warming->version);
	return true;
}

static void
warming_free(struct mmq_core *core, struct core_warming *warming)
{
	struct core_warming **at = &core->warmings;

	while (*at != warming)
		at = &(*at)->next;
	*at = warming->next;
	core_heap_remove(&core->timers, &warming->timer);
	free(warming);
}

/* Loaded everywhere, or waited long enough: the grant goes on if its lease is still held. */
void
core_warming_due(struct mmq_core *core, struct core_warming *warming)
{
	struct core_worker *worker = core_worker_of(core, warming->route);
	struct core_lease *lease = worker == NULL ? NULL : core_lease_find(core, worker, &warming->lease);

	if (lease != NULL && lease->request != NULL && warming->code != MMQ_OK)
		core_grant_refuse(core, warming->route, &warming->lease, MMQ_GRANT_ALIAS, warming->code, "a predictor found the version's file damaged: the alias stays where it is");
	else if (lease != NULL && lease->request != NULL)
		core_grant_write(core, lease, MMQ_GRANT_ALIAS, warming->above);
	warming_free(core, warming);
}

void
core_on_loaded(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_warming *warming, *next;

	if (event->loaded.code == MMQ_DATA_LOSS)
		core_version_strike(core, event->loaded.tenant, event->loaded.model, event->loaded.version);
	for (warming = core->warmings; warming != NULL; warming = next) {
		next = warming->next;
		if (warming->version != event->loaded.version || strcmp(warming->model, event->loaded.model) != 0 ||
		    strcmp(warming->tenant, event->loaded.tenant) != 0)
			continue;
		if (event->loaded.code == MMQ_DATA_LOSS)
			warming->code = MMQ_DATA_LOSS;
		if (--warming->missing == 0 || warming->code != MMQ_OK)
			core_warming_due(core, warming);
	}
}

void
core_warm_fini(struct mmq_core *core)
{
	while (core->warmings != NULL)
		warming_free(core, core->warmings);
}
