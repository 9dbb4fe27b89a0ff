/* job_publish.c: from a fitted model in memory to a version that is complete or absent, and the alias that points at it.
 *
 * The version's number comes from the broker, which journals it for the job: a second attempt after a crash gets the same number, and
 * finds its own version there if the first one came that far. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json.h"
#include "trainer/job_inner.h"
#include "util/mem.h"

enum { CARD_BYTES_MAX = 32 << 20, TRIES_MAX = 16 };

static int
write_model(void *arg, int fd, struct mmq_err *err)
{
	const struct mmq_job *job = arg;
	return mmq_model_save(job->model, fd, err);
}

static int
publish_as(struct mmq_job *job, uint32_t version, struct mmq_err *err)
{
	struct mmq_buf packed, card;
	bool was_there;
	int result = -1;

	job->version = version;
	mmq_buf_init(&packed, CARD_BYTES_MAX);
	mmq_buf_init(&card, CARD_BYTES_MAX);
	if (job->converter != NULL)
		mmq_job_put_import_card(job, &packed);
	else
		mmq_job_put_card(job, &packed);
	if (packed.failed) {
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "the model card is larger than %d bytes", CARD_BYTES_MAX);
	} else if (mmq_json_encode(packed.bytes, packed.size, &card, err) == 0) {
		const struct mmq_publish publish = { .tenant = job->item->tenant, .model = job->item->model, .job = job->id,
			.fence = job->item->lease.delivery, .version = version, .write_model = write_model, .arg = job, .card = card.bytes,
			.card_bytes = card.size };
		result = mmq_store_publish(job->options.store, &publish, &was_there, err);
	}
	mmq_buf_fini(&packed);
	mmq_buf_fini(&card);
	if (result == -1)
		job->version = 0;
	return result;
}

/* A number that another job has already (a journal from a backup) is no error: ask for one above it. */
static int
ask_and_publish(struct mmq_job *job, struct mmq_err *err)
{
	uint32_t above = 0, version;

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		if (mmq_job_ask(job, MMQ_GRANT_VERSION, above, &version, err) == -1)
			return -1;
		if (publish_as(job, version, err) == 0)
			return 0;
		if (err->code != MMQ_ALREADY_EXISTS)
			return -1;
		above = version;
	}
	return -1;
}

static int
point_alias(struct mmq_job *job, struct mmq_err *err)
{
	struct mmq_store_aliases *aliases = mmq_alloc(sizeof(*aliases));
	uint32_t above = 0, generation;
	int result = -1;

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		if (mmq_store_aliases(job->options.store, job->item->tenant, job->item->model, aliases, err) == -1)
			break;
		/* Two trainers may end out of order: an alias that a newer version has already is not moved back. */
		if (mmq_store_alias_version(aliases, job->alias) > job->version) {
			result = 0;
			break;
		}
		above = aliases->generation > above ? aliases->generation : above;
		if (mmq_job_ask(job, MMQ_GRANT_ALIAS, above, &generation, err) == -1)
			break;
		const struct mmq_alias_change change = { .tenant = job->item->tenant, .model = job->item->model, .name = job->alias,
			.version = job->version, .by = job->id, .expect = -1, .generation = generation };
		result = mmq_store_set_alias(job->options.store, &change, err);
		if (result == 0 || err->code != MMQ_ALREADY_EXISTS)
			break;
		above = generation;
	}
	free(aliases);
	return result;
}

int
mmq_job_publish_version(struct mmq_job *job, struct mmq_err *err)
{
	const struct mmq_text *alias = &job->request.alias;

	if (alias->at != NULL)
		snprintf(job->alias, sizeof(job->alias), "%.*s", (int)alias->size, alias->at);
	return ask_and_publish(job, err) == -1 || (job->alias[0] != '\0' && point_alias(job, err) == -1) ? -1 : 0;
}

int
mmq_job_publish(struct mmq_job *job, struct mmq_err *err)
{
	if (mmq_job_publish_version(job, err) == -1)
		return -1;
	mmq_job_put_result(job, &job->result);
	if (job->result.failed)
		return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "the result is larger than an answer may be");
	return 0;
}
