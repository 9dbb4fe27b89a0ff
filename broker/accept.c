/* accept.c: a request comes in: is it known already, is there room, which version is meant; then into a lane or to the journal.
 *
 * A durable request is journalled first and answered after the commit. Its id is looked up among those in memory here, and
 * by the journal's put for all others. */
#include "broker/core_inner.h"

void
core_waiter_fill(struct core_waiter *waiter, const struct mmq_core_request *in)
{
	waiter->route = in->route;
	waiter->tag = in->tag;
	waiter->op = (uint8_t)in->head->op;
	waiter->id_is_binary = in->head->id_is_binary;
	waiter->id_size = in->head->id.at == NULL ? 0 : (uint8_t)in->head->id.size;
	if (waiter->id_size > 0)
		memcpy(waiter->id, in->head->id.at, waiter->id_size);
	waiter->request_size = in->head->op != MMQ_OP_CANCEL || in->head->request.at == NULL ? 0 : (uint8_t)in->head->request.size;
	waiter->request_is_binary = in->head->request_is_binary;
	if (waiter->request_size > 0)
		memcpy(waiter->request, in->head->request.at, waiter->request_size);
	if (in->head->trace.at != NULL)
		snprintf(waiter->trace, sizeof waiter->trace, "%.*s", (int)in->head->trace.size, in->head->trace.at);
	waiter->acceptance = in->head->op == MMQ_OP_TRAIN || !in->head->wait;
}

void
core_waiter_add(struct mmq_core *core, struct core_waiter *waiter, const uint8_t job[16], int64_t due_us)
{
	if (waiter->queued)
		core_table_remove(&core->waiters, waiter->job_hash, waiter);
	memcpy(waiter->job, job, sizeof waiter->job);
	waiter->job_hash = core_hash(core, 1, job, 16);
	waiter->queued = true;
	core_table_put(&core->waiters, waiter->job_hash, waiter);
	if (due_us != INT64_MAX)
		core_heap_set(&core->timers, &waiter->timer, due_us);
}

/* Turn a request away: an answer, or for a pushed one a message on the sink. */
void
core_refuse_to(struct mmq_core *core, const struct core_waiter *to, const char *tenant_name, const char *model, const struct mmq_err *err)
{
	struct mmq_err *kept = mmq_arena_get(&core->scratch, sizeof *kept);
	char topic[MMQ_JOURNAL_TOPIC];
	struct core_tenant *tenant;
	struct mmq_core_publish *publish;
	uint8_t *id;

	*kept = *err;
	CORE_COUNT(core, refused);
	if (err->code == MMQ_RESOURCE_EXHAUSTED)
		CORE_COUNT(core, exhausted);
	if (to->route != 0) {
		core_answer_to(core, to, MMQ_ANSWER_ERROR)->err = kept;
		return;
	}
	tenant = core_tenant_get(core, tenant_name);
	snprintf(topic, sizeof topic, "result/%s/%s/%s", tenant_name, model, mmq_op_name((enum mmq_op)to->op));
	publish = tenant == NULL ? NULL : core_publish(core, tenant, MMQ_PUBLISH_ANSWER, topic, false);
	if (publish == NULL)
		return;
	id = mmq_arena_get(&core->scratch, sizeof to->id);
	memcpy(id, to->id, sizeof to->id);
	publish->id = id;
	publish->id_size = to->id_size;
	publish->id_is_binary = to->id_is_binary;
	publish->trace = to->trace[0] == '\0' ? NULL : mmq_arena_strndup(&core->scratch, to->trace, strlen(to->trace));
	publish->err = kept;
}

void
core_refuse(struct mmq_core *core, const struct mmq_core_request *in, const struct mmq_err *err)
{
	struct core_waiter to = { 0 };
	char model[MMQ_JOURNAL_TEXT];

	core_waiter_fill(&to, in);
	snprintf(model, sizeof model, "%.*s", (int)in->head->model.size, in->head->model.at == NULL ? "" : in->head->model.at);
	core_refuse_to(core, &to, in->tenant, model, err);
}

static int
exhausted(struct mmq_core *core, struct mmq_err *err, const char *what, uint64_t limit)
{
	mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "too much is waiting: %s (%llu)", what, (unsigned long long)limit);
	err->retry_after_ms = core_retry_after_ms(core, core->waiting + core->leased);
	return -1;
}

static int
unavailable(struct mmq_err *err, const char *why)
{
	mmq_err_set(err, MMQ_UNAVAILABLE, "%s", why);
	err->retry_after_ms = 1000;
	return -1;
}

static bool
is_over(const struct core_budget *held, uint64_t bytes, uint32_t requests_max, uint64_t bytes_max)
{
	return held->requests >= requests_max || held->bytes + bytes > bytes_max;
}

