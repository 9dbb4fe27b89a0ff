/* part.c: the key/values and tensors of one piece of a model. */
#include "data/part.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/mem.h"

static const struct {
	const char *name;
	size_t bytes;
} dtypes[MMQ_DTYPE_COUNT] = {
	[MMQ_BOOL] = { "bool", 1 }, [MMQ_U8] = { "u8", 1 }, [MMQ_I8] = { "i8", 1 }, [MMQ_I16] = { "i16", 2 }, [MMQ_I32] = { "i32", 4 },
	[MMQ_I64] = { "i64", 8 }, [MMQ_F16] = { "f16", 2 }, [MMQ_F32] = { "f32", 4 }, [MMQ_F64] = { "f64", 8 }, [MMQ_STR] = { "str", 0 },
	[MMQ_U16] = { "u16", 2 }, [MMQ_U32] = { "u32", 4 }, [MMQ_U64] = { "u64", 8 },
};

size_t
mmq_dtype_bytes(enum mmq_dtype dtype)
{
	return dtypes[dtype].bytes;
}

const char *
mmq_dtype_name(enum mmq_dtype dtype)
{
	return dtypes[dtype].name;
}

int
mmq_dtype_from_name(const char *name, size_t size)
{
	for (int i = 0; i < MMQ_DTYPE_COUNT; i++)
		if (strlen(dtypes[i].name) == size && memcmp(dtypes[i].name, name, size) == 0)
			return i;
	return -1;
}

void
mmq_part_init(struct mmq_part *part, bool owns_tensors)
{
	*part = (struct mmq_part){ .owns_tensors = owns_tensors };
}

void
mmq_part_fini(struct mmq_part *part)
{
	for (size_t i = 0; i < part->values_count; i++) {
		struct mmq_value *value = &part->values[i];
		for (size_t k = 0; value->texts != NULL && k < value->count; k++)
			free(value->texts[k]);
		free(value->texts);
		free(value->doubles);
	}
	for (size_t i = 0; part->owns_tensors && i < part->tensors_count; i++)
		free((void *)part->tensors[i].data);
	free(part->values);
	free(part->tensors);
	*part = (struct mmq_part){ .owns_tensors = part->owns_tensors };
}

static struct mmq_value *
value_new(struct mmq_part *part, const char *key, enum mmq_value_type type)
{
	assert(strlen(key) <= MMQ_PART_KEY_MAX && mmq_part_find(part, key) == NULL);
	if (part->values_count == part->values_capacity) {
		part->values_capacity = part->values_capacity * 2 + 8;
		part->values = mmq_grow(part->values, part->values_capacity, sizeof(*part->values));
	}
	struct mmq_value *value = &part->values[part->values_count++];
	*value = (struct mmq_value){ .type = type };
	snprintf(value->key, sizeof(value->key), "%s", key);
	return value;
}

void
mmq_part_put_int(struct mmq_part *part, const char *key, int64_t value)
{
	value_new(part, key, MMQ_V_INT)->i = value;
}

void
mmq_part_put_bool(struct mmq_part *part, const char *key, bool value)
{
	value_new(part, key, MMQ_V_BOOL)->i = value;
}

void
mmq_part_put_double(struct mmq_part *part, const char *key, double value)
{
	value_new(part, key, MMQ_V_DOUBLE)->f = value;
}

static void
put_texts(struct mmq_part *part, const char *key, enum mmq_value_type type, const char *const *texts, size_t count)
{
	struct mmq_value *value = value_new(part, key, type);
	value->count = count;
	value->texts = mmq_array(count, sizeof(*value->texts));
	for (size_t i = 0; i < count; i++)
		value->texts[i] = mmq_strdup(texts[i]);
}

void
mmq_part_put_text(struct mmq_part *part, const char *key, const char *value)
{
	put_texts(part, key, MMQ_V_TEXT, &value, 1);
}

void
mmq_part_put_texts(struct mmq_part *part, const char *key, const char *const *values, size_t count)
{
	put_texts(part, key, MMQ_V_TEXTS, values, count);
}

void
mmq_part_put_doubles(struct mmq_part *part, const char *key, const double *values, size_t count)
{
	struct mmq_value *value = value_new(part, key, MMQ_V_DOUBLES);
	value->count = count;
	value->doubles = mmq_array(count, sizeof(double));
	if (count > 0)
		memcpy(value->doubles, values, count * sizeof(double));
}

void
mmq_part_put_tensor(struct mmq_part *part, const char *name, enum mmq_dtype dtype, unsigned rank, const uint64_t *shape, const void *data)
{
	assert(strlen(name) <= MMQ_PART_KEY_MAX && mmq_part_find_tensor(part, name) == NULL);
	assert(rank >= 1 && rank <= MMQ_TENSOR_RANK_MAX && dtype != MMQ_STR);
	if (part->tensors_count == part->tensors_capacity) {
		part->tensors_capacity = part->tensors_capacity * 2 + 8;
		part->tensors = mmq_grow(part->tensors, part->tensors_capacity, sizeof(*part->tensors));
	}
	struct mmq_tensor *tensor = &part->tensors[part->tensors_count++];
	*tensor = (struct mmq_tensor){ .dtype = dtype, .rank = rank, .bytes = mmq_dtype_bytes(dtype), .data = data };
	snprintf(tensor->name, sizeof(tensor->name), "%s", name);
	for (unsigned i = 0; i < rank; i++) {
		tensor->shape[i] = shape[i];
		tensor->bytes *= shape[i];
	}
	if (part->owns_tensors) {
		void *copy = mmq_aligned(tensor->bytes);
		if (tensor->bytes > 0)
			memcpy(copy, data, tensor->bytes);
		tensor->data = copy;
	}
}

