/* repeat.c: a durable request whose id is known already gets what the first one gets, whatever became of its model or of the workers.
 *
 * Ids in memory are looked up at acceptance and those of new requests by the journal's put. A request that could not be put, because
 * its model is unknown now, may still be the repetition of one that has ended: here the journal is asked before it is refused. */
#include "broker/core_inner.h"

#include <stdlib.h>

static void
another_request(struct mmq_err *err)
{
	mmq_err_value(err, MMQ_ALREADY_EXISTS, "id", "an id not used before, or the same request again", "an id of another request");
}

/* The id is known. The same request again waits with the first one, whoever sends it; another one is refused. */
void
core_accept_again(struct mmq_core *core, const struct mmq_core_request *in, struct core_request *request)
{
	struct core_waiter *waiter;
	struct mmq_core_job job;
	struct mmq_err err;

	if (memcmp(request->fingerprint, in->fingerprint, sizeof request->fingerprint) != 0) {
		another_request(&err);
		core_refuse(core, in, &err);
		return;
	}
	if (in->route == 0)
		return;
	waiter = core_waiter_get(core);
	if (waiter == NULL) {
		mmq_err_set(&err, MMQ_RESOURCE_EXHAUSTED, "too many clients wait (waiters_max)");
		err.retry_after_ms = core_retry_after_ms(core, core->waiting + core->leased);
		core_refuse(core, in, &err);
		return;
	}
	core_waiter_fill(waiter, in);
	if (waiter->acceptance && request->state != R_PUTTING) {
		core_request_job(request, &job);
		core_accepted(core, waiter, &job);
		core_waiter_put(core, waiter);
	} else {
		core_waiter_add(core, waiter, request->job, INT64_MAX);
	}
}

/* Takes the waiter, which has route 0 for a pushed request. err is the answer if the journal does not know the id. */
void
core_ask_journal(struct mmq_core *core, const struct mmq_core_request *in, struct core_waiter *waiter, const struct mmq_err *err)
{
	struct core_pending *pending;
	struct mmq_journal_read *read = core_read(core, MMQ_READ_FIND, P_AGAIN, &pending);
	struct core_again *again = mmq_alloc(sizeof *again);

	core_waiter_fill(waiter, in);
	memcpy(again->fingerprint, in->fingerprint, sizeof again->fingerprint);
	again->err = *err;
	snprintf(again->tenant, sizeof again->tenant, "%s", in->tenant);
	snprintf(again->model, sizeof again->model, "%.*s", (int)in->head->model.size, in->head->model.at == NULL ? "" : in->head->model.at);
	pending->waiter = waiter;
	pending->again = again;
	snprintf(read->row.tenant, sizeof read->row.tenant, "%s", in->tenant);
	memcpy(read->row.id, in->head->id.at, in->head->id.size);
	read->row.id_size = (uint8_t)in->head->id.size;
	read->row.id_is_binary = in->head->id_is_binary;
	read->with_answer = true;
}

/* What the journal knows of the id. */
void
core_on_again(struct mmq_core *core, struct core_pending *pending, struct mmq_journal_page *page)
{
	struct core_waiter *waiter = pending->waiter;
	struct core_again *again = pending->again;
	struct mmq_journal_row *row = page->status == MMQ_JOURNAL_OK && page->count > 0 ? &page->rows[0] : NULL;
	bool same = row != NULL && memcmp(row->fingerprint, again->fingerprint, sizeof again->fingerprint) == 0;

	if (page->status == MMQ_JOURNAL_BROKEN || page->status == MMQ_JOURNAL_DAMAGED)
		mmq_err_set(&again->err, page->status == MMQ_JOURNAL_BROKEN ? MMQ_UNAVAILABLE : MMQ_DATA_LOSS, "the journal could not be read");
	else if (row != NULL && !same)
		another_request(&again->err);
	if (!same)
		core_refuse_to(core, waiter, again->tenant, again->model, &again->err);
	else if (waiter->route != 0 && (row->result_seq != 0 || waiter->acceptance))
		core_answer_row(core, waiter, row);
	else if (waiter->route != 0)
		core_waiter_add(core, waiter, row->job, INT64_MAX);
	free(again);
	pending->again = NULL;
}
