/* shell_metrics.c: the numbers of core and shell as Prometheus reads them (text format 0.0.4). */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "broker/shell.h"

enum { TEXT_BYTES_MAX = 8 << 20, VERSIONS_MAX = 100 };

static void
gauge(struct mmq_buf *out, const char *name, const char *help, double value)
{
	mmq_buf_printf(out, "# HELP modelmq_%s %s\n# TYPE modelmq_%s gauge\nmodelmq_%s %.17g\n", name, help, name, name, value);
}

static void
counter(struct mmq_buf *out, const char *name, uint64_t value)
{
	mmq_buf_printf(out, "# TYPE modelmq_%s_total counter\nmodelmq_%s_total %llu\n", name, name, (unsigned long long)value);
}

/* labels: inside the braces, ending with a comma if there are any. */
static void
histogram(struct mmq_buf *out, const char *name, const char *labels, const struct mmq_core_histogram *of)
{
	uint64_t total = 0;

	for (int i = 0; i < MMQ_CORE_BUCKETS; i++) {
		total += of->counts[i];
		mmq_buf_printf(out, "modelmq_%s_bucket{%sle=\"%g\"} %llu\n", name, labels, (double)mmq_core_buckets_us[i] / 1e6, (unsigned long long)total);
	}
	total += of->counts[MMQ_CORE_BUCKETS];
	mmq_buf_printf(out, "modelmq_%s_bucket{%sle=\"+Inf\"} %llu\nmodelmq_%s_sum{%.*s} %.6f\nmodelmq_%s_count{%.*s} %llu\n", name, labels,
	    (unsigned long long)total, name, (int)strlen(labels) - (labels[0] != 0), labels, (double)of->sum_us / 1e6, name,
	    (int)strlen(labels) - (labels[0] != 0), labels, (unsigned long long)total);
}

/* Names of models and tenants are [a-z0-9._-]: nothing needs escaping. */
static void
labels_of(const struct mmq_core_metric *metric, char labels_out[256])
{
	snprintf(labels_out, 256, "op=\"%s\",tenant=\"%s\",model=\"%s\",", mmq_op_name((enum mmq_op)metric->op), metric->tenant, metric->model);
}

static void
put_metrics(struct shell *shell, struct mmq_buf *out)
{
	const struct mmq_core_metric *metric;
	char labels[256];

	mmq_buf_printf(out, "# HELP modelmq_outcomes_total Requests that ended, by code.\n# TYPE modelmq_outcomes_total counter\n");
	for (uint32_t i = 0; (metric = mmq_core_metric(shell->core, i)) != NULL; i++) {
		labels_of(metric, labels);
		for (int code = 0; code < MMQ_CODE_COUNT; code++)
			if (metric->codes[code] > 0)
				mmq_buf_printf(out, "modelmq_outcomes_total{%scode=\"%s\"} %llu\n", labels, mmq_code_name((enum mmq_code)code),
				    (unsigned long long)metric->codes[code]);
	}
	mmq_core_depths(shell->core);
	mmq_buf_printf(out, "# HELP modelmq_queue_depth Requests in memory that wait.\n# TYPE modelmq_queue_depth gauge\n");
	for (uint32_t i = 0; (metric = mmq_core_metric(shell->core, i)) != NULL; i++) {
		labels_of(metric, labels);
		mmq_buf_printf(out, "modelmq_queue_depth{%.*s} %llu\n", (int)strlen(labels) - 1, labels, (unsigned long long)metric->depth);
	}
	mmq_buf_printf(out, "# HELP modelmq_queue_seconds Time from acceptance to a worker.\n# TYPE modelmq_queue_seconds histogram\n");
	for (uint32_t i = 0; (metric = mmq_core_metric(shell->core, i)) != NULL; i++) {
		labels_of(metric, labels);
		histogram(out, "queue_seconds", labels, &metric->queue);
	}
	mmq_buf_printf(out, "# HELP modelmq_service_seconds Time at the worker, as it says.\n# TYPE modelmq_service_seconds histogram\n");
	for (uint32_t i = 0; (metric = mmq_core_metric(shell->core, i)) != NULL; i++) {
		labels_of(metric, labels);
		histogram(out, "service_seconds", labels, &metric->service);
	}
}

/* Every predictor has its own cache; trainers speak of one store, so the newest number is as good as any: the largest is taken. */
static void
put_workers(struct shell *shell, struct mmq_buf *out)
{
	unsigned counts[MMQ_WORKER_KINDS] = { 0 };
	struct mmq_work_usage cache = { 0 }, store = { 0 };
	struct mmq_core_worker_status worker;

	for (uint32_t i = 0; mmq_core_worker(shell->core, i, &worker); i++) {
		counts[worker.kind]++;
		if (worker.kind == MMQ_WORKER_PREDICTOR) {
			cache.bytes += worker.usage.bytes;
			cache.entries += worker.usage.entries;
		} else if (worker.usage.bytes > store.bytes) {
			store = worker.usage;
		}
	}
	mmq_buf_printf(out, "# HELP modelmq_workers Connected workers.\n# TYPE modelmq_workers gauge\n");
	for (int kind = MMQ_WORKER_NONE + 1; kind < MMQ_WORKER_KINDS; kind++)
		mmq_buf_printf(out, "modelmq_workers{kind=\"%s\"} %u\n", mmq_worker_kind_name((enum mmq_worker_kind)kind), counts[kind]);
	gauge(out, "cache_bytes", "Model files mapped by predictors, each counted as often as it is mapped.", (double)cache.bytes);
	gauge(out, "cache_models", "Versions in the caches of predictors.", cache.entries);
	gauge(out, "store_bytes", "Model files in the store.", (double)store.bytes);
	gauge(out, "store_versions", "Versions in the store.", store.entries);
}