void
mmq_part_put_vector(struct mmq_part *part, const char *name, enum mmq_dtype dtype, uint64_t count, const void *data)
{
	mmq_part_put_tensor(part, name, dtype, 1, &count, data);
}

void
mmq_part_put_matrix(struct mmq_part *part, const char *name, enum mmq_dtype dtype, uint64_t rows, uint64_t cols, const void *data)
{
	mmq_part_put_tensor(part, name, dtype, 2, (uint64_t[2]){ rows, cols }, data);
}

const struct mmq_value *
mmq_part_find(const struct mmq_part *part, const char *key)
{
	for (size_t i = 0; i < part->values_count; i++)
		if (strcmp(part->values[i].key, key) == 0)
			return &part->values[i];
	return NULL;
}

const struct mmq_tensor *
mmq_part_find_tensor(const struct mmq_part *part, const char *name)
{
	for (size_t i = 0; i < part->tensors_count; i++)
		if (strcmp(part->tensors[i].name, name) == 0)
			return &part->tensors[i];
	return NULL;
}

static const struct mmq_value *
get(const struct mmq_part *part, const char *key, enum mmq_value_type type, struct mmq_err *err)
{
	const struct mmq_value *value = mmq_part_find(part, key);
	if (value == NULL || value->type != type) {
		mmq_err_set(err, MMQ_DATA_LOSS, "model value '%s' is %s", key, value == NULL ? "absent" : "of another type");
		return NULL;
	}
	return value;
}

int
mmq_part_get_int(const struct mmq_part *part, const char *key, int64_t min, int64_t max, int64_t *value_out, struct mmq_err *err)
{
	const struct mmq_value *value = get(part, key, MMQ_V_INT, err);
	if (value == NULL)
		return -1;
	if (value->i < min || value->i > max)
		return mmq_err_set(err, MMQ_DATA_LOSS, "model value '%s': got %lld, want %lld to %lld", key, (long long)value->i,
		    (long long)min, (long long)max);
	*value_out = value->i;
	return 0;
}

int
mmq_part_get_bool(const struct mmq_part *part, const char *key, bool *value_out, struct mmq_err *err)
{
	const struct mmq_value *value = get(part, key, MMQ_V_BOOL, err);
	if (value == NULL)
		return -1;
	*value_out = value->i != 0;
	return 0;
}

int
mmq_part_get_double(const struct mmq_part *part, const char *key, double *value_out, struct mmq_err *err)
{
	const struct mmq_value *value = get(part, key, MMQ_V_DOUBLE, err);
	if (value == NULL)
		return -1;
	if (!isfinite(value->f))
		return mmq_err_set(err, MMQ_DATA_LOSS, "model value '%s' is not finite", key);
	*value_out = value->f;
	return 0;
}

int
mmq_part_get_text(const struct mmq_part *part, const char *key, const char **value_out, struct mmq_err *err)
{
	const struct mmq_value *value = get(part, key, MMQ_V_TEXT, err);
	if (value == NULL)
		return -1;
	*value_out = value->texts[0];
	return 0;
}

int
mmq_part_get_texts(const struct mmq_part *part, const char *key, const char *const **values_out, size_t *count_out, struct mmq_err *err)
{
	const struct mmq_value *value = get(part, key, MMQ_V_TEXTS, err);
	if (value == NULL)
		return -1;
	*values_out = (const char *const *)value->texts;
	*count_out = value->count;
	return 0;
}

int
mmq_part_get_doubles(const struct mmq_part *part, const char *key, const double **values_out, size_t *count_out, struct mmq_err *err)
{
	const struct mmq_value *value = get(part, key, MMQ_V_DOUBLES, err);
	if (value == NULL)
		return -1;
	*values_out = value->doubles;
	*count_out = value->count;
	return 0;
}

int
mmq_part_get_tensor(const struct mmq_part *part, const char *name, enum mmq_dtype dtype, unsigned rank, const uint64_t *shape_want,
    const struct mmq_tensor **tensor_out, struct mmq_err *err)
{
	const struct mmq_tensor *tensor = mmq_part_find_tensor(part, name);
	if (tensor == NULL)
		return mmq_err_set(err, MMQ_DATA_LOSS, "model tensor '%s' is absent", name);
	if (tensor->dtype != dtype || tensor->rank != rank)
		return mmq_err_set(err, MMQ_DATA_LOSS, "model tensor '%s': got %s of rank %u, want %s of rank %u", name,
		    mmq_dtype_name(tensor->dtype), tensor->rank, mmq_dtype_name(dtype), rank);
	for (unsigned i = 0; i < rank; i++)
		if (shape_want[i] != UINT64_MAX && tensor->shape[i] != shape_want[i])
			return mmq_err_set(err, MMQ_DATA_LOSS, "model tensor '%s': axis %u has %llu entries, want %llu", name, i,
			    (unsigned long long)tensor->shape[i], (unsigned long long)shape_want[i]);
	*tensor_out = tensor;
	return 0;
}
