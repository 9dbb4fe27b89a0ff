/* shell_request.c: frames of clients become requests of the core. Whatever is wrong with a frame is answered here with a named
 * error and costs nothing else; nothing of it reaches the core. Pushed requests have no way back: what is refused is counted, and what
 * the core refuses it says on the sink. */
#include <sodium.h>
#include <string.h>

#include "broker/shell.h"

enum { PARTS_MAX = 4 };  /* routing id, REQ's empty frame, the map, a payload */

static bool
text_find(const struct mmq_body *body, const char *key, const char **at, size_t *size)
{
	struct mmq_reader reader;
	struct mmq_token token;

	if (!mmq_peek_find(body->bytes, body->size, key, &reader) || !mmq_read(&reader, &token) ||
	    (token.type != MMQ_T_STR && token.type != MMQ_T_BIN))
		return false;
	*at = token.bytes;
	*size = token.size;
	return true;
}

/* An optional number of a broker-served operation. -1: there, but not a number from 0 to max. */
static int
number_find(const struct mmq_body *body, const char *key, uint64_t max, uint64_t *value_out, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_token token;

	if (!mmq_peek_find(body->bytes, body->size, key, &reader))
		return 0;
	if (!mmq_read(&reader, &token) || (token.type != MMQ_T_INT && token.type != MMQ_T_UINT) || (token.type == MMQ_T_INT && token.i < 0) ||
	    (token.type == MMQ_T_UINT ? token.u : (uint64_t)token.i) > max)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, key, "an integer from 0 up", "%s", mmq_type_name(token.type));
	*value_out = token.type == MMQ_T_UINT ? token.u : (uint64_t)token.i;
	return 0;
}

static int
state_find(const struct mmq_body *body, int *state_out, struct mmq_err *err)
{
	const char *text;
	size_t size;

	*state_out = -1;
	if (!text_find(body, "state", &text, &size))
		return 0;
	for (int state = 0; state < MMQ_JOB_STATES; state++) {
		const char *name = mmq_job_state_name((enum mmq_journal_state)state);

		if (strlen(name) == size && memcmp(name, text, size) == 0)
			*state_out = state;
	}
	if (*state_out == -1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "state", "queued, running, done, failed or cancelled", "'%.*s'",
		    size > 32 ? 32 : (int)size, text);
	return 0;
}

/* The keys of operations that the broker itself serves. */
static int
query_read(const struct mmq_head *head, const struct mmq_body *body, struct mmq_core_query *query, struct mmq_err *err)
{
	uint64_t limit = 0;

	*query = (struct mmq_core_query){ .state = -1 };
	switch (head->op) {
	case MMQ_OP_CANCEL:
		query->request = (const uint8_t *)head->request.at;
		query->request_size = head->request.size;
		return 0;
	case MMQ_OP_DEAD_LIST:
		if (number_find(body, "after", INT64_MAX, &query->since, err) == -1)
			return -1;
		break;
	case MMQ_OP_JOB_LIST:
		query->model = head->model.at;
		query->model_size = head->model.at == NULL ? 0 : head->model.size;
		if (state_find(body, &query->state, err) == -1 || number_find(body, "after", INT64_MAX, &query->since, err) == -1)
			return -1;
		break;
	case MMQ_OP_RESULTS:
		if (text_find(body, "prefix", &query->prefix, &query->prefix_size) && query->prefix_size >= MMQ_JOURNAL_TOPIC)
			return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "prefix", "at most 207 bytes", "%zu bytes", query->prefix_size);
		if (number_find(body, "since", INT64_MAX, &query->since, err) == -1 ||
		    number_find(body, "bytes_max", INT64_MAX, &query->bytes_max, err) == -1)
			return -1;
		break;
	default:
		return 0;
	}
	if (number_find(body, "limit", 1000, &limit, err) == -1)
		return -1;
	query->limit = (uint32_t)limit;
	return 0;
}

static bool
keep_find(const struct mmq_body *body)
{
	struct mmq_reader reader;
	struct mmq_token token;

	return mmq_peek_find(body->bytes, body->size, "keep", &reader) && mmq_read(&reader, &token) && token.type == MMQ_T_BOOL && token.boolean;
}

/* 48 bits of time before 80 random ones: new jobs lie side by side in the journal's index, so that a commit writes few of its pages. */
static void
job_make(const struct shell *shell, uint8_t job_out[16])
{
	for (int i = 0; i < 6; i++)
		job_out[i] = (uint8_t)((uint64_t)shell->wall_ms >> (40 - 8 * i));
	randombytes_buf(job_out + 6, 10);
}

int
mmq_shell_request_give(struct shell *shell, struct route *route, uint32_t tag, const char *tenant, const struct mmq_head *head,
    struct shell_body *own, struct mmq_err *err)
{
	struct mmq_core_event event = { .kind = MMQ_ON_REQUEST };
	struct mmq_core_request *request = &event.request;
	struct mmq_core_query query;

	if (query_read(head, &own->body, &query, err) == -1)
		return -1;
	request->route = route == NULL ? 0 : route->number;
	request->tag = tag;
	request->tenant = tenant;
	request->head = head;
	request->query = &query;
	request->body = &own->body;
	if (head->durable || mmq_op_is_journalled(head->op)) {
		mmq_fingerprint(request->fingerprint, shell->info.fingerprint_key, own->body.bytes, own->body.size, own->body.payload, own->body.payload_size);
		job_make(shell, request->job);
		request->keep = keep_find(&own->body);
	}
	if (route != NULL)
		route->holds++;
	mmq_shell_event(shell, &event);
	return 0;
}

