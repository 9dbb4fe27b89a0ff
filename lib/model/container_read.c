/* container_read.c: the header of a model file, read token by token; its bytes are not to be trusted.
 *
 * Tensors must follow one another exactly as the writer lays them, which leaves no gap that a hash does not cover
 * except padding, and padding must be zero. Mapping the file is container_open.c's work. */
#include "model/container_format.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "mpack/reader.h"
#include "util/mem.h"

enum { VALUES_MAX = 4096, TENSORS_MAX = 4096 };

/* The next value as a short ASCII name into out (MMQ_PART_KEY_MAX + 1). */
static bool
read_name(struct mmq_reader *reader, char *out)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token) || token.type != MMQ_T_STR || token.size > MMQ_PART_KEY_MAX || memchr(token.bytes, '\0', token.size) != NULL)
		return false;
	memcpy(out, token.bytes, token.size);
	out[token.size] = '\0';
	return true;
}

static bool
read_uint(struct mmq_reader *reader, uint64_t *value_out)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token) || token.type != MMQ_T_INT || token.i < 0)
		return false;
	*value_out = (uint64_t)token.i;
	return true;
}

static bool
read_array(struct mmq_reader *reader, size_t count_max, size_t *count_out)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token) || token.type != MMQ_T_ARRAY || token.size > count_max)
		return false;
	*count_out = token.size;
	return true;
}

static bool
read_texts(struct mmq_reader *reader, struct mmq_part *part, const char *key, size_t count)
{
	struct mmq_token token;
	char **texts = mmq_array(count, sizeof(*texts));
	bool ok = true;

	for (size_t i = 0; ok && i < count; i++) {
		ok = mmq_read(reader, &token) && token.type == MMQ_T_STR && memchr(token.bytes, '\0', token.size) == NULL;
		if (ok)
			texts[i] = mmq_strndup(token.bytes, token.size);
	}
	if (ok)
		mmq_part_put_texts(part, key, (const char *const *)texts, count);
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
	return ok;
}

static bool
read_value(struct mmq_reader *reader, struct mmq_part *part)
{
	char key[MMQ_PART_KEY_MAX + 1];
	struct mmq_token token;

	if (!read_name(reader, key) || mmq_part_find(part, key) != NULL || !mmq_read(reader, &token))
		return false;
	switch (token.type) {
	case MMQ_T_INT: mmq_part_put_int(part, key, token.i); return true;
	case MMQ_T_BOOL: mmq_part_put_bool(part, key, token.boolean); return true;
	case MMQ_T_FLOAT: mmq_part_put_double(part, key, token.f); return true;
	case MMQ_T_NIL: mmq_part_put_double(part, key, NAN); return true;
	case MMQ_T_ARRAY: return read_texts(reader, part, key, token.size);
	case MMQ_T_STR: {
		char *text = mmq_strndup(token.bytes, token.size);
		bool ok = strlen(text) == token.size;
		if (ok)
			mmq_part_put_text(part, key, text);
		free(text);
		return ok;
	}
	case MMQ_T_BIN: {
		if (token.size % sizeof(double) != 0)
			return false;
		double *values = mmq_array(token.size / sizeof(double), sizeof(double));  /* the message gives no alignment */
		memcpy(values, token.bytes, token.size);
		mmq_part_put_doubles(part, key, values, token.size / sizeof(double));
		free(values);
		return true;
	}
	default: return false;
	}
}

static bool
read_config(struct mmq_reader *reader, struct mmq_part *part)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token) || token.type != MMQ_T_MAP || token.size > VALUES_MAX)
		return false;
	for (uint32_t i = token.size; i > 0; i--)
		if (!read_value(reader, part))
			return false;
	return true;
}

static bool
read_dtype(struct mmq_reader *reader, enum mmq_dtype *dtype_out)
{
	struct mmq_token token;
	if (!mmq_read(reader, &token) || token.type != MMQ_T_STR)
		return false;
	int dtype = mmq_dtype_from_name(token.bytes, token.size);
	if (dtype == -1 || dtype == MMQ_STR)
		return false;
	*dtype_out = (enum mmq_dtype)dtype;
	return true;
}