/* Past a budget: which one, and when half of what it holds will have ended at the rate measured last. */
static int
over(const struct mmq_core *core, struct mmq_err *err, const char *what, const struct core_budget *held, uint32_t requests_max, uint64_t bytes_max)
{
	bool is_count = held->requests >= requests_max;

	mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "too much is waiting: %s_%s_max (%llu)", is_count ? "requests" : "bytes", what,
	    is_count ? (unsigned long long)requests_max : (unsigned long long)bytes_max);
	err->retry_after_ms = core_retry_after_ms(core, held->requests);
	return -1;
}

static int
room_check(struct mmq_core *core, const struct core_tenant *tenant, const struct mmq_core_request *in, uint64_t bytes, struct mmq_err *err)
{
	const struct mmq_core_limits *limits = &core->limits;
	const struct core_budget *priority = &core->priorities[in->head->priority];

	if (tenant == NULL)
		return exhausted(core, err, "tenants", limits->tenants_max);
	if (core->requests >= limits->requests_max)
		return exhausted(core, err, "requests_max", limits->requests_max);
	if (core->bytes + bytes > limits->bytes_max)
		return exhausted(core, err, "bytes_max", limits->bytes_max);
	if (is_over(&tenant->held, bytes, limits->requests_tenant_max, limits->bytes_tenant_max))
		return over(core, err, "tenant", &tenant->held, limits->requests_tenant_max, limits->bytes_tenant_max);
	if (is_over(priority, bytes, limits->requests_priority_max, limits->bytes_priority_max))
		return over(core, err, "priority", priority, limits->requests_priority_max, limits->bytes_priority_max);
	if (!in->head->durable)
		return 0;
	if (core->durable >= limits->durable_max)
		return exhausted(core, err, "durable_max", limits->durable_max);
	if (core->puts >= limits->journal_inflight_max)
		return exhausted(core, err, "journal_inflight_max", limits->journal_inflight_max);
	return 0;
}

/* The connection's account; made with its first request, gone with its last. */
static struct core_client *
client_get(struct mmq_core *core, uint64_t route)
{
	uint64_t hash = core_hash_number(core, route);
	size_t cursor = SIZE_MAX;
	struct core_client *client;

	if (route == 0)
		return NULL;
	while ((client = core_table_find(&core->clients, hash, &cursor)) != NULL)
		if (client->route == route)
			return client;
	client = core->free_clients;
	if (client == NULL)
		client = mmq_alloc(sizeof *client);
	else
		core->free_clients = client->next;
	*client = (struct core_client){ .route = route };
	core_table_put(&core->clients, hash, client);
	return client;
}

static void
client_let_go(struct mmq_core *core, struct core_client *client)
{
	if (client == NULL || client->held.requests > 0)
		return;
	core_table_remove(&core->clients, core_hash_number(core, client->route), client);
	client->next = core->free_clients;
	core->free_clients = client;
}

/* All that a request counts towards, by sign: +1 when it enters, -1 when it leaves. */
static void
account(struct mmq_core *core, struct core_request *request, int sign)
{
	struct core_budget *const budgets[] = { &request->lane->tenant->held, &request->lane->load->held, &core->priorities[request->lane->priority],
		request->client == NULL ? NULL : &request->client->held };

	for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
		if (budgets[i] == NULL)
			continue;
		budgets[i]->requests += (uint32_t)sign;
		budgets[i]->bytes += (uint64_t)sign * request->bytes;
	}
	core->requests += (uint32_t)sign;
	core->bytes += (uint64_t)sign * request->bytes;
}

static int
state_check(const struct mmq_core *core, const struct mmq_core_request *in, struct mmq_err *err)
{
	if (core->stopped)
		return unavailable(err, "the journal failed and the broker is about to restart; send again with the same id");
	if (core->draining)
		return unavailable(err, "the broker is shutting down");
	if (!in->head->durable)
		return 0;
	if (!core->journal)
		return unavailable(err, "this broker runs without a journal: durable work is not accepted");
	if (in->head->id.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "id", "an id, which recognises a repeated request", "none");
	return 0;
}

static uint64_t
durable_hash(const struct mmq_core *core, const char *tenant, const uint8_t *id, size_t size)
{
	return core_hash(core, mmq_hash64(tenant, strlen(tenant)), id, size);
}

struct core_request *
core_find_durable(const struct mmq_core *core, const char *tenant, const uint8_t *id, size_t size, bool is_binary)
{
	uint64_t hash = durable_hash(core, tenant, id, size);
	size_t cursor = SIZE_MAX;
	struct core_request *request;

	while ((request = core_table_find(&core->durable_ids, hash, &cursor)) != NULL)
		if (request->id_size == size && request->id_is_binary == is_binary && memcmp(request->id, id, size) == 0 &&
		    strcmp(request->lane->tenant->name, tenant) == 0)
			return request;
	return NULL;
}

