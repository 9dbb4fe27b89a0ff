/* catalogue.c: which models, versions and aliases the store holds, as workers report it. A request's alias becomes a version here, once.
 *
 * Trainers and store workers change the store, so that their word counts; predictors are listened to only while none of those was
 * ever there. A report with an older generation of aliases does not turn back a newer one. */
#include "broker/core_inner.h"

#include <stdlib.h>

static uint64_t
model_hash(const struct mmq_core *core, const char *tenant, const char *name, size_t name_size)
{
	return core_hash(core, mmq_hash64(tenant, strlen(tenant)) + 5, name, name_size);
}

struct core_model *
core_model_find(const struct mmq_core *core, const char *tenant, const char *name, size_t name_size)
{
	uint64_t hash = model_hash(core, tenant, name, name_size);
	size_t cursor = SIZE_MAX;
	struct core_model *model;

	while ((model = core_table_find(&core->models, hash, &cursor)) != NULL)
		if (strlen(model->name) == name_size && memcmp(model->name, name, name_size) == 0 && strcmp(model->tenant, tenant) == 0)
			return model;
	return NULL;
}

static void
model_free(struct core_model *model)
{
	free(model->versions);
	free(model->aliases);
	free(model->bad);
	free(model);
}

static void
model_forget(struct mmq_core *core, struct core_model *model)
{
	core_table_remove(&core->models, model->hash, model);
	core->models_count--;
	model_free(model);
}

static struct core_model *
model_get(struct mmq_core *core, const char *tenant, const char *name)
{
	struct core_model *model = core_model_find(core, tenant, name, strlen(name));

	if (model != NULL)
		return model;
	if (core->models_count >= core->limits.models_max || strlen(tenant) >= sizeof model->tenant || strlen(name) >= sizeof model->name)
		return NULL;
	model = mmq_alloc(sizeof *model);
	memcpy(model->tenant, tenant, strlen(tenant) + 1);
	memcpy(model->name, name, strlen(name) + 1);
	model->hash = model_hash(core, tenant, name, strlen(name));
	core_table_put(&core->models, model->hash, model);
	core->models_count++;
	return model;
}

static bool
has_version(const struct core_model *model, uint32_t version)
{
	size_t low = 0, high = model->versions_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (model->versions[middle] < version)
			low = middle + 1;
		else
			high = middle;
	}
	return low < model->versions_count && model->versions[low] == version;
}

static const struct core_alias *
alias_find(const struct core_model *model, const char *name, size_t size)
{
	for (size_t i = 0; i < model->aliases_count; i++)
		if (strlen(model->aliases[i].name) == size && memcmp(model->aliases[i].name, name, size) == 0)
			return &model->aliases[i];
	return NULL;
}

static uint32_t
alias_version(const struct core_model *model, const char *name, size_t size)
{
	const struct core_alias *alias = alias_find(model, name, size);

	return alias == NULL ? 0 : alias->version;
}

static void
model_publish(struct mmq_core *core, const struct core_model *model, const char *event, uint32_t version, const char *alias)
{
	char topic[MMQ_JOURNAL_TOPIC];
	struct core_tenant *tenant = core_tenant_get(core, model->tenant);
	struct mmq_core_publish *publish;

	snprintf(topic, sizeof topic, "model/%s/%s", model->tenant, model->name);
	publish = tenant == NULL ? NULL : core_publish(core, tenant, MMQ_PUBLISH_MODEL, topic, false);
	if (publish == NULL)
		return;
	publish->event = event;
	publish->model = mmq_arena_strndup(&core->scratch, model->name, strlen(model->name));
	publish->version = version;
	publish->generation = model->generation;
	publish->alias = alias == NULL ? NULL : mmq_arena_strndup(&core->scratch, alias, strlen(alias));
}

void
core_load_everywhere(struct mmq_core *core, const char *tenant, const char *model, uint32_t version)
{
	struct core_node *at;

	for (at = core->workers.next; at != &core->workers; at = at->next) {
		struct core_worker *worker = OF(struct core_worker, node, at);
		struct mmq_core_action *action;
		if (worker->kind != MMQ_WORKER_PREDICTOR)
			continue;
		action = core_act(core, MMQ_DO_LOAD);
		action->route = worker->route;
		action->load.tenant = mmq_arena_strndup(&core->scratch, tenant, strlen(tenant));
		action->load.model = mmq_arena_strndup(&core->scratch, model, strlen(model));
		action->load.version = version;
	}
}

