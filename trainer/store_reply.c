/* store_reply.c: what the store holds, for people and clients. Cards are JSON text; they are read with jansson. */
#include "trainer/store_reply.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/datetime.h"
#include "engine/engine.h"
#include "model/json.h"
#include "mpack/map.h"
#include "util/mem.h"
#include "wire/reply.h"

/* One model's state, read at once. */
struct entry {
	uint32_t *versions;
	size_t count;
	struct mmq_store_aliases *aliases;
};

static int
entry_read(struct entry *entry, struct mmq_store *store, const char *tenant, const char *model, struct mmq_err *err)
{
	*entry = (struct entry){ .aliases = mmq_alloc(sizeof(*entry->aliases)) };
	if (mmq_store_versions(store, tenant, model, &entry->versions, &entry->count, err) == -1 ||
	    mmq_store_aliases(store, tenant, model, entry->aliases, err) == -1)
		return -1;
	if (entry->count == 0)
		return mmq_err_value(err, MMQ_NOT_FOUND, "model", "a model of the store", "'%s'", model);
	return 0;
}

static void
entry_fini(struct entry *entry)
{
	free(entry->versions);
	free(entry->aliases);
}

/* The card as JSON; NULL with err when it is damaged. */
static json_t *
card_open(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, struct mmq_err *err)
{
	struct mmq_buf text;
	json_error_t where;
	json_t *card = NULL;

	mmq_buf_init(&text, MMQ_STORE_CARD_BYTES_MAX);
	if (mmq_store_read_card(store, tenant, model, version, &text, err) == 0) {
		card = json_loadb((const char *)text.bytes, text.size, 0, &where);
		if (card == NULL)
			mmq_err_set(err, MMQ_DATA_LOSS, "card of %s version %u: line %d: %s", model, version, where.line, where.text);
	}
	mmq_buf_fini(&text);
	return card;
}

static const char *
card_text(const json_t *card, const char *key)
{
	return json_string_value(json_object_get(card, key));
}

static int64_t
iso_ms(const char *text)
{
	double seconds;
	return text != NULL && mmq_datetime_parse(text, strlen(text), &seconds) == 0 ? (int64_t)(seconds * 1000 + 0.5) : 0;
}

static void
put_list_entry(struct mmq_buf *out, struct mmq_store *store, const char *tenant, const char *model, const struct entry *entry)
{
	uint32_t latest = entry->versions[entry->count - 1];
	struct mmq_err ignored;
	json_t *card = card_open(store, tenant, model, latest, &ignored);  /* a damaged card still leaves a line in the list */
	struct mmq_map map = mmq_map_begin(out);

	mmq_map_text(&map, "model", model);
	mmq_map_int(&map, "latest", latest);
	mmq_put_array(mmq_map_key(&map, "versions"), entry->count);
	for (size_t i = 0; i < entry->count; i++)
		mmq_put_uint(out, entry->versions[i]);
	mmq_put_map(mmq_map_key(&map, "aliases"), entry->aliases->count);
	for (size_t i = 0; i < entry->aliases->count; i++) {
		mmq_put_str(out, entry->aliases->items[i].name);
		mmq_put_uint(out, entry->aliases->items[i].version);
	}
	if (card_text(card, "task") != NULL)
		mmq_map_text(&map, "task", card_text(card, "task"));
	if (card_text(card, "engine") != NULL)
		mmq_map_text(&map, "engine", card_text(card, "engine"));
	mmq_map_int(&map, "updated_ms", iso_ms(card_text(card, "created")));
	mmq_map_end(&map);
	json_decref(card);
}

/* ---- model.list ------------------------------------------------------------------------------------------------------ */

struct names {
	const char *tenant, *after;
	char (*items)[MMQ_NAME_MAX + 1];
	size_t count, capacity;
};