struct tensor_head {
	char name[MMQ_PART_KEY_MAX + 1];
	enum mmq_dtype dtype;
	size_t rank;
	uint64_t shape[MMQ_TENSOR_RANK_MAX], at;
	const uint8_t *hash;
};

static bool
read_tensor_head(struct mmq_reader *reader, struct tensor_head *head)
{
	struct mmq_token map, key, token;
	unsigned seen = 0;

	*head = (struct tensor_head){ 0 };
	if (!mmq_read(reader, &map) || map.type != MMQ_T_MAP)
		return false;
	for (uint32_t i = 0; i < map.size; i++) {
		bool ok = mmq_read(reader, &key) && key.type == MMQ_T_STR;
		if (ok && mmq_read_is(&key, "name")) {
			ok = read_name(reader, head->name);
			seen |= 1;
		} else if (ok && mmq_read_is(&key, "dtype")) {
			ok = read_dtype(reader, &head->dtype);
			seen |= 2;
		} else if (ok && mmq_read_is(&key, "shape")) {
			ok = read_array(reader, MMQ_TENSOR_RANK_MAX, &head->rank) && head->rank > 0;
			for (size_t k = 0; ok && k < head->rank; k++)
				ok = read_uint(reader, &head->shape[k]);
			seen |= 4;
		} else if (ok && mmq_read_is(&key, "at")) {
			ok = read_uint(reader, &head->at);
			seen |= 8;
		} else if (ok && mmq_read_is(&key, "hash")) {
			ok = mmq_read(reader, &token) && token.type == MMQ_T_BIN && token.size == MMQ_CONTAINER_HASH_BYTES;
			head->hash = (const uint8_t *)token.bytes;
			seen |= 16;
		} else {
			ok = ok && mmq_read_skip(reader);
		}
		if (!ok)
			return false;
	}
	return seen == 31;
}

static int
read_tensor(struct mmq_reader *reader, struct mmq_part *part, struct mmq_container_places *places, struct mmq_err *err)
{
	struct tensor_head head;
	uint8_t hash[MMQ_CONTAINER_HASH_BYTES];

	if (!read_tensor_head(reader, &head) || mmq_part_find_tensor(part, head.name) != NULL)
		return mmq_container_lost(err, "a tensor's header entry is not readable");
	uint64_t bytes = mmq_dtype_bytes(head.dtype);
	for (size_t k = 0; k < head.rank; k++)
		if (__builtin_mul_overflow(bytes, head.shape[k], &bytes))
			return mmq_container_lost(err, "a tensor's shape overflows");
	if (head.at != places->next || bytes > places->end - places->next || mmq_container_padded(bytes) > places->end - places->next)
		return mmq_err_set(err, MMQ_DATA_LOSS, "model file is damaged: tensor '%s' does not lie where it should", head.name);
	places->next += mmq_container_padded(bytes);
	if (places->base == NULL) {
		mmq_part_put_tensor(part, head.name, head.dtype, (unsigned)head.rank, head.shape, NULL);
		return 0;
	}
	const uint8_t *data = places->base + head.at;
	if (places->verify) {
		crypto_generichash(hash, sizeof(hash), data, bytes, NULL, 0);
		if (memcmp(hash, head.hash, sizeof(hash)) != 0 || !mmq_container_is_zero(data + bytes, mmq_container_padded(bytes) - bytes))
			return mmq_err_set(err, MMQ_DATA_LOSS, "model file is damaged: the bytes of tensor '%s' changed", head.name);
	}
	mmq_part_put_tensor(part, head.name, head.dtype, (unsigned)head.rank, head.shape, data);
	return 0;
}

static bool
read_inputs(struct mmq_reader *reader, struct mmq_container *container, struct mmq_container_part *at)
{
	if (!read_array(reader, MMQ_CONTAINER_INPUTS_MAX, &at->inputs_count))
		return false;
	for (size_t i = 0; i < at->inputs_count; i++) {
		bool known = false;
		if (!read_name(reader, at->inputs[i]))
			return false;
		for (size_t k = 0; k < container->parts_count; k++)
			known |= strcmp(container->parts[k].id, at->inputs[i]) == 0;
		if (!known)
			return false;
	}
	return true;
}

