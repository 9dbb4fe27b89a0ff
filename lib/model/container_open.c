/* container_open.c: mapping a model file and checking it in order: sizes, header hash, header, tensors. */
#include "model/container_format.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mem.h"

static uint64_t
get_le(const uint8_t *at, unsigned width)
{
	uint64_t value = 0;
	for (unsigned i = width; i > 0; i--)
		value = value << 8 | at[i - 1];
	return value;
}

int
mmq_container_lost(struct mmq_err *err, const char *what)
{
	return mmq_err_set(err, MMQ_DATA_LOSS, "model file is damaged: %s", what);
}

bool
mmq_container_is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* Prefix, sizes and header hash of the first bytes; available: how many bytes there are at `bytes`, file_size: in the whole file. */
static int
check_prefix(const uint8_t *bytes, size_t available, uint64_t file_size, size_t *header_bytes_out, struct mmq_err *err)
{
	if (available < MMQ_CONTAINER_PREFIX_BYTES || memcmp(bytes, mmq_container_magic, sizeof(mmq_container_magic)) != 0)
		return mmq_container_lost(err, "it does not begin like a model file");
	uint64_t major = get_le(bytes + 8, 2), header_bytes = get_le(bytes + 12, 4);
	if (header_bytes > MMQ_CONTAINER_HEADER_MAX || get_le(bytes + 16, 8) != file_size || file_size > SIZE_MAX / 2 ||
	    mmq_container_padded(MMQ_CONTAINER_PREFIX_BYTES + header_bytes + MMQ_CONTAINER_HASH_BYTES) > file_size)
		return mmq_container_lost(err, "its size is not what it should be");
	*header_bytes_out = (size_t)header_bytes;
	size_t covered = MMQ_CONTAINER_PREFIX_BYTES + (size_t)header_bytes;
	if (available < covered + MMQ_CONTAINER_HASH_BYTES)
		return 0;  /* the caller reads on and comes back */
	uint8_t hash[MMQ_CONTAINER_HASH_BYTES];
	crypto_generichash(hash, sizeof(hash), bytes, covered, NULL, 0);
	if (memcmp(hash, bytes + covered, sizeof(hash)) != 0)
		return mmq_container_lost(err, "the header's bytes changed");
	if (major != MMQ_CONTAINER_MAJOR)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "model file has format %u, this version reads %u", (unsigned)major,
		    (unsigned)MMQ_CONTAINER_MAJOR);
	return 0;
}

static int
file_size(int fd, uint64_t *size_out, struct mmq_err *err)
{
	struct stat info;
	if (fstat(fd, &info) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "model file: fstat: %s", strerror(errno));
	if (!S_ISREG(info.st_mode) || info.st_size < MMQ_CONTAINER_PREFIX_BYTES)
		return mmq_container_lost(err, "it is too short or not a regular file");
	*size_out = (uint64_t)info.st_size;
	return 0;
}

int
mmq_container_open(struct mmq_container **container_out, int fd, bool verify, struct mmq_err *err)
{
	uint64_t size;
	size_t header_bytes;

	*container_out = NULL;
	if (file_size(fd, &size, err) == -1)
		return -1;
	if (sodium_init() == -1)  /* picks the fast hash; harmless when done before */
		return mmq_err_set(err, MMQ_INTERNAL, "libsodium does not start");
	struct mmq_container *container = mmq_alloc(sizeof(*container));
	void *mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED) {
		mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "model file: mmap: %s", strerror(errno));
		goto fail;
	}
	container->bytes = mapped;
	container->size = size;
	if (check_prefix(mapped, size, size, &header_bytes, err) == -1)
		goto fail;
	size_t head = MMQ_CONTAINER_PREFIX_BYTES + header_bytes + MMQ_CONTAINER_HASH_BYTES, start = mmq_container_padded(head);
	if (!mmq_container_is_zero(container->bytes + head, start - head)) {
		mmq_container_lost(err, "padding is not zero");
		goto fail;
	}
	struct mmq_container_places places = { .base = container->bytes + start, .end = size - start, .verify = verify };
	if (mmq_container_parse(container, container->bytes + MMQ_CONTAINER_PREFIX_BYTES, header_bytes, &places, err) == -1)
		goto fail;
	*container_out = container;
	return 0;
fail:
	mmq_container_close(&container);
	return -1;
}

static int
read_exactly(int fd, uint8_t *bytes, size_t size, struct mmq_err *err)
{
	for (size_t at = 0; at < size;) {
		ssize_t got = pread(fd, bytes + at, size - at, (off_t)at);
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			return mmq_err_set(err, MMQ_UNAVAILABLE, "model file: read: %s", strerror(errno));
		if (got == 0)
			return mmq_container_lost(err, "it is cut short");
		at += (size_t)got;
	}
	return 0;
}

int
mmq_container_read_header(struct mmq_container **container_out, int fd, struct mmq_err *err)
{
	uint8_t prefix[MMQ_CONTAINER_PREFIX_BYTES], *bytes = NULL;
	uint64_t size;
	size_t header_bytes;

	*container_out = NULL;
	if (file_size(fd, &size, err) == -1 || read_exactly(fd, prefix, sizeof(prefix), err) == -1 ||
	    check_prefix(prefix, sizeof(prefix), size, &header_bytes, err) == -1)
		return -1;
	struct mmq_container *container = mmq_alloc(sizeof(*container));
	size_t head = sizeof(prefix) + header_bytes + MMQ_CONTAINER_HASH_BYTES;
	struct mmq_container_places places = { .end = size - mmq_container_padded(head) };
	bytes = mmq_alloc(head);
	if (read_exactly(fd, bytes, head, err) == -1 || check_prefix(bytes, head, size, &header_bytes, err) == -1 ||
	    mmq_container_parse(container, bytes + sizeof(prefix), header_bytes, &places, err) == -1)
		mmq_container_close(&container);
	free(bytes);
	*container_out = container;
	return container == NULL ? -1 : 0;
}

void
mmq_container_close(struct mmq_container **container)
{
	if (*container == NULL)
		return;
	for (size_t i = 0; i < (*container)->parts_count; i++)
		mmq_part_fini(&(*container)->read[i]);
	if ((*container)->bytes != NULL)
		munmap((void *)(*container)->bytes, (*container)->size);
	free(*container);
	*container = NULL;
}

const struct mmq_container_part *
mmq_container_find(const struct mmq_container *container, const char *kind)
{
	for (size_t i = 0; i < container->parts_count; i++)
		if (strcmp(container->parts[i].kind, kind) == 0)
			return &container->parts[i];
	return NULL;
}
