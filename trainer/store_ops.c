/* store_ops.c: model.list, model.get, model.alias and model.delete, served at once by the socket thread.
 *
 * An alias change first asks the broker for the next generation, so that a paused worker cannot roll one back; meanwhile it waits
 * in a list and the thread goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/map.h"
#include "trainer/store_reply.h"
#include "trainer/trainer.h"
#include "util/clock.h"
#include "util/mem.h"
#include "wire/reply.h"
#include "wire/want.h"

enum { ANSWER_BYTES_MAX = 16 << 20 };

/* What model.* requests bring beside their header. */
struct fields {
	char alias[MMQ_NAME_MAX + 1], after[MMQ_NAME_MAX + 1];
	int64_t limit, expect;                /* expect -1: any */
	bool remove, all;
};

struct mmq_alias_op {
	struct mmq_work_item *item;
	struct mmq_head head;                 /* points into the item's body */
	struct fields fields;
	struct mmq_alias_op *next;
};

static void
answer(struct mmq_trainer *self, struct mmq_work_item *item, struct mmq_buf *out, const struct mmq_head *head, struct mmq_err *err)
{
	if (err->code == MMQ_OK && out->failed)
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "the answer is larger than %d bytes; ask for less at a time", ANSWER_BYTES_MAX);
	if (err->code != MMQ_OK) {
		mmq_buf_reset(out);
		mmq_reply_error(out, head, err);
	}
	int64_t took_us = mmq_clock_mono_us() - item->arrived_us;
	const struct mmq_work_result result = { .code = err->code, .service_us = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us };
	struct mmq_buf timed;
	mmq_buf_init(&timed, ANSWER_BYTES_MAX + 64);
	mmq_reply_timed(&timed, out, item->queue_us, took_us);
	mmq_worker_answer(self->worker, &item, &result, timed.bytes, timed.size);
	mmq_buf_fini(&timed);
}

static int
read_field(struct fields *fields, const struct mmq_text *key, struct mmq_reader *reader, struct mmq_err *err)
{
	bool is_alias = mmq_text_is(key, "alias");

	if (is_alias || mmq_text_is(key, "after")) {
		struct mmq_text name;
		if (mmq_want_name(reader, is_alias ? "alias" : "after", &name, err) == -1)
			return -1;
		snprintf(is_alias ? fields->alias : fields->after, MMQ_NAME_MAX + 1, "%.*s", (int)name.size, name.at);
		return 0;
	}
	if (mmq_text_is(key, "limit"))
		return mmq_want_int(reader, "limit", 1, 1000, &fields->limit, err);
	if (mmq_text_is(key, "expect"))
		return mmq_want_int(reader, "expect", 0, UINT32_MAX, &fields->expect, err);
	if (mmq_text_is(key, "remove"))
		return mmq_want_bool(reader, "remove", &fields->remove, err);
	if (mmq_text_is(key, "all"))
		return mmq_want_bool(reader, "all", &fields->all, err);
	mmq_read_skip(reader);
	return 0;
}

static int
read_fields(struct fields *fields, const struct mmq_work_item *item, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_text key;
	uint32_t pairs;

	*fields = (struct fields){ .limit = 100, .expect = -1 };
	mmq_reader_init(&reader, item->body, item->body_bytes);
	if (mmq_want_map(&reader, "request", &pairs, err) == -1)
		return -1;
	for (uint32_t i = 0; i < pairs; i++) {
		if (mmq_want_key(&reader, "request", &key, err) == -1)
			return -1;
		if (!mmq_want_nil(&reader) && read_field(fields, &key, &reader, err) == -1)
			return -1;
	}
	return 0;
}

/* ---- model.alias --------------------------------------------------------------------------------------------------- */

/* The generation that holds now, after the caller's expectation was held against it. */
static int
current_generation(struct mmq_trainer *self, const struct mmq_alias_op *op, struct mmq_store_aliases *aliases, struct mmq_err *err)
{
	if (mmq_store_aliases(self->store, op->item->tenant, op->item->model, aliases, err) == -1)
		return -1;
	if (op->fields.expect != -1 && op->fields.expect != aliases->generation) {
		char want[64];
		snprintf(want, sizeof(want), "the generation that holds, %u", aliases->generation);
		return mmq_err_value(err, MMQ_ALREADY_EXISTS, "expect", want, "%lld", (long long)op->fields.expect);
	}
	return 0;
}

