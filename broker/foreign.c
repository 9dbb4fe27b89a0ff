/* foreign.c: who names what belongs to another tenant is told that there is no such thing, as for any wrong name, and it is written down.
 * At most one line every FOREIGN_US, so that nobody can fill the log or make us look through all models; the counter counts what was found. */
#include "broker/core_inner.h"

enum { FOREIGN_US = 100000 };

static bool
is_time(struct mmq_core *core)
{
	if (core->foreign_us != 0 && core->now_us - core->foreign_us < FOREIGN_US)
		return false;
	core->foreign_us = core->now_us;
	return true;
}

static void
foreign_found(struct mmq_core *core, const char *tenant, const char *what, const char *text)
{
	CORE_COUNT(core, foreign);
	core_audit(core, what, mmq_arena_strndup(&core->scratch, tenant, strlen(tenant)), mmq_arena_strndup(&core->scratch, text, strlen(text)), 0);
}

void
core_foreign_job(struct mmq_core *core, const char *tenant, const uint8_t job[16])
{
	char text[33];

	if (!is_time(core))
		return;
	mmq_job_id_format(job, text);
	foreign_found(core, tenant, "foreign_job", text);
}

void
core_foreign_model(struct mmq_core *core, const char *tenant, const char *name, size_t size)
{
	if (!is_time(core))
		return;
	for (size_t i = 0; core->models.slots != NULL && i <= core->models.mask; i++) {
		const struct core_model *model = core->models.slots[i].value;
		if (model == NULL || strlen(model->name) != size || memcmp(model->name, name, size) != 0 || strcmp(model->tenant, tenant) == 0)
			continue;
		foreign_found(core, tenant, "foreign_model", model->name);
		return;
	}
}

/* A prefix of topics: kind, slash, whose, slash, more. */
void
core_foreign_topic(struct mmq_core *core, const char *tenant, const char *prefix, size_t size)
{
	const char *whose = memchr(prefix, '/', size), *end = whose == NULL ? NULL : memchr(whose + 1, '/', size - (size_t)(whose + 1 - prefix));
	size_t length = end == NULL ? 0 : (size_t)(end - whose - 1);
	char text[MMQ_JOURNAL_TEXT];

	if (length == 0 || length >= sizeof text || (strlen(tenant) == length && memcmp(whose + 1, tenant, length) == 0))
		return;
	snprintf(text, sizeof text, "%.*s", (int)length, whose + 1);
	if (strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length && is_time(core))
		foreign_found(core, tenant, "foreign_topic", text);
}