static void
versions_set(struct mmq_core *core, struct core_model *model, const struct mmq_work_model *report, bool tell)
{
	struct core_model old = *model;

	model->versions = mmq_array(report->versions_count, sizeof *model->versions);
	model->versions_count = report->versions_count;
	memcpy(model->versions, report->versions, report->versions_count * sizeof *model->versions);
	for (size_t i = 0; tell && i < model->versions_count; i++)
		if (!has_version(&old, model->versions[i]))
			model_publish(core, model, "published", model->versions[i], NULL);
	for (size_t i = 0; tell && i < old.versions_count; i++)
		if (!has_version(model, old.versions[i]))
			model_publish(core, model, "deleted", old.versions[i], NULL);
	free(old.versions);
}

/* What an alias pointed at before is what it falls back to. */
static void
past_keep(struct core_alias *alias, const struct core_model *old)
{
	for (size_t i = 0; i < old->aliases_count; i++) {
		const struct core_alias *was = &old->aliases[i];
		if (strcmp(was->name, alias->name) != 0)
			continue;
		memcpy(alias->past, was->past, sizeof alias->past);
		if (was->version == alias->version)
			return;
		memmove(alias->past + 1, alias->past, (ALIAS_PAST - 1) * sizeof *alias->past);
		alias->past[0] = was->version;
	}
}

static void
aliases_set(struct mmq_core *core, struct core_model *model, const struct mmq_work_model *report, bool tell)
{
	struct core_model old = *model;

	model->generation = report->generation;
	model->aliases = mmq_array(report->aliases_count, sizeof *model->aliases);
	model->aliases_count = 0;
	for (size_t i = 0; i < report->aliases_count; i++) {
		const struct mmq_work_alias *alias = &report->aliases[i];
		struct core_alias *kept = &model->aliases[model->aliases_count];
		if (strlen(alias->name) >= sizeof kept->name)
			continue;
		memcpy(kept->name, alias->name, strlen(alias->name) + 1);
		kept->version = alias->version;
		past_keep(kept, &old);
		model->aliases_count++;
		if (!tell || alias_version(&old, alias->name, strlen(alias->name)) == alias->version)
			continue;
		model_publish(core, model, "alias", alias->version, alias->name);
		core_load_everywhere(core, model->tenant, model->name, alias->version);
	}
	free(old.aliases);
}

/* Everything that a full report did not name is gone. */
static void
unnamed_forget(struct mmq_core *core, bool tell)
{
	size_t i = 0;

	while (core->models.slots != NULL && i <= core->models.mask) {
		struct core_model *model = core->models.slots[i].value;
		if (model == NULL || model->mark == core->model_mark) {
			i++;
			continue;
		}
		if (tell)
			model_publish(core, model, "deleted", 0, NULL);
		model_forget(core, model); /* another one may have moved into this slot: look at it again */
	}
}

void
core_on_catalogue(struct mmq_core *core, const struct mmq_core_event *event)
{
	struct core_worker *worker = core_worker_of(core, event->route);
	bool tell = core->has_catalogue, is_store;

	if (worker == NULL) {
		core_act(core, MMQ_DO_WHO)->route = event->route;
		return;
	}
	is_store = worker->kind != MMQ_WORKER_PREDICTOR;
	core_worker_hear(core, worker);
	if (!is_store && core->store_catalogue)
		return;
	core->has_catalogue = true;
	core->store_catalogue |= is_store;
	core->model_mark++;
	for (size_t i = 0; i < event->catalogue.count; i++) {
		const struct mmq_work_model *report = &event->catalogue.models[i];
		struct core_model *model = report->versions_count == 0 ? NULL : model_get(core, report->tenant, report->name);
		if (report->versions_count == 0 && (model = core_model_find(core, report->tenant, report->name, strlen(report->name))) != NULL) {
			if (tell)
				model_publish(core, model, "deleted", 0, NULL);
			model_forget(core, model);
			continue;
		}
		if (model == NULL)
			continue;
		model->mark = core->model_mark;
		versions_set(core, model, report, tell);
		if (report->generation >= model->generation)
			aliases_set(core, model, report, tell);
	}
	if (event->catalogue.full)
		unnamed_forget(core, tell);
}

void
core_version_add(struct mmq_core *core, const struct core_request *request, uint32_t version)
{
	struct core_model *model = model_get(core, request->lane->tenant->name, request->lane->model);
	size_t at;

	if (model == NULL || has_version(model, version))
		return;
	model->versions = mmq_grow(model->versions, model->versions_count + 1, sizeof *model->versions);
	for (at = model->versions_count; at > 0 && model->versions[at - 1] > version; at--)
		model->versions[at] = model->versions[at - 1];
	model->versions[at] = version;
	model->versions_count++;
}

static struct core_bad_version *
bad_find(const struct core_model *model, uint32_t version)
{
	for (size_t i = 0; i < model->bad_count; i++)
		if (model->bad[i].version == version)
			return &model->bad[i];
	return NULL;
}