static int
check_alias(struct mmq_trainer *self, const struct mmq_alias_op *op, struct mmq_err *err)
{
	uint32_t *versions = NULL;
	size_t count = 0;

	if (op->fields.alias[0] == '\0')
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "alias", "a name", "nothing");
	if (!op->fields.remove && op->head.version == 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "version", "a version's number, or remove: true", "nothing");
	if (mmq_store_versions(self->store, op->item->tenant, op->item->model, &versions, &count, err) == -1)
		return -1;
	free(versions);
	if (count == 0)
		return mmq_err_value(err, MMQ_NOT_FOUND, "model", "a model of the store", "'%s'", op->item->model);
	return 0;
}

static void
alias_free(struct mmq_trainer *self, struct mmq_alias_op *op)
{
	for (struct mmq_alias_op **at = &self->alias_ops; *at != NULL; at = &(*at)->next)
		if (*at == op) {
			*at = op->next;
			break;
		}
	free(op);
}

static void
alias_begin(struct mmq_trainer *self, struct mmq_work_item *item, const struct mmq_head *head, const struct fields *fields, struct mmq_buf *out)
{
	struct mmq_store_aliases *aliases = mmq_alloc(sizeof(*aliases));
	struct mmq_alias_op *op = mmq_alloc(sizeof(*op));
	struct mmq_err err = { 0 };

	*op = (struct mmq_alias_op){ .item = item, .head = *head, .fields = *fields, .next = self->alias_ops };
	if (check_alias(self, op, &err) == -1 || current_generation(self, op, aliases, &err) == -1) {
		answer(self, item, out, head, &err);
		free(op);
	} else {
		self->alias_ops = op;
		mmq_worker_grant(self->worker, item, MMQ_GRANT_ALIAS, aliases->generation);
	}
	free(aliases);
}

static int
alias_set(struct mmq_trainer *self, const struct mmq_alias_op *op, uint32_t generation, struct mmq_buf *out, struct mmq_err *err)
{
	struct mmq_store_aliases *before = mmq_alloc(sizeof(*before));
	char by[MMQ_NAME_MAX + 1];
	uint32_t previous = 0;
	int result = -1;

	if (current_generation(self, op, before, err) == -1)
		goto done;
	for (size_t i = 0; i < before->count; i++)
		if (strcmp(before->items[i].name, op->fields.alias) == 0)
			previous = before->items[i].version;
	snprintf(by, sizeof(by), "%s", op->head.id_is_binary ? "client" : "");
	if (!op->head.id_is_binary)
		snprintf(by, sizeof(by), "%.*s", (int)op->head.id.size, op->head.id.at);
	const struct mmq_alias_change change = { .tenant = op->item->tenant, .model = op->item->model, .name = op->fields.alias,
		.version = op->fields.remove ? 0 : (uint32_t)op->head.version, .by = by, .expect = op->fields.expect, .generation = generation };
	if (mmq_store_set_alias(self->store, &change, err) == -1)
		goto done;
	struct mmq_map map = { .buf = out, .place = mmq_reply_begin_open(out, &op->head), .pairs = mmq_reply_pairs(&op->head) };
	mmq_map_text(&map, "model", op->item->model);
	mmq_map_text(&map, "alias", op->fields.alias);
	if (!op->fields.remove)
		mmq_map_int(&map, "version", op->head.version);
	if (previous != 0)
		mmq_map_int(&map, "previous", previous);
	mmq_map_int(&map, "generation", generation);
	mmq_map_end(&map);
	result = 0;
done:
	free(before);
	return result;
}

