/* engine_ops.c: engine.list and engine.get, straight from the engines' own tables. */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "mpack/map.h"
#include "trainer/trainer.h"
#include "wire/reply.h"
#include "wire/want.h"

struct bit { unsigned bit; const char *name; };

static const struct bit tasks[] = { { MMQ_REGRESSION, "regression" }, { MMQ_BINARY, "binary" }, { MMQ_MULTICLASS, "multiclass" },
	{ MMQ_ONE_CLASS, "one_class" }, { 0, NULL } };
static const struct bit accepts[] = { { MMQ_ACCEPTS_MISSING, "missing" }, { MMQ_ACCEPTS_CATEGORY, "category" }, { MMQ_ACCEPTS_SPARSE, "sparse" },
	{ MMQ_ACCEPTS_VECTOR, "vector" }, { MMQ_ACCEPTS_F64, "f64" }, { MMQ_WANTS_SCALED, "wants_scaled" }, { MMQ_WANTS_ONE_HOT, "wants_one_hot" },
	{ MMQ_WANTS_TARGET_SCALED, "wants_target_scaled" }, { 0, NULL } };
static const struct bit outputs[] = { { MMQ_OUT_SCORE, "score" }, { MMQ_OUT_PROBABILITY, "probability" }, { MMQ_OUT_CONTRIBUTION, "contribution" },
	{ MMQ_OUT_LEAF, "leaf" }, { MMQ_OUT_INTERVAL, "interval" }, { 0, NULL } };
static const struct bit can[] = { { MMQ_CAN_WEIGHTS, "weights" }, { MMQ_CAN_WARM_START, "warm_start" }, { MMQ_CAN_CHECKPOINT, "checkpoint" },
	{ MMQ_CAN_MULTI_OUTPUT, "multi_output" }, { 0, NULL } };

static void
put_bits(struct mmq_buf *out, unsigned value, const struct bit *bits)
{
	size_t place = mmq_put_array_begin(out);
	uint32_t count = 0;
	for (; bits->name != NULL; bits++)
		if (value & bits->bit) {
			mmq_put_str(out, bits->name);
			count++;
		}
	mmq_put_array_end(out, place, count);
}

static void
put_engine(struct mmq_map *map, const struct mmq_engine *engine)
{
	mmq_map_text(map, "engine", engine->name);
	mmq_map_text(map, "summary", engine->summary);
	put_bits(mmq_map_key(map, "tasks"), engine->tasks, tasks);
	put_bits(mmq_map_key(map, "accepts"), engine->accepts, accepts);
	put_bits(mmq_map_key(map, "outputs"), engine->outputs, outputs);
	put_bits(mmq_map_key(map, "can"), engine->can, can);
}

/* "a b c" or "a|b|c" as a list. */
static void
put_words(struct mmq_buf *out, const char *words, const char *separator)
{
	size_t place = mmq_put_array_begin(out);
	uint32_t count = 0;
	for (const char *at = words; *at != '\0'; count++) {
		size_t length = strcspn(at, separator);
		mmq_put_strn(out, at, length);
		at += length + (at[length] != '\0');
	}
	mmq_put_array_end(out, place, count);
}

static void
put_param(struct mmq_buf *out, const struct mmq_param *param)
{
	static const char *const types[] = { [MMQ_P_BOOL] = "bool", [MMQ_P_INT] = "int", [MMQ_P_NUMBER] = "number", [MMQ_P_ENUM] = "enum",
		[MMQ_P_NUMBER_OR_ENUM] = "number|enum", [MMQ_P_INTS] = "list of int", [MMQ_P_NUMBERS] = "list of number", [MMQ_P_TEXT] = "text" };
	bool has_range = param->type != MMQ_P_BOOL && param->type != MMQ_P_ENUM && param->type != MMQ_P_TEXT;
	struct mmq_map map = mmq_map_begin(out);

	mmq_map_text(&map, "name", param->name);
	if (param->aliases != NULL)
		put_words(mmq_map_key(&map, "aliases"), param->aliases, " ");
	mmq_map_text(&map, "type", types[param->type]);
	mmq_map_text(&map, "default", param->def);
	if (has_range) {
		mmq_map_double(&map, "min", param->min);
		mmq_map_double(&map, "max", param->max);
	}
	if (param->choices != NULL)
		put_words(mmq_map_key(&map, "choices"), param->choices, "|");
	mmq_map_text(&map, "doc", param->doc);
	mmq_map_end(&map);
}

int
mmq_engine_list_reply(struct mmq_buf *out, const struct mmq_head *head, struct mmq_err *err)
{
	uint32_t count = 0;

	(void)err;
	mmq_reply_begin(out, head, 1);
	mmq_put_str(out, "engines");
	size_t place = mmq_put_array_begin(out);
	for (const struct mmq_engine *const *engine = mmq_engine_list(); *engine != NULL; engine++, count++) {
		struct mmq_map map = mmq_map_begin(out);
		put_engine(&map, *engine);
		mmq_map_end(&map);
	}
	mmq_put_array_end(out, place, count);
	return 0;
}

int
mmq_engine_get_reply(struct mmq_buf *out, const struct mmq_head *head, const struct mmq_work_item *item, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_text key, name = { 0 };
	char text[MMQ_NAME_MAX + 1];
	uint32_t pairs, params = 0;

	mmq_reader_init(&reader, item->body, item->body_bytes);
	if (mmq_want_map(&reader, "request", &pairs, err) == -1)
		return -1;
	for (uint32_t i = 0; i < pairs; i++) {
		if (mmq_want_key(&reader, "request", &key, err) == -1)
			return -1;
		if (!mmq_text_is(&key, "engine"))
			mmq_read_skip(&reader);
		else if (mmq_want_name(&reader, "engine", &name, err) == -1)
			return -1;
	}
	if (name.at == NULL)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "engine", "the name of an engine", "nothing");
	snprintf(text, sizeof(text), "%.*s", (int)name.size, name.at);
	const struct mmq_engine *engine = mmq_engine_find(text);
	if (engine == NULL)
		return mmq_err_value(err, MMQ_NOT_FOUND, "engine", "one that engine.list shows", "'%s'", text);

	size_t place = mmq_reply_begin_open(out, head);
	struct mmq_map map = { .buf = out, .place = place, .pairs = mmq_reply_pairs(head) };
	put_engine(&map, engine);
	size_t list = mmq_put_array_begin(mmq_map_key(&map, "params"));
	for (const struct mmq_param *param = engine->params; param->name != NULL; param++, params++)
		put_param(out, param);
	mmq_put_array_end(out, list, params);
	mmq_map_end(&map);
	return 0;
}