static int
read_part(struct mmq_reader *reader, struct mmq_container *container, struct mmq_container_places *places, struct mmq_err *err)
{
	struct mmq_container_part *at = &container->parts[container->parts_count];
	struct mmq_part *part = &container->read[container->parts_count];
	struct mmq_token map, key;
	size_t count;
	uint64_t version = 0;

	at->part = part;
	mmq_part_init(part, false);
	if (!mmq_read(reader, &map) || map.type != MMQ_T_MAP)
		return mmq_container_lost(err, "a part is not a map");
	for (uint32_t i = 0; i < map.size; i++) {
		bool ok = mmq_read(reader, &key) && key.type == MMQ_T_STR;
		if (ok && mmq_read_is(&key, "id"))
			ok = read_name(reader, at->id);
		else if (ok && mmq_read_is(&key, "kind"))
			ok = read_name(reader, at->kind);
		else if (ok && mmq_read_is(&key, "name"))
			ok = read_name(reader, at->name);
		else if (ok && mmq_read_is(&key, "version"))
			ok = read_uint(reader, &version) && version <= UINT32_MAX;
		else if (ok && mmq_read_is(&key, "inputs"))
			ok = read_inputs(reader, container, at);
		else if (ok && mmq_read_is(&key, "config"))
			ok = read_config(reader, part);
		else if (ok && mmq_read_is(&key, "tensors")) {
			ok = read_array(reader, TENSORS_MAX, &count);
			for (size_t k = 0; ok && k < count; k++)
				if (read_tensor(reader, part, places, err) == -1)
					return -1;
		} else
			ok = ok && mmq_read_skip(reader);
		if (!ok)
			return mmq_container_lost(err, "a part's header entry is not readable");
	}
	at->version = (uint32_t)version;
	return 0;
}

static int
read_requires(struct mmq_reader *reader, struct mmq_err *err)
{
	struct mmq_token token;
	size_t count;

	if (!read_array(reader, 256, &count))
		return mmq_container_lost(err, "requires is not a list");
	for (size_t i = 0; i < count; i++) {
		bool known = false;
		if (!mmq_read(reader, &token) || token.type != MMQ_T_STR)
			return mmq_container_lost(err, "requires holds something else than text");
		for (size_t k = 0; k < sizeof(mmq_container_features) / sizeof(*mmq_container_features); k++)
			known |= mmq_read_is(&token, mmq_container_features[k]);
		if (!known)
			return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "model file needs '%.*s', which this version does not have",
			    (int)(token.size < 64 ? token.size : 64), token.bytes);
	}
	return 0;
}

int
mmq_container_parse(struct mmq_container *container, const uint8_t *header, size_t size, struct mmq_container_places *places, struct mmq_err *err)
{
	struct mmq_reader reader;
	struct mmq_token map, key;
	size_t count;

	mmq_reader_init(&reader, header, size);
	if (!mmq_read(&reader, &map) || map.type != MMQ_T_MAP)
		return mmq_container_lost(err, "the header is not a map");
	for (uint32_t i = 0; i < map.size; i++) {
		if (!mmq_read(&reader, &key) || key.type != MMQ_T_STR)
			return mmq_container_lost(err, "the header is not readable");
		if (mmq_read_is(&key, "requires")) {
			if (read_requires(&reader, err) == -1)
				return -1;
		} else if (mmq_read_is(&key, "parts")) {
			if (!read_array(&reader, MMQ_CONTAINER_PARTS_MAX, &count))
				return mmq_container_lost(err, "the list of parts is not readable");
			for (size_t k = 0; k < count; k++) {
				/* Counted first, so that a part read by half is freed with the rest. */
				if (container->parts_count == MMQ_CONTAINER_PARTS_MAX)
					return mmq_container_lost(err, "too many parts");
				int failed = read_part(&reader, container, places, err);
				container->parts_count++;
				if (failed)
					return -1;
			}
		} else if (!mmq_read_skip(&reader)) {
			return mmq_container_lost(err, "the header is not readable");
		}
	}
	if (!mmq_reader_is_done(&reader) || places->next != places->end)
		return mmq_container_lost(err, "there are bytes that no header entry speaks of");
	return 0;
}
