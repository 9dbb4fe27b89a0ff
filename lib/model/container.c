/* container.c: writing a model file. The header is encoded with the tensors' places and hashes already known, since
 * places depend only on sizes: offsets are counted from the end of the header block, which keeps the header's own
 * length out of its content. */
#include "model/container_format.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "mpack/writer.h"
#include "util/mem.h"

static void
put_le(uint8_t *at, uint64_t value, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static void
put_config(struct mmq_buf *out, const struct mmq_part *part)
{
	mmq_put_map(out, part->values_count);
	for (size_t i = 0; i < part->values_count; i++) {
		const struct mmq_value *value = &part->values[i];
		mmq_put_str(out, value->key);
		switch (value->type) {
		case MMQ_V_INT: mmq_put_int(out, value->i); break;
		case MMQ_V_BOOL: mmq_put_bool(out, value->i != 0); break;
		case MMQ_V_DOUBLE: mmq_put_double(out, value->f); break;
		case MMQ_V_TEXT: mmq_put_str(out, value->texts[0]); break;
		case MMQ_V_DOUBLES: mmq_put_bin(out, value->doubles, value->count * sizeof(double)); break;
		case MMQ_V_TEXTS:
			mmq_put_array(out, value->count);
			for (size_t k = 0; k < value->count; k++)
				mmq_put_str(out, value->texts[k]);
			break;
		}
	}
}

static void
put_tensors(struct mmq_buf *out, const struct mmq_part *part, uint64_t *place)
{
	mmq_put_array(out, part->tensors_count);
	for (size_t i = 0; i < part->tensors_count; i++) {
		const struct mmq_tensor *tensor = &part->tensors[i];
		uint8_t hash[MMQ_CONTAINER_HASH_BYTES];
		crypto_generichash(hash, sizeof(hash), tensor->data, tensor->bytes, NULL, 0);
		mmq_put_map(out, 5);
		mmq_put_str(out, "name");
		mmq_put_str(out, tensor->name);
		mmq_put_str(out, "dtype");
		mmq_put_str(out, mmq_dtype_name(tensor->dtype));
		mmq_put_str(out, "shape");
		mmq_put_array(out, tensor->rank);
		for (unsigned k = 0; k < tensor->rank; k++)
			mmq_put_uint(out, tensor->shape[k]);
		mmq_put_str(out, "at");
		mmq_put_uint(out, *place);
		mmq_put_str(out, "hash");
		mmq_put_bin(out, hash, sizeof(hash));
		*place += mmq_container_padded(tensor->bytes);
	}
}

/* The msgpack header; *tensor_bytes_out: what all padded tensors take. */
static void
put_header(struct mmq_buf *out, const struct mmq_container_part *parts, size_t parts_count, uint64_t *tensor_bytes_out)
{
	uint64_t place = 0;
	size_t features = 1;

	/* A reader that knew nothing of calibration would answer other probabilities. */
	for (size_t i = 0; i < parts_count; i++)
		features = strcmp(parts[i].kind, "calibrate") == 0 ? 2 : features;
	mmq_put_map(out, 2);
	mmq_put_str(out, "requires");
	mmq_put_array(out, features);
	for (size_t i = 0; i < features; i++)
		mmq_put_str(out, mmq_container_features[i]);
	mmq_put_str(out, "parts");
	mmq_put_array(out, parts_count);
	for (size_t i = 0; i < parts_count; i++) {
		mmq_put_map(out, 7);
		mmq_put_str(out, "id");
		mmq_put_str(out, parts[i].id);
		mmq_put_str(out, "kind");
		mmq_put_str(out, parts[i].kind);
		mmq_put_str(out, "name");
		mmq_put_str(out, parts[i].name);
		mmq_put_str(out, "version");
		mmq_put_uint(out, parts[i].version);
		mmq_put_str(out, "inputs");
		mmq_put_array(out, parts[i].inputs_count);
		for (size_t k = 0; k < parts[i].inputs_count; k++)
			mmq_put_str(out, parts[i].inputs[k]);
		mmq_put_str(out, "config");
		put_config(out, parts[i].part);
		mmq_put_str(out, "tensors");
		put_tensors(out, parts[i].part, &place);
	}
	*tensor_bytes_out = place;
}

static int
write_all(int fd, const void *bytes, size_t size, struct mmq_err *err)
{
	const uint8_t *at = bytes;
	while (size > 0) {
		ssize_t wrote = write(fd, at, size);
		if (wrote == -1 && errno == EINTR)
			continue;
		if (wrote == -1)
			return mmq_err_set(err, errno == ENOSPC || errno == EDQUOT ? MMQ_RESOURCE_EXHAUSTED : MMQ_UNAVAILABLE,
			    "model file: write: %s", strerror(errno));
		at += wrote;
		size -= (size_t)wrote;
	}
	return 0;
}

static int
write_padded(int fd, const void *bytes, size_t size, struct mmq_err *err)
{
	static const uint8_t zeros[MMQ_CONTAINER_ALIGN];
	if (write_all(fd, bytes, size, err) == -1)
		return -1;
	return write_all(fd, zeros, mmq_container_padded(size) - size, err);
}

int
mmq_container_write(int fd, const struct mmq_container_part *parts, size_t parts_count, struct mmq_err *err)
{
	struct mmq_buf head;
	uint64_t tensor_bytes;
	int result = -1;

	assert(parts_count <= MMQ_CONTAINER_PARTS_MAX);
	if (sodium_init() == -1)  /* picks the fast hash; harmless when done before */
		return mmq_err_set(err, MMQ_INTERNAL, "libsodium does not start");
	mmq_buf_init(&head, MMQ_CONTAINER_HEADER_MAX + MMQ_CONTAINER_PREFIX_BYTES + MMQ_CONTAINER_HASH_BYTES);
	mmq_buf_extend(&head, MMQ_CONTAINER_PREFIX_BYTES);
	put_header(&head, parts, parts_count, &tensor_bytes);
	size_t covered = head.size;
	uint8_t *hash = mmq_buf_extend(&head, MMQ_CONTAINER_HASH_BYTES);
	if (hash == NULL) {
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "model file: the header is larger than %u MiB", MMQ_CONTAINER_HEADER_MAX >> 20);
		goto out;
	}
	memcpy(head.bytes, mmq_container_magic, 8);
	put_le(head.bytes + 8, MMQ_CONTAINER_MAJOR, 2);
	put_le(head.bytes + 10, MMQ_CONTAINER_MINOR, 2);
	put_le(head.bytes + 12, covered - MMQ_CONTAINER_PREFIX_BYTES, 4);
	put_le(head.bytes + 16, mmq_container_padded(head.size) + tensor_bytes, 8);
	crypto_generichash(hash, MMQ_CONTAINER_HASH_BYTES, head.bytes, covered, NULL, 0);
	if (write_padded(fd, head.bytes, head.size, err) == -1)
		goto out;
	for (size_t i = 0; i < parts_count; i++)
		for (size_t k = 0; k < parts[i].part->tensors_count; k++)
			if (write_padded(fd, parts[i].part->tensors[k].data, parts[i].part->tensors[k].bytes, err) == -1)
				goto out;
	result = 0;
out:
	mmq_buf_fini(&head);
	return result;
}
