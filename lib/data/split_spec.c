/* split_spec.c: the request's `split` map, read and written. */
#include "data/split.h"

#include <string.h>

#include "mpack/writer.h"

static const char *const kind_names[] = { "random", "head", "modulo", "column", "folds" };
enum { KINDS = sizeof(kind_names) / sizeof(kind_names[0]) };

const char *
mmq_split_kind_name(enum mmq_split_kind kind)
{
	return kind_names[kind];
}

static int
refuse(struct mmq_err *err, const char *field, const char *want, const struct mmq_token *got)
{
	if (got->type == MMQ_T_STR)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "'%.*s'", (int)(got->size < 80 ? got->size : 80), got->bytes);
	if (got->type == MMQ_T_INT || got->type == MMQ_T_FLOAT)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%g", got->f);
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, field, want, "%s", mmq_type_name(got->type));
}

static int
read_share(double *share, const char *field, const struct mmq_token *token, struct mmq_err *err)
{
	if ((token->type != MMQ_T_INT && token->type != MMQ_T_FLOAT) || !(token->f >= 0 && token->f < 1))
		return refuse(err, field, "a share from 0 to below 1", token);
	*share = token->f;
	return 0;
}

static int
read_count(size_t *count, const char *field, int64_t max, const struct mmq_token *token, struct mmq_err *err)
{
	if (token->type != MMQ_T_INT || token->i < 1 || token->i > max)
		return refuse(err, field, "a positive integer within limits", token);
	*count = (size_t)token->i;
	return 0;
}

static int
read_key(struct mmq_split_spec *spec, const struct mmq_token *key, const struct mmq_token *token, struct mmq_err *err)
{
	size_t count = 0;

	if (mmq_read_is(key, "kind")) {
		for (int i = 0; i < KINDS; i++)
			if (mmq_read_is(token, kind_names[i])) {
				spec->kind = (enum mmq_split_kind)i;
				return 0;
			}
		return refuse(err, "split.kind", "random, head, modulo, column or folds", token);
	}
	if (mmq_read_is(key, "seed")) {
		if (token->type != MMQ_T_INT || token->i < 0)
			return refuse(err, "split.seed", "an integer of 0 or more", token);
		spec->seed = (uint64_t)token->i;
	} else if (mmq_read_is(key, "valid")) {
		spec->valid_is_set = true;
		return read_share(&spec->valid, "split.valid", token, err);
	} else if (mmq_read_is(key, "test")) {
		return read_share(&spec->test, "split.test", token, err);
	} else if (mmq_read_is(key, "refit")) {
		if (token->type != MMQ_T_BOOL)
			return refuse(err, "split.refit", "true or false", token);
		spec->refit = token->boolean;
	} else if (mmq_read_is(key, "rows")) {
		return read_count(&spec->head_rows, "split.rows", UINT32_MAX, token, err);
	} else if (mmq_read_is(key, "modulo")) {
		return read_count(&spec->modulo, "split.modulo", UINT32_MAX, token, err);
	} else if (mmq_read_is(key, "folds")) {
		if (read_count(&count, "split.folds", MMQ_SPLIT_FOLDS_MAX, token, err) == -1)
			return -1;
		spec->folds = (uint32_t)count;
	} else if (mmq_read_is(key, "column")) {
		if (token->type != MMQ_T_STR || token->size == 0 || token->size > MMQ_SPLIT_COLUMN_MAX || memchr(token->bytes, 0, token->size) != NULL)
			return refuse(err, "split.column", "a column name of at most 127 bytes", token);
		memcpy(spec->column, token->bytes, token->size);
		spec->column[token->size] = '\0';
	}
	return 0;
}

int
mmq_split_read(struct mmq_split_spec *spec, struct mmq_reader *in, struct mmq_err *err)
{
	struct mmq_token map, key, value;

	if (mmq_read(in, &map) && map.type != MMQ_T_MAP)
		return refuse(err, "split", "a map", &map);
	for (uint32_t i = 0; in->why == NULL && i < map.size; i++) {
		struct mmq_reader at;
		if (!mmq_read(in, &key))
			break;
		at = *in;
		if (!mmq_read_skip(in) || !mmq_read(&at, &value))
			break;
		if (read_key(spec, &key, &value, err) == -1)
			return -1;
	}
	if (in->why != NULL)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "split: not readable: %s", in->why);
	if (spec->valid + spec->test >= 1)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "split", "valid + test below 1", "%g + %g", spec->valid, spec->test);
	return 0;
}

void
mmq_split_write(const struct mmq_split_spec *spec, struct mmq_buf *out)
{
	size_t place = mmq_put_map_begin(out);
	uint32_t pairs = 5;

	mmq_put_str(out, "kind");
	mmq_put_str(out, kind_names[spec->kind]);
	mmq_put_str(out, "seed");
	mmq_put_uint(out, spec->seed);
	mmq_put_str(out, "valid");
	mmq_put_double(out, spec->valid);
	mmq_put_str(out, "test");
	mmq_put_double(out, spec->test);
	mmq_put_str(out, "refit");
	mmq_put_bool(out, spec->refit);
	if (spec->kind == MMQ_SPLIT_HEAD && spec->head_rows > 0) {
		mmq_put_str(out, "rows");
		mmq_put_uint(out, spec->head_rows);
		pairs++;
	} else if (spec->kind == MMQ_SPLIT_MODULO && spec->modulo > 0) {
		mmq_put_str(out, "modulo");
		mmq_put_uint(out, spec->modulo);
		pairs++;
	} else if (spec->kind == MMQ_SPLIT_FOLDS) {
		mmq_put_str(out, "folds");
		mmq_put_uint(out, spec->folds);
		pairs++;
	} else if (spec->kind == MMQ_SPLIT_COLUMN) {
		mmq_put_str(out, "column");
		mmq_put_str(out, spec->column);
		pairs++;
	}
	mmq_put_map_end(out, place, pairs);
}
