/* catalogue.c: what the broker is told of the store, so that it can resolve aliases and refuse unknown models at once. */
#include <stdlib.h>
#include <string.h>

#include "trainer/trainer.h"
#include "util/mem.h"

/* Models collected for one report, with everything they point to. */
struct listing {
	struct mmq_store *store;
	struct mmq_work_model *models;
	size_t count, capacity;
	struct mmq_arena arena;
};

static int
add_model(void *arg, const char *tenant, const char *name, struct mmq_err *err)
{
	struct listing *listing = arg;
	struct mmq_store_aliases *aliases = mmq_alloc(sizeof(*aliases));
	uint32_t *versions = NULL;
	size_t versions_count = 0;
	int result = -1;

	if (mmq_store_versions(listing->store, tenant, name, &versions, &versions_count, err) == -1 ||
	    mmq_store_aliases(listing->store, tenant, name, aliases, err) == -1)
		goto out;
	if (listing->count == listing->capacity) {
		listing->capacity = listing->capacity * 2 + 16;
		listing->models = mmq_grow(listing->models, listing->capacity, sizeof(*listing->models));
	}
	uint32_t *kept = mmq_arena_get(&listing->arena, versions_count * sizeof(*kept));
	struct mmq_work_alias *list = mmq_arena_get(&listing->arena, aliases->count * sizeof(*list));
	if (versions_count > 0)
		memcpy(kept, versions, versions_count * sizeof(*kept));
	for (size_t i = 0; i < aliases->count; i++)
		list[i] = (struct mmq_work_alias){ mmq_arena_strndup(&listing->arena, aliases->items[i].name, strlen(aliases->items[i].name)),
			aliases->items[i].version };
	listing->models[listing->count++] = (struct mmq_work_model){
		.tenant = mmq_arena_strndup(&listing->arena, tenant, strlen(tenant)), .name = mmq_arena_strndup(&listing->arena, name, strlen(name)),
		.versions = kept, .versions_count = versions_count, .aliases = list, .aliases_count = aliases->count, .generation = aliases->generation };
	result = 0;
out:
	free(versions);
	free(aliases);
	return result;
}

static void
report(struct mmq_trainer *self, const char *tenant, const char *model)
{
	struct listing listing = { .store = self->store };
	struct mmq_err err;

	mmq_arena_init(&listing.arena);
	int result = model != NULL ? add_model(&listing, tenant, model, &err) : mmq_store_visit(self->store, add_model, &listing, &err);
	if (result == -1)
		mmq_log(MMQ_LOG_ERROR, "catalogue", "code=%s error=\"%s\"", mmq_code_name(err.code), err.message);
	else
		mmq_worker_catalogue(self->worker, listing.models, listing.count, model == NULL);
	free(listing.models);
	mmq_arena_fini(&listing.arena);
}

void
mmq_catalogue_report(struct mmq_trainer *self)
{
	report(self, NULL, NULL);
}

void
mmq_catalogue_report_model(struct mmq_trainer *self, const char *tenant, const char *model)
{
	report(self, tenant, model);
}
