/* metrics.c: what is counted per operation and model: outcomes by code, time in the queue, time at the worker. The number of label sets is
 * bounded: past METRICS_MAX all others share one, so that a flood of model names costs nothing. */
#include "broker/core_inner.h"

#include <stdlib.h>

enum { METRICS_MAX = 200 };

const uint32_t mmq_core_buckets_us[MMQ_CORE_BUCKETS] = { 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,
	5000000, 30000000 };

void
core_observe(struct mmq_core_histogram *histogram, int64_t us)
{
	unsigned at = 0;

	us = us < 0 ? 0 : us;
	while (at < MMQ_CORE_BUCKETS && us > mmq_core_buckets_us[at])
		at++;
	histogram->counts[at]++;
	histogram->sum_us += (uint64_t)us;
}

static struct mmq_core_metric *
metric_find(struct mmq_core *core, uint8_t op, const char *tenant, const char *model)
{
	for (uint32_t i = 0; i < core->metrics_count; i++)
		if (core->metrics[i]->op == op && strcmp(core->metrics[i]->model, model) == 0 && strcmp(core->metrics[i]->tenant, tenant) == 0)
			return core->metrics[i];
	return NULL;
}

/* The lane remembers the one of its last operation. */
struct mmq_core_metric *
core_metric(struct mmq_core *core, const struct core_request *request)
{
	struct core_lane *lane = request->lane;
	struct mmq_core_metric *metric = lane->metric;
	bool is_full;

	if (metric != NULL && lane->metric_op == request->op)
		return metric;
	lane->metric_op = request->op;
	metric = metric_find(core, request->op, lane->tenant->name, lane->model);
	is_full = core->metrics_count >= METRICS_MAX;
	if (metric == NULL && is_full)
		metric = metric_find(core, request->op, "other", "other");
	if (metric == NULL) {
		metric = mmq_alloc(sizeof *metric);
		metric->op = request->op;
		snprintf(metric->tenant, sizeof metric->tenant, "%s", is_full ? "other" : lane->tenant->name);
		snprintf(metric->model, sizeof metric->model, "%s", is_full ? "other" : lane->model);
		core->metrics = mmq_grow(core->metrics, core->metrics_count + 1, sizeof *core->metrics);
		core->metrics[core->metrics_count++] = metric;
	}
	lane->metric = metric;
	return metric;
}

const struct mmq_core_metric *
mmq_core_metric(const struct mmq_core *core, uint32_t index)
{
	return index < core->metrics_count ? core->metrics[index] : NULL;
}

const struct mmq_core_histogram *
mmq_core_journal_times(const struct mmq_core *core)
{
	return &core->journal_times;
}

/* Lanes come and go; what is counted stays, so that a depth of nothing is said too. */
void
mmq_core_depths(struct mmq_core *core)
{
	for (uint32_t i = 0; i < core->metrics_count; i++)
		core->metrics[i]->depth = 0;
	for (int kind = 0; kind < MMQ_WORK_KINDS; kind++)
		for (struct core_node *at = core->alone[kind].next; at != &core->alone[kind]; at = at->next)
			core_metric(core, OF(struct core_request, node, at));
	for (size_t i = 0; core->lanes.slots != NULL && i <= core->lanes.mask; i++) {
		struct core_lane *lane = core->lanes.slots[i].value;
		if (lane == NULL || lane->depth == 0)
			continue;
		if (lane->metric == NULL && !core_list_is_empty(&lane->waiting))
			core_metric(core, OF(struct core_request, node, lane->waiting.next));
		if (lane->metric != NULL)
			lane->metric->depth += lane->depth;
	}
}

void
core_metrics_fini(struct mmq_core *core)
{
	for (uint32_t i = 0; i < core->metrics_count; i++)
		free(core->metrics[i]);
	free(core->metrics);
}
