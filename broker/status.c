/* status.c: what the core says about itself. Reading it changes nothing. */
#include "broker/core_inner.h"

void
mmq_core_status(const struct mmq_core *core, struct mmq_core_status *status_out)
{
	unsigned reasons = 0;
	bool is_ready;

	*status_out = core->status;
	status_out->waiting = core->waiting;
	status_out->leased = core->leased;
	status_out->durable = core->durable;
	status_out->bytes = core->bytes;
	status_out->journal_inflight = core->pendings.count;
	status_out->workers = core->workers_count;
	status_out->models = core->models_count;
	status_out->lanes = core->lanes_count;
	status_out->tenants = core->tenants_count;
	status_out->draining = core->draining;
	status_out->recovering = core->recovering || core->first_reads > 0;
	status_out->stopped = core->stopped;
	if (core->predictors_count == 0)
		status_out->reasons[reasons++] = "no predictor is connected";
	if (status_out->recovering)
		status_out->reasons[reasons++] = "the journal is being read";
	if (core->stopped)
		status_out->reasons[reasons++] = "the journal failed";
	if (core->draining)
		status_out->reasons[reasons++] = "the broker is shutting down";
	is_ready = reasons == 0;
	if (core->predictors_count == core->workers_count)
		status_out->reasons[reasons++] = "no trainer is connected";
	if (core->full_until_us > core->now_us)
		status_out->reasons[reasons++] = "the journal's disk is full";
	if (core->crashed_us[2] != 0 && core->crashed_us[2] > core->now_us - CRASHES_US)
		status_out->reasons[reasons++] = "workers keep crashing";
	if (core->disabled_count > 0)
		status_out->reasons[reasons++] = "a model version is disabled";
	status_out->health = reasons == 0 ? "ready" : is_ready ? "degraded" : "not ready";
}

uint64_t
mmq_core_bytes(const struct mmq_core *core)
{
	return core->bytes;
}

bool
mmq_core_worker(const struct mmq_core *core, uint32_t index, struct mmq_core_worker_status *worker_out)
{
	const struct core_node *at;
	const struct core_worker *worker;

	for (at = core->workers.next; at != &core->workers && index > 0; at = at->next)
		index--;
	if (at == &core->workers)
		return false;
	worker = OF(const struct core_worker, node, at);
	*worker_out = (struct mmq_core_worker_status){ .kind = worker->kind, .name = worker->name, .build = worker->build, .usage = worker->usage, .pid = worker->pid, .rows = worker->rows,
		.items = worker->items, .held = worker->held_all, .state = worker->draining ? "draining" :
		core_worker_is_silent(core, worker) ? "silent" : "ready" };
	memcpy(worker_out->window, worker->window, sizeof worker_out->window);
	return true;
}

const struct mmq_core_limits *
mmq_core_limits(const struct mmq_core *core)
{
	return &core->limits;
}

const char *
mmq_job_state_name(enum mmq_journal_state state)
{
	static const char *const names[MMQ_JOB_STATES] = { "queued", "running", "done", "failed", "cancelled" };

	return (unsigned)state < MMQ_JOB_STATES ? names[state] : "unknown";
}