static void
put_crashes(struct shell *shell, struct mmq_buf *out)
{
	const struct mmq_core_crash *crash;
	struct mmq_core_bad_version bad;
	struct mmq_core_bad_cursor cursor = { 0 };

	mmq_buf_printf(out, "# HELP modelmq_worker_crashes_total Crashes by the name of the worker.\n# TYPE modelmq_worker_crashes_total counter\n");
	for (uint32_t i = 0; (crash = mmq_core_crash(shell->core, i)) != NULL; i++)
		mmq_buf_printf(out, "modelmq_worker_crashes_total{worker=\"%s\",kind=\"%s\"} %llu\n", crash->name, mmq_worker_kind_name(crash->kind),
		    (unsigned long long)crash->crashes);
	mmq_buf_printf(out, "# HELP modelmq_version_strikes Requests that ended a worker alone, by version.\n# TYPE modelmq_version_strikes gauge\n");
	for (int i = 0; i < VERSIONS_MAX && mmq_core_bad_version(shell->core, &cursor, &bad); i++)
		mmq_buf_printf(out, "modelmq_version_strikes{tenant=\"%s\",model=\"%s\",version=\"%u\"} %u\n", bad.tenant, bad.model, bad.version, bad.strikes);
}

/* What the journal takes on the disk, its log included. */
static double
journal_bytes(const struct shell *shell)
{
	static const char *const names[] = { "journal.db", "journal.db-wal" };
	char path[4200];
	struct stat st;
	double bytes = 0;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", shell->home.path, names[i]);
		bytes += stat(path, &st) == 0 ? (double)st.st_size : 0;
	}
	return bytes;
}

void
mmq_shell_metrics_give(struct shell *shell)
{
	struct mmq_core_status status;
	struct mmq_buf out;
	char why[512];
	size_t used;

	mmq_buf_init(&out, TEXT_BYTES_MAX);
	mmq_core_status(shell->core, &status);
	gauge(&out, "ready", "1: predictions are answered.", strcmp(status.health, "not ready") != 0);
	gauge(&out, "degraded", "1: something is missing or broken.", strcmp(status.health, "ready") != 0);
	gauge(&out, "uptime_seconds", "Since the broker's start.", (double)(shell->now_us - shell->started_us) / 1e6);
	gauge(&out, "waiting", "Requests in memory that wait.", (double)status.waiting);
	gauge(&out, "leased", "Requests that workers hold.", (double)status.leased);
	gauge(&out, "durable", "Durable requests that have not ended.", (double)status.durable);
	gauge(&out, "request_bytes", "Bytes of requests in memory.", (double)status.bytes);
	gauge(&out, "journal_inflight", "Commands and reads of the journal under way.", (double)status.journal_inflight);
	gauge(&out, "journal_damaged_rows", "Rows left out for a wrong checksum.", shell->journal == NULL ? 0 : (double)shell->ops->damaged(shell->journal));
	gauge(&out, "models", "Models in the catalogue.", status.models);
	gauge(&out, "connections", "Connections that wait for something.", shell->clients.used);
	gauge(&out, "outbox_bytes", "Answers kept for clients that do not read.", (double)shell->clients.mail_bytes);
	gauge(&out, "journal_bytes", "The journal on the disk.", journal_bytes(shell));
	put_workers(shell, &out);
	put_crashes(shell, &out);
#define X(name) counter(&out, #name, status.counters.name);
	MMQ_CORE_COUNTERS(X)
#undef X
	counter(&out, "bad_frames", shell->counters.bad_frames);
	counter(&out, "denied", shell->counters.denied + shell->zap.denied);
	counter(&out, "sink_sent", shell->sink.published);
	counter(&out, "sink_dropped", shell->sink.dropped);
	counter(&out, "answers_over_budget", shell->clients.lost_full);
	counter(&out, "answers_too_late", shell->clients.lost_late);
	counter(&out, "answers_unroutable", shell->clients.lost_gone);
	mmq_buf_printf(&out, "# HELP modelmq_journal_seconds From a command to its commit.\n# TYPE modelmq_journal_seconds histogram\n");
	histogram(&out, "journal_seconds", "", mmq_core_journal_times(shell->core));
	put_metrics(shell, &out);
	used = (size_t)snprintf(why, sizeof why, "%s\n", status.health);
	for (int i = 0; i < 8 && status.reasons[i] != NULL; i++)
		used += (size_t)snprintf(why + used, sizeof why - used, "%s\n", status.reasons[i]);
	if (!out.failed)
		mmq_http_give(shell->http, (const char *)out.bytes, out.size, strcmp(status.health, "not ready") != 0, why);
	mmq_buf_fini(&out);
}