bool
mmq_store_op_granted(struct mmq_trainer *self, const struct mmq_work_event *event)
{
	struct mmq_alias_op *op = self->alias_ops;
	struct mmq_err err = { 0 };
	struct mmq_buf out;

	while (op != NULL && op->item != event->item)
		op = op->next;
	if (op == NULL)
		return false;
	mmq_buf_init(&out, ANSWER_BYTES_MAX);
	if (event->code != MMQ_OK)
		mmq_err_set(&err, event->code, "%s", event->message);
	else if (alias_set(self, op, event->version, &out, &err) == 0)
		mmq_catalogue_report_model(self, op->item->tenant, op->item->model);
	answer(self, op->item, &out, &op->head, &err);
	alias_free(self, op);
	mmq_buf_fini(&out);
	return true;
}

bool
mmq_store_op_cancel(struct mmq_trainer *self, struct mmq_work_item *item)
{
	for (struct mmq_alias_op *op = self->alias_ops; op != NULL; op = op->next)
		if (op->item == item) {
			alias_free(self, op);
			mmq_worker_drop(self->worker, &item);
			return true;
		}
	return false;
}

void
mmq_store_ops_drop(struct mmq_trainer *self)
{
	while (self->alias_ops != NULL)
		mmq_store_op_cancel(self, self->alias_ops->item);
}

/* ---- The others ---------------------------------------------------------------------------------------------------- */

static int
delete_versions(struct mmq_trainer *self, const struct mmq_work_item *item, const struct mmq_head *head, const struct fields *fields,
    struct mmq_buf *out, struct mmq_err *err)
{
	uint32_t *versions = NULL, one = (uint32_t)head->version;
	size_t count = 0;

	if ((one == 0) == !fields->all)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "version", "a version's number or all: true, and not both", "%s",
		    fields->all ? "both" : "neither");
	if (mmq_store_versions(self->store, item->tenant, item->model, &versions, &count, err) == -1)
		return -1;
	if (mmq_store_delete(self->store, item->tenant, item->model, one, err) == -1) {
		free(versions);
		return -1;
	}
	mmq_catalogue_report_model(self, item->tenant, item->model);
	mmq_reply_begin(out, head, 2);
	mmq_put_str(out, "model");
	mmq_put_str(out, item->model);
	mmq_put_str(out, "deleted");
	mmq_put_array(out, fields->all ? count : 1);
	for (size_t i = 0; i < (fields->all ? count : 1); i++)
		mmq_put_uint(out, fields->all ? versions[i] : one);
	free(versions);
	return 0;
}

void
mmq_store_op(struct mmq_trainer *self, struct mmq_work_item *item)
{
	enum mmq_op op = mmq_op_from_name(item->op, strlen(item->op));
	struct mmq_err err = { 0 };
	struct mmq_head head = { 0 };
	struct fields fields;
	struct mmq_buf out;

	if (op == MMQ_OP_MODEL_IMPORT || op == MMQ_OP_MODEL_EXPORT) {
		mmq_side_job_begin(self, item);
		return;
	}
	mmq_buf_init(&out, ANSWER_BYTES_MAX);
	if (mmq_peek(&head, item->body, item->body_bytes, item->payload == NULL ? 1 : 2, &err) == -1 || read_fields(&fields, item, &err) == -1) {
		answer(self, item, &out, &head, &err);
	} else if (op == MMQ_OP_MODEL_ALIAS) {
		alias_begin(self, item, &head, &fields, &out);
	} else {
		if (op == MMQ_OP_MODEL_LIST)
			mmq_model_list_reply(&out, self->store, item->tenant, &head, fields.after, (size_t)fields.limit, &err);
		else if (op == MMQ_OP_MODEL_GET)
			mmq_model_get_reply(&out, self->store, item, &head, &err);
		else if (op == MMQ_OP_MODEL_DELETE)
			delete_versions(self, item, &head, &fields, &out, &err);
		else if (op == MMQ_OP_ENGINE_LIST)
			mmq_engine_list_reply(&out, &head, &err);
		else if (op == MMQ_OP_ENGINE_GET)
			mmq_engine_get_reply(&out, &head, item, &err);
		else
			mmq_err_value(&err, MMQ_INVALID_ARGUMENT, "op", "an operation that this version serves", "'%s'", item->op);
		answer(self, item, &out, &head, &err);
	}
	mmq_buf_fini(&out);
}