/* Whose connection a frame came over. NULL: its key is no longer allowed. */
static const char *
tenant_of(struct shell *shell, zmq_msg_t *part, enum shell_socket which)
{
	const struct zap_key *key;

	if (!shell->has_keys || strncmp(shell->home.endpoint[which], "tcp:", 4) != 0)
		return "default";
	key = mmq_zap_find(&shell->zap, zmq_msg_gets(part, "User-Id"), which);
	shell->counters.denied += key == NULL;
	return key == NULL ? NULL : key->tenant;
}

/* Read the header of the frames behind the envelope; take them into a body if it is good. */
static struct shell_body *
head_read(struct shell *shell, struct mmq_head *head, zmq_msg_t *parts, unsigned count, struct mmq_err *err)
{
	struct shell_body *own;
	const uint8_t *bytes;

	*head = (struct mmq_head){ .op = MMQ_OP_NONE };
	if (count < 1 || count > 2) {
		mmq_err_value(err, MMQ_INVALID_ARGUMENT, "frames", "1, or 2 with a payload", "%u", count);
		return NULL;
	}
	bytes = zmq_msg_data(&parts[0]);
	if (mmq_peek(head, bytes, zmq_msg_size(&parts[0]), count, err) == -1)
		return NULL;
	own = mmq_shell_body_take(&shell->bodies, parts, count);
	/* The texts of the header point into the frame: it stays where it is when the frame moves into the body, unless it is so
	 * small that libzmq keeps it inside the message itself. Such a header is read again where it now lies. */
	if (own->body.bytes != bytes)
		mmq_peek(head, own->body.bytes, own->body.size, own->parts_count, NULL);
	return own;
}

/* The frames behind the envelope, `kept` of them here: a request, or several. They are closed or moved. route NULL: pushed. */
static void
frames_read(struct shell *shell, struct route *route, uint32_t tag, const char *tenant, zmq_msg_t *parts, unsigned count, unsigned kept)
{
	struct mmq_head head;
	struct mmq_err err;
	struct shell_body *own;

	if (count == 1 && tag == 0 && mmq_peek_is_packed(zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]))) {
		mmq_shell_pack_read(shell, route, tenant, &parts[0]);
		mmq_shell_parts_close(parts, kept);
		return;
	}
	own = head_read(shell, &head, parts, count, &err);
	if (own != NULL && mmq_shell_request_give(shell, route, tag, tenant, &head, own, &err) == 0)
		return;
	shell->counters.bad_frames++;
	if (route != NULL)
		mmq_shell_refuse(shell, route, tag, &head, &err);
	if (own != NULL)
		own->body.release(&own->body);
	else
		mmq_shell_parts_close(parts, kept);
}

static void
request_read(struct shell *shell, zmq_msg_t *parts, unsigned count)
{
	unsigned kept = count < PARTS_MAX ? count : PARTS_MAX;
	bool envelope = count > 2 && zmq_msg_size(&parts[1]) == 0;
	unsigned first = envelope ? 2 : 1;
	uint32_t tag = envelope ? SHELL_ENVELOPE : 0;
	struct route *route;
	const char *tenant;

	if (count < 2) {
		mmq_shell_parts_close(parts, kept);
		return;
	}
	tenant = tenant_of(shell, &parts[1], SHELL_REQUEST);
	route = mmq_routes_get(&shell->clients, zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]), tenant == NULL ? "" : tenant);
	route->holds++;  /* it stays while its frames are read, whatever is answered meanwhile */
	if (tenant == NULL) {
		const struct mmq_head none = { .op = MMQ_OP_NONE };
		struct mmq_err err;

		mmq_err_set(&err, MMQ_UNAUTHENTICATED, "this key is not allowed any more");
		shell->counters.bad_frames++;
		mmq_shell_refuse(shell, route, tag, &none, &err);
		mmq_shell_parts_close(parts, kept);
	} else {
		frames_read(shell, route, tag, tenant, parts + first, count - first, kept - first);
		mmq_shell_parts_close(parts, first);
	}
	route->holds--;
	mmq_routes_release(&shell->clients, route);
}

bool
mmq_shell_request_read(struct shell *shell)
{
	struct mmq_core_event early = { .kind = MMQ_ON_BURST };
	zmq_msg_t parts[PARTS_MAX];
	unsigned count;

	for (int burst = 0; burst < SHELL_BURST; burst++) {
		if (mmq_shell_receive(shell->request, parts, PARTS_MAX, &count) == -1)
			return true;
		request_read(shell, parts, count);
		if ((burst + 1) % SHELL_EARLY == 0)
			mmq_shell_event(shell, &early);
	}
	return false;
}

bool
mmq_shell_publish_read(struct shell *shell)
{
	zmq_msg_t parts[PARTS_MAX];
	unsigned count;

	/* Pushed requests wait in their senders while the memory for bodies is used up. */
	if (mmq_core_bytes(shell->core) >= PUSH_SHARE(shell->options.bytes_max))
		return false;
	for (int burst = 0; burst < SHELL_BURST; burst++) {
		if (mmq_shell_receive(shell->publish, parts, PARTS_MAX, &count) == -1)
			return true;
		const char *tenant = tenant_of(shell, &parts[0], SHELL_PUBLISH);
		unsigned kept = count < PARTS_MAX ? count : PARTS_MAX;

		if (tenant == NULL) {
			mmq_shell_parts_close(parts, kept);
			shell->counters.bad_frames++;
		} else {
			frames_read(shell, NULL, 0, tenant, parts, count, kept);
		}
	}
	return false;
}