struct core_request *
core_find_job(const struct mmq_core *core, const uint8_t job[16])
{
	uint64_t hash = core_hash(core, 1, job, 16);
	size_t cursor = SIZE_MAX;
	struct core_request *request;

	while ((request = core_table_find(&core->jobs, hash, &cursor)) != NULL)
		if (memcmp(request->job, job, 16) == 0)
			return request;
	return NULL;
}

void
core_request_enter(struct mmq_core *core, struct core_request *request)
{
	struct core_tenant *tenant = request->lane->tenant;

	account(core, request, 1);
	if (request->durable) {
		request->id_hash = durable_hash(core, tenant->name, request->id, request->id_size);
		core_table_put(&core->durable_ids, request->id_hash, request);
		request->job_hash = core_hash(core, 1, request->job, 16);
		core_table_put(&core->jobs, request->job_hash, request);
	} else {
		core->plain++;
		request->id_hash = core_hash(core, request->route, request->id, request->id_size);
		if (request->id_size > 0)
			core_table_put(&core->plain_ids, request->id_hash, request);
	}
	if (request->deadline_us != INT64_MAX)
		core_heap_set(&core->timers, &request->timer, request->deadline_us);
}

/* It has left its lane and its lease before. */
void
core_request_done(struct mmq_core *core, struct core_request *request)
{
	account(core, request, -1);
	client_let_go(core, request->client);
	core_heap_remove(&core->timers, &request->timer);
	if (request->durable) {
		core_table_remove(&core->durable_ids, request->id_hash, request);
		core_table_remove(&core->jobs, request->job_hash, request);
	} else {
		core->plain--;
		core_table_remove(&core->plain_ids, request->id_hash, request);
	}
	core_free_body(core, &request->body);
	core_free_body(core, &request->answer);
	core_free_body(core, &request->progress);
	core_lane_release(core, request->lane);
	request->state = R_ENDED;
	if (request->pending == 0) {
		request->node.next = (struct core_node *)core->retired;
		core->retired = request;
	}
}

void
core_accepted(struct mmq_core *core, const struct core_waiter *to, const struct mmq_core_job *job)
{
	struct mmq_core_answer *answer;
	struct mmq_core_job *kept;

	if (to->op != MMQ_OP_TRAIN) {
		core_answer_to(core, to, MMQ_ANSWER_SEQ)->seq = job->seq;
		return;
	}
	kept = mmq_arena_get(&core->scratch, sizeof *kept);
	*kept = *job;
	answer = core_answer_to(core, to, MMQ_ANSWER_ACCEPTED);
	answer->job = kept;
	answer->seq = job->seq;
}

static int64_t
deadline_of(const struct mmq_core *core, const struct mmq_head *head)
{
	int64_t ms = head->deadline_ms;

	if (ms == 0 && head->op == MMQ_OP_TRAIN)
		return INT64_MAX;
	if (ms == 0)
		ms = head->op == MMQ_OP_PREDICT ? core->limits.deadline_predict_ms : core->limits.wait_ms;
	return core->now_us + ms * US_PER_MS;
}

/* What a request was admitted to. */
struct admission { struct core_lane *lane; struct core_client *client; uint32_t version; };

static struct core_request *
request_make(struct mmq_core *core, const struct mmq_core_request *in, const struct admission *to)
{
	const struct mmq_head *head = in->head;
	struct core_request *request = core_request_get(core);

	request->lane = to->lane;
	request->client = to->client;
	request->body = in->body;
	request->bytes = in->body == NULL ? 0 : in->body->size + in->body->payload_size;
	request->op = (uint8_t)head->op;
	request->durable = head->durable;
	request->sink = head->sink || in->route == 0 || !head->wait;
	request->wait = head->wait;
	request->keep = in->keep;
	request->route = in->route;
	request->tag = in->tag;
	request->version = to->version;
	request->warm_version = head->op == MMQ_OP_MODEL_ALIAS && head->version <= UINT32_MAX ? (uint32_t)head->version : 0;
	request->id_is_binary = head->id_is_binary;
	if (head->id.at != NULL) {
		request->id_size = (uint8_t)head->id.size;
		memcpy(request->id, head->id.at, head->id.size);
	}
	if (head->trace.at != NULL)
		request->trace = mmq_strndup(head->trace.at, head->trace.size);
	if (head->key.at != NULL)
		request->key_hash = core_hash(core, 2, head->key.at, head->key.size) | 1;
	request->arrived_us = core->now_us;
	request->deadline_us = deadline_of(core, head);
	if (request->durable) {
		memcpy(request->job, in->job, sizeof request->job);
		memcpy(request->fingerprint, in->fingerprint, sizeof request->fingerprint);
		request->created_ms = core->wall_ms;
		if (request->deadline_us != INT64_MAX)
			request->deadline_ms = core->wall_ms + (request->deadline_us - core->now_us + 999) / US_PER_MS;
	}
	return request;
}