static bool
is_disabled(const struct mmq_core *core, const struct core_model *model, uint32_t version)
{
	const struct core_bad_version *bad = bad_find(model, version);

	return bad != NULL && bad->strikes >= core->limits.version_strikes_max;
}

bool
core_version_is_disabled(const struct mmq_core *core, const char *tenant, const char *name, uint32_t version)
{
	const struct core_model *model = core_model_find(core, tenant, name, strlen(name));

	return model != NULL && is_disabled(core, model, version);
}

/* What an alias means now: its version; if that is disabled the newest of its former ones, else the next lower version, that is not. 0: none. */
static uint32_t
alias_effective(const struct mmq_core *core, const struct core_model *model, const struct core_alias *alias)
{
	if (core->disabled_count == 0 || !is_disabled(core, model, alias->version))
		return alias->version;
	for (int i = 0; i < ALIAS_PAST; i++)
		if (alias->past[i] != 0 && has_version(model, alias->past[i]) && !is_disabled(core, model, alias->past[i]))
			return alias->past[i];
	for (size_t i = model->versions_count; i > 0; i--)
		if (model->versions[i - 1] < alias->version && !is_disabled(core, model, model->versions[i - 1]))
			return model->versions[i - 1];
	return 0;
}

/* A version that ends its workers is disabled: who asks for it by number is refused, aliases on it fall back, other versions and models go on. */
void
core_version_strike(struct mmq_core *core, const char *tenant, const char *name, uint32_t version)
{
	struct core_model *model = core_model_find(core, tenant, name, strlen(name));
	struct core_bad_version *bad;

	if (model == NULL)
		return;
	bad = bad_find(model, version);
	if (bad == NULL) {
		model->bad = mmq_grow(model->bad, model->bad_count + 1, sizeof *model->bad);
		bad = &model->bad[model->bad_count++];
		*bad = (struct core_bad_version){ version, 0 };
	}
	if (++bad->strikes != core->limits.version_strikes_max)
		return;
	CORE_COUNT(core, versions_disabled);
	core_audit(core, "version_disabled", model->tenant, model->name, version);
	core->disabled_count++;
	model_publish(core, model, "disabled", version, NULL);
	for (size_t i = 0; i < model->aliases_count; i++) {
		uint32_t now = alias_effective(core, model, &model->aliases[i]);
		if (model->aliases[i].version != version || now == 0)
			continue;
		core_audit(core, "alias_fell_back", model->tenant, model->name, now);
		model_publish(core, model, "alias", now, model->aliases[i].name);
	}
	core_queue_end_version(core, model->tenant, model->name, version);
}

int
core_resolve(struct mmq_core *core, const char *tenant, const struct mmq_head *head, uint32_t *version_out, struct mmq_err *err)
{
	const char *alias = head->alias.at == NULL ? "production" : head->alias.at;
	size_t alias_size = head->alias.at == NULL ? strlen(alias) : head->alias.size;
	const struct core_model *model;
	const struct core_alias *found;
	int name_size = (int)head->model.size;

	if (!core->has_catalogue) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "no worker has connected yet, so that no model is known");
		err->retry_after_ms = 500;
		return -1;
	}
	model = core_model_find(core, tenant, head->model.at, head->model.size);
	if (model == NULL)
		core_foreign_model(core, tenant, head->model.at, head->model.size);
	if (model == NULL)
		return mmq_err_value(err, MMQ_NOT_FOUND, "model", "the name of a model in the store", "%.*s", name_size, head->model.at);
	if (head->version > 0) {
		if (head->version > UINT32_MAX || !has_version(model, (uint32_t)head->version))
			return mmq_err_value(err, MMQ_NOT_FOUND, "version", "a version that the model has", "%lld", (long long)head->version);
		*version_out = (uint32_t)head->version;
	} else {
		found = alias_find(model, alias, alias_size);
		if (found == NULL)
			return mmq_err_value(err, MMQ_NOT_FOUND, "version", "an alias that the model has", "%.*s", (int)alias_size, alias);
		*version_out = alias_effective(core, model, found);
		if (*version_out == 0)
			*version_out = found->version;
	}
	if (core->disabled_count > 0 && is_disabled(core, model, *version_out))
		return mmq_err_set(err, MMQ_DATA_LOSS, "version %u of %.*s is disabled: it ended its workers or its file is damaged", *version_out,
		    name_size, head->model.at);
	return 0;
}

void
core_catalogue_fini(struct mmq_core *core)
{
	for (size_t i = 0; core->models.slots != NULL && i <= core->models.mask; i++)
		if (core->models.slots[i].value != NULL)
			model_free(core->models.slots[i].value);
}
