/* catalogue.c: what the broker is told of the store, so that it can resolve aliases and refuse unknown models at once. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trainer/trainer.h"
#include "util/mem.h"

/* Models collected for one report, with everything they point to. */
struct listing {
	struct mmq_store *store;
	struct mmq_work_model *models;
	size_t count, capacity;
	struct mmq_arena arena;
	struct mmq_work_usage usage;
};

/* Model files alone: cards are small beside them. */
static void
usage_add(struct listing *listing, const char *tenant, const char *name, const uint32_t *versions, size_t count)
{
	struct stat st;
	int fd;

	for (size_t i = 0; i < count; i++) {
		if (mmq_store_open_model(listing->store, tenant, name, versions[i], &fd, NULL) == -1)
			continue;
		if (fstat(fd, &st) == 0)
			listing->usage.bytes += (uint64_t)st.st_size;
		listing->usage.entries++;
		close(fd);
	}
}

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
	usage_add(listing, tenant, name, versions, versions_count);
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
	if (result == 0 && model == NULL)
		mmq_worker_usage(self->worker, &listing.usage);
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