/* The budgets of the model and of the connection. A refused request lets go of what was looked up for it. */
static int
last_check(struct mmq_core *core, const struct admission *to, uint64_t bytes, struct mmq_err *err)
{
	const struct mmq_core_limits *limits = &core->limits;
	struct core_client *client = to->client;
	struct core_lane *lane = to->lane;
	int result = 0;

	if (is_over(&lane->load->held, bytes, limits->requests_model_max, limits->bytes_model_max))
		result = over(core, err, "model", &lane->load->held, limits->requests_model_max, limits->bytes_model_max);
	else if (client != NULL && is_over(&client->held, bytes, limits->requests_client_max, limits->bytes_client_max))
		result = over(core, err, "client", &client->held, limits->requests_client_max, limits->bytes_client_max);
	if (result == -1) {
		core_lane_release(core, lane);
		client_let_go(core, client);
	}
	return result;
}

/* The rooms of all budgets, the version meant, the lane. -1: err says why not. */
static int
admit(struct mmq_core *core, const struct mmq_core_request *in, struct admission *to_out, struct mmq_err *err)
{
	static const enum mmq_work_kind kinds[MMQ_BY_COUNT] = { [MMQ_BY_PREDICTOR] = MMQ_WORK_PREDICT, [MMQ_BY_TRAINER] = MMQ_WORK_TRAIN,
		[MMQ_BY_STORE] = MMQ_WORK_STORE };
	const struct mmq_head *head = in->head;
	struct core_tenant *tenant = core_tenant_get(core, in->tenant);
	uint64_t bytes = in->body == NULL ? 0 : in->body->size + in->body->payload_size;
	char model[MMQ_JOURNAL_TEXT] = "";

	to_out->version = 0;
	if (room_check(core, tenant, in, bytes, err) == -1)
		return -1;
	if (head->op == MMQ_OP_PREDICT && core_resolve(core, in->tenant, head, &to_out->version, err) == -1)
		return -1;
	if ((head->op == MMQ_OP_MODEL_GET || head->op == MMQ_OP_MODEL_ALIAS || head->op == MMQ_OP_MODEL_DELETE || head->op == MMQ_OP_MODEL_EXPORT) &&
	    core_model_find(core, in->tenant, head->model.at, head->model.size) == NULL)
		core_foreign_model(core, in->tenant, head->model.at, head->model.size);
	if (head->model.at != NULL && head->model.size < sizeof model)
		memcpy(model, head->model.at, head->model.size);
	to_out->lane = core_lane_get(core, tenant, kinds[mmq_op_service(head->op)], (uint8_t)head->priority, model, to_out->version);
	if (to_out->lane == NULL)
		return exhausted(core, err, "lanes_max", core->limits.lanes_max);
	to_out->client = client_get(core, in->route);
	return last_check(core, to_out, bytes, err);
}

void
core_accept(struct mmq_core *core, const struct mmq_core_request *in)
{
	struct core_request *request = NULL;
	struct core_waiter *waiter = NULL;
	struct mmq_body *body = in->body;
	struct admission to;
	struct mmq_err err;

	CORE_COUNT(core, requests);
	if (mmq_op_service(in->head->op) == MMQ_BY_BROKER) {
		core_serve(core, in);
		core_free_body(core, &body);
		return;
	}
	if (state_check(core, in, &err) == -1)
		goto refused;
	if (in->head->durable)
		request = core_find_durable(core, in->tenant, (const uint8_t *)in->head->id.at, in->head->id.size, in->head->id_is_binary);
	if (request != NULL) {
		core_accept_again(core, in, request);
		core_free_body(core, &body);
		return;
	}
	if (in->head->durable && in->route != 0 && (waiter = core_waiter_get(core)) == NULL) {
		exhausted(core, &err, "waiters_max", core->limits.waiters_max);
		goto refused;
	}
	if (admit(core, in, &to, &err) == -1) {
		if (!in->head->durable || err.code == MMQ_RESOURCE_EXHAUSTED || (waiter == NULL && (waiter = core_waiter_get(core)) == NULL))
			goto refused;
		core_ask_journal(core, in, waiter, &err);
		core_free_body(core, &body);
		return;
	}
	request = request_make(core, in, &to);
	core_request_enter(core, request);
	if (!request->durable) {
		core_queue_push(core, request, false);
		return;
	}
	if (waiter != NULL) {
		core_waiter_fill(waiter, in);
		core_waiter_add(core, waiter, request->job, INT64_MAX);
	}
	core_put(core, request);
	return;
refused:
	if (waiter != NULL)
		core_waiter_put(core, waiter);
	core_refuse(core, in, &err);
	core_free_body(core, &body);
}