static int
add_name(void *arg, const char *tenant, const char *model, struct mmq_err *err)
{
	struct names *names = arg;

	(void)err;
	if (strcmp(tenant, names->tenant) != 0 || strcmp(model, names->after) <= 0)
		return 0;
	if (names->count == names->capacity) {
		names->capacity = names->capacity * 2 + 64;
		names->items = mmq_grow(names->items, names->capacity, sizeof(*names->items));
	}
	snprintf(names->items[names->count++], sizeof(*names->items), "%s", model);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

int
mmq_model_list_reply(struct mmq_buf *out, struct mmq_store *store, const char *tenant, const struct mmq_head *head, const char *after,
    size_t limit, struct mmq_err *err)
{
	struct names names = { .tenant = tenant, .after = after };
	uint32_t listed = 0;
	size_t i = 0;

	if (mmq_store_visit(store, add_name, &names, err) == -1) {
		free(names.items);
		return -1;
	}
	if (names.count > 0)
		qsort(names.items, names.count, sizeof(*names.items), by_name);
	struct mmq_map map = { .buf = out, .place = mmq_reply_begin_open(out, head), .pairs = mmq_reply_pairs(head) };
	size_t place = mmq_put_array_begin(mmq_map_key(&map, "models"));
	for (; i < names.count && listed < limit; i++) {
		struct entry entry;
		struct mmq_err gone;
		if (entry_read(&entry, store, tenant, names.items[i], &gone) == 0) {  /* deleted meanwhile: no line */
			put_list_entry(out, store, tenant, names.items[i], &entry);
			listed++;
		}
		entry_fini(&entry);
	}
	mmq_put_array_end(out, place, listed);
	if (i < names.count)
		mmq_map_text(&map, "next", names.items[i - 1]);
	mmq_map_end(&map);
	free(names.items);
	return 0;
}

/* ---- model.get ------------------------------------------------------------------------------------------------------- */

static int
choose_version(const struct entry *entry, const struct mmq_work_item *item, const struct mmq_head *head, uint32_t *version_out, struct mmq_err *err)
{
	uint32_t version = item->version != 0 ? item->version : (uint32_t)head->version;
	bool by_alias = version == 0 && head->alias.at != NULL;

	for (size_t i = 0; version == 0 && i < entry->aliases->count; i++) {
		const struct mmq_store_alias *alias = &entry->aliases->items[i];
		const struct mmq_text production = { "production", 10 }, *wanted = by_alias ? &head->alias : &production;
		if (strlen(alias->name) == wanted->size && memcmp(alias->name, wanted->at, wanted->size) == 0)
			version = alias->version;
	}
	if (version == 0 && by_alias)
		return mmq_err_value(err, MMQ_NOT_FOUND, "version", "an alias of the model", "'%.*s'", (int)head->alias.size, head->alias.at);
	*version_out = version != 0 ? version : entry->versions[entry->count - 1];
	return 0;
}

static void
put_versions(struct mmq_buf *out, struct mmq_store *store, const struct mmq_work_item *item, const struct entry *entry)
{
	mmq_put_array(out, entry->count);
	for (size_t i = 0; i < entry->count; i++) {
		struct mmq_err ignored;
		struct stat facts = { 0 };
		int fd;
		json_t *card = card_open(store, item->tenant, item->model, entry->versions[i], &ignored);
		if (mmq_store_open_model(store, item->tenant, item->model, entry->versions[i], &fd, &ignored) == 0) {
			fstat(fd, &facts);
			close(fd);
		}
		struct mmq_map map = mmq_map_begin(out);
		mmq_map_int(&map, "version", entry->versions[i]);
		mmq_map_int(&map, "created_ms", iso_ms(card_text(card, "created")));
		mmq_map_int(&map, "bytes", facts.st_size);
		mmq_map_text(&map, "engine", card_text(card, "engine"));
		mmq_map_text(&map, "task", card_text(card, "task"));
		mmq_map_end(&map);
		json_decref(card);
	}
}

static void
put_aliases(struct mmq_buf *out, const struct mmq_store_aliases *aliases)
{
	mmq_put_map(out, aliases->count);
	for (size_t i = 0; i < aliases->count; i++) {
		mmq_put_str(out, aliases->items[i].name);
		mmq_put_map(out, 2);
		mmq_put_str(out, "version");
		mmq_put_uint(out, aliases->items[i].version);
		mmq_put_str(out, "since_ms");
		mmq_put_int(out, iso_ms(aliases->items[i].since));
	}
}

/* One input as people and the Open Inference Protocol name it: rows first (-1), then the column's own shape. */
static void
put_input(struct mmq_buf *out, const json_t *field)
{
	const char *kind = card_text(field, "kind");
	const json_t *shape = json_object_get(field, "shape"), *values = json_object_get(field, "values");
	bool is_text = kind != NULL && (strcmp(kind, "categorical") == 0 || strcmp(kind, "text") == 0 || strcmp(kind, "datetime") == 0);
	struct mmq_map map = mmq_map_begin(out);

	mmq_map_text(&map, "name", card_text(field, "name"));
	mmq_map_text(&map, "dtype", is_text ? "str" : kind != NULL && strcmp(kind, "boolean") == 0 ? "bool" : "f64");
	mmq_put_array(mmq_map_key(&map, "shape"), 1 + json_array_size(shape));
	mmq_put_int(out, -1);
	for (size_t i = 0; i < json_array_size(shape); i++)
		mmq_put_int(out, json_integer_value(json_array_get(shape, i)));
	mmq_map_text(&map, "kind", kind);
	mmq_map_bool(&map, "required", json_is_true(json_object_get(field, "required")));
	if (json_is_array(values)) {
		mmq_put_array(mmq_map_key(&map, "values"), json_array_size(values));
		for (size_t i = 0; i < json_array_size(values); i++)
			mmq_put_str(out, json_string_value(json_array_get(values, i)));
	}
	mmq_map_end(&map);
}

static void
put_inputs(struct mmq_buf *out, const json_t *card)
{
	const json_t *inputs = json_object_get(card, "inputs");
	int64_t sparse = json_integer_value(json_object_get(card, "sparse_columns"));

	mmq_put_array(out, json_array_size(inputs) + (sparse > 0));
	for (size_t i = 0; i < json_array_size(inputs); i++)
		put_input(out, json_array_get(inputs, i));
	if (sparse > 0) {
		struct mmq_map map = mmq_map_begin(out);
		mmq_map_text(&map, "name", "sparse");
		mmq_map_text(&map, "dtype", "f64");
		mmq_put_array(mmq_map_key(&map, "shape"), 2);
		mmq_put_int(out, -1);
		mmq_put_int(out, sparse);
		mmq_map_end(&map);
	}
}

static void
put_output(struct mmq_buf *out, const char *name, const char *dtype, int64_t cols)
{
	struct mmq_map map = mmq_map_begin(out);
	mmq_map_text(&map, "name", name);
	mmq_map_text(&map, "dtype", dtype);
	mmq_put_array(mmq_map_key(&map, "shape"), cols == 0 ? 1 : 2);
	mmq_put_int(out, -1);
	if (cols != 0)
		mmq_put_int(out, cols);
	mmq_map_end(&map);
}

static void
put_outputs(struct mmq_buf *out, const json_t *card)
{
	const json_t *classes = json_object_get(card, "classes"), *first = json_array_get(classes, 0);
	int64_t bits = json_integer_value(json_object_get(card, "outputs"));
	int64_t columns = (int64_t)json_array_size(json_object_get(card, "inputs")) + json_integer_value(json_object_get(card, "sparse_columns"));
	size_t place = mmq_put_array_begin(out);
	uint32_t count = 1;

	put_output(out, "prediction", json_is_string(first) ? "str" : json_is_boolean(first) ? "bool" : json_is_integer(first) ? "i64" : "f64", 0);
	if (bits & MMQ_OUT_PROBABILITY && ++count)
		put_output(out, "probability", "f64", (int64_t)json_array_size(classes));
	if (bits & MMQ_OUT_SCORE && ++count)
		put_output(out, "score", "f64", json_array_size(classes) > 2 ? -1 : 0);
	if (bits & MMQ_OUT_CONTRIBUTION && ++count)
		put_output(out, "contribution", "f64", columns);
	if (bits & MMQ_OUT_LEAF && ++count)
		put_output(out, "leaf", "u32", -1);
	mmq_put_array_end(out, place, count);
}

static int
put_model(struct mmq_buf *out, struct mmq_store *store, const struct mmq_work_item *item, const struct mmq_head *head, const struct entry *entry,
    uint32_t version, struct mmq_err *err)
{
	struct mmq_buf text;
	json_t *card = card_open(store, item->tenant, item->model, version, err);

	if (card == NULL)
		return err->code == MMQ_NOT_FOUND ? mmq_err_value(err, MMQ_NOT_FOUND, "version", "a version of the model", "%u", version) : -1;
	struct mmq_map map = { .buf = out, .place = mmq_reply_begin_open(out, head), .pairs = mmq_reply_pairs(head) };
	mmq_map_text(&map, "model", item->model);
	mmq_map_int(&map, "version", version);
	mmq_map_int(&map, "latest", entry->versions[entry->count - 1]);
	put_versions(mmq_map_key(&map, "versions"), store, item, entry);
	put_aliases(mmq_map_key(&map, "aliases"), entry->aliases);
	mmq_map_int(&map, "generation", entry->aliases->generation);
	put_inputs(mmq_map_key(&map, "inputs"), card);
	put_outputs(mmq_map_key(&map, "outputs"), card);
	mmq_buf_init(&text, MMQ_STORE_CARD_BYTES_MAX);
	int result = mmq_store_read_card(store, item->tenant, item->model, version, &text, err);
	if (result == 0)
		result = mmq_json_decode(text.bytes, text.size, mmq_map_key(&map, "card"), err);
	mmq_map_end(&map);
	mmq_buf_fini(&text);
	json_decref(card);
	return result;
}

int
mmq_model_choose(struct mmq_store *store, const struct mmq_work_item *item, const struct mmq_head *head, uint32_t *version_out,
    struct mmq_err *err)
{
	struct entry entry;
	int result = entry_read(&entry, store, item->tenant, item->model, err) == -1 ? -1 : choose_version(&entry, item, head, version_out, err);
	entry_fini(&entry);
	return result;
}

int
mmq_model_get_reply(struct mmq_buf *out, struct mmq_store *store, const struct mmq_work_item *item, const struct mmq_head *head,
    struct mmq_err *err)
{
	struct entry entry;
	uint32_t version = 0;
	int result = -1;

	if (entry_read(&entry, store, item->tenant, item->model, err) == 0 && choose_version(&entry, item, head, &version, err) == 0)
		result = put_model(out, store, item, head, &entry, version, err);
	entry_fini(&entry);
	return result;
}
