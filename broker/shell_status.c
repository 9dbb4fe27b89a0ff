/* shell_status.c: the answer to `status`: the core's numbers and the shell's own, in one map. */
#include <string.h>

#include "broker/shell.h"
#include "mpack/writer.h"

static void
put_text(struct mmq_buf *out, const char *key, const char *text)
{
	mmq_put_str(out, key);
	mmq_put_str(out, text);
}

static void
put_number(struct mmq_buf *out, const char *key, uint64_t value)
{
	mmq_put_str(out, key);
	mmq_put_uint(out, value);
}

static void
put_workers(struct shell *shell, struct mmq_buf *out)
{
	struct mmq_core_worker_status worker;
	size_t place;
	uint32_t count = 0;

	mmq_put_str(out, "workers");
	place = mmq_put_array_begin(out);
	while (mmq_core_worker(shell->core, count, &worker)) {
		mmq_put_map(out, 10);
		put_text(out, "kind", mmq_worker_kind_name(worker.kind));
		put_text(out, "name", worker.name);
		put_text(out, "build", worker.build);
		put_text(out, "state", worker.state);
		put_number(out, "pid", worker.pid);
		put_number(out, "held", worker.held);
		put_number(out, "rows", worker.rows);
		put_number(out, "items", worker.items);
		put_number(out, "bytes", worker.usage.bytes);
		put_number(out, "entries", worker.usage.entries);
		count++;
	}
	mmq_put_array_end(out, place, count);
}

/* Crashes by worker, strikes by version; versions of other tenants are not shown. */
static void
put_crashes(struct shell *shell, struct mmq_buf *out, const char *tenant)
{
	const struct mmq_core_crash *crash;
	struct mmq_core_bad_version bad;
	struct mmq_core_bad_cursor cursor = { 0 };
	uint32_t count = 0;
	size_t place;

	mmq_put_str(out, "crashes");
	mmq_put_map(out, 2);
	mmq_put_str(out, "workers");
	place = mmq_put_array_begin(out);
	for (; (crash = mmq_core_crash(shell->core, count)) != NULL; count++) {
		mmq_put_map(out, 4);
		put_text(out, "name", crash->name);
		put_text(out, "kind", mmq_worker_kind_name(crash->kind));
		put_number(out, "crashes", crash->crashes);
		put_number(out, "ago_ms", (uint64_t)(shell->now_us - crash->last_us) / 1000);
	}
	mmq_put_array_end(out, place, count);
	mmq_put_str(out, "versions");
	place = mmq_put_array_begin(out);
	for (count = 0; mmq_core_bad_version(shell->core, &cursor, &bad);) {
		if (strcmp(bad.tenant, tenant) != 0)
			continue;
		mmq_put_map(out, 4);
		put_text(out, "model", bad.model);
		put_number(out, "version", bad.version);
		put_number(out, "strikes", bad.strikes);
		mmq_put_str(out, "disabled");
		mmq_put_bool(out, bad.is_disabled);
		count++;
	}
	mmq_put_array_end(out, place, count);
}

static void
put_counters(struct shell *shell, struct mmq_buf *out, const struct mmq_core_status *status)
{
	const struct { const char *name; uint64_t value; } counters[] = {
#define X(name) { #name, status->counters.name },
		MMQ_CORE_COUNTERS(X)
#undef X
		{ "bad_frames", shell->counters.bad_frames }, { "bad_work", shell->counters.bad_work }, { "denied", shell->counters.denied + shell->zap.denied },
		{ "sink_sent", shell->sink.published }, { "sink_dropped", shell->sink.dropped }, { "sink_refused", shell->sink.refused },
		{ "sink_references", shell->counters.sink_references }, { "answers_unroutable", shell->clients.lost_gone },
		{ "answers_over_budget", shell->clients.lost_full }, { "answers_too_late", shell->clients.lost_late },
		{ "outbox_bytes", shell->clients.mail_bytes }, { "connections", shell->clients.used },
	};
	size_t count = sizeof counters / sizeof *counters;

	mmq_put_str(out, "counters");
	mmq_put_map(out, count);
	for (size_t i = 0; i < count; i++)
		put_number(out, counters[i].name, counters[i].value);
}

void
mmq_shell_put_status(struct shell *shell, struct mmq_buf *out, const struct mmq_head *head, const char *tenant)
{
	const struct mmq_core_limits *limits = mmq_core_limits(shell->core);
	struct mmq_core_status status;
	char journal[MMQ_JOB_ID_CHARS + 1];
	size_t reasons = 0;

	mmq_core_status(shell->core, &status);
	while (reasons < 8 && status.reasons[reasons] != NULL)
		reasons++;
	mmq_reply_begin(out, head, 12);
	put_text(out, "version", MMQ_VERSION);
	put_number(out, "protocol", MMQ_PROTOCOL_VERSION);
	mmq_put_str(out, "run");
	mmq_put_bin(out, shell->run, sizeof shell->run);
	put_number(out, "uptime_ms", (uint64_t)((shell->now_us - shell->started_us) / 1000));
	put_text(out, "health", status.health);
	mmq_put_str(out, "reasons");
	mmq_put_array(out, reasons);
	for (size_t i = 0; i < reasons; i++)
		mmq_put_str(out, status.reasons[i]);
	put_workers(shell, out);
	mmq_put_str(out, "queue");
	mmq_put_map(out, 4);
	put_number(out, "waiting", status.waiting);
	put_number(out, "leased", status.leased);
	put_number(out, "durable", status.durable);
	put_number(out, "bytes", status.bytes);
	mmq_put_str(out, "journal");
	mmq_put_map(out, 5);
	put_text(out, "kind", shell->ops == NULL ? "none" : shell->ops->name);
	put_text(out, "state", status.stopped ? "broken" : status.recovering ? "recovering" : "ok");
	put_number(out, "backlog", status.journal_inflight);
	put_number(out, "damaged", shell->journal == NULL ? 0 : shell->ops->damaged(shell->journal));
	mmq_job_id_format(shell->info.id, journal);
	put_text(out, "id", journal);
	put_crashes(shell, out, tenant);
	put_counters(shell, out, &status);
	mmq_put_str(out, "limits");
	mmq_put_map(out, 15);
	put_number(out, "requests_max", limits->requests_max);
	put_number(out, "bytes_max", limits->bytes_max);
	put_number(out, "requests_tenant_max", limits->requests_tenant_max);
	put_number(out, "bytes_tenant_max", limits->bytes_tenant_max);
	put_number(out, "requests_client_max", limits->requests_client_max);
	put_number(out, "bytes_client_max", limits->bytes_client_max);
	put_number(out, "requests_model_max", limits->requests_model_max);
	put_number(out, "bytes_model_max", limits->bytes_model_max);
	put_number(out, "requests_priority_max", limits->requests_priority_max);
	put_number(out, "bytes_priority_max", limits->bytes_priority_max);
	put_number(out, "durable_max", limits->durable_max);
	put_number(out, "message_bytes_max", (uint64_t)shell->options.message_bytes_max);
	put_number(out, "workers_max", limits->workers_max);
	put_number(out, "lease_ms", limits->lease_ms);
	put_number(out, "strikes_max", limits->strikes_max);
}
