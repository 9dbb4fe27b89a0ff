/* file.c: read to the end in growing steps; the size that stat tells is not believed, since a file may grow while it is read. */
#include "util/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "util/mem.h"

enum { STEP_BYTES = 1 << 18 };

static int
too_large(const char *name, size_t bytes_max, struct mmq_err *err)
{
	return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "%s has more than %zu bytes", name, bytes_max);
}

int
mmq_file_read(int fd, const char *name, size_t bytes_max, uint8_t **bytes_out, size_t *size_out, struct mmq_err *err)
{
	uint8_t *bytes = NULL;
	size_t size = 0, capacity = 0;

	for (;;) {
		if (size == capacity) {
			capacity = capacity * 2 + STEP_BYTES;
			bytes = mmq_grow(bytes, capacity, 1);
		}
		ssize_t got = read(fd, bytes + size, capacity - size);
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1) {
			mmq_err_set(err, MMQ_UNAVAILABLE, "reading %s: %s", name, strerror(errno));
			break;
		}
		if (got == 0) {
			*bytes_out = bytes;
			*size_out = size;
			return 0;
		}
		size += (size_t)got;
		if (size > bytes_max) {
			too_large(name, bytes_max, err);
			break;
		}
	}
	free(bytes);
	return -1;
}

int
mmq_gunzip(const uint8_t *bytes, size_t size, const char *name, size_t bytes_max, uint8_t **bytes_out, size_t *size_out, struct mmq_err *err)
{
	z_stream stream = { .next_in = (Bytef *)(uintptr_t)bytes };
	uint8_t *out = NULL;
	size_t used = 0, capacity = 0, left = size;
	int status = Z_OK;

	if (inflateInit2(&stream, 15 + 16) != Z_OK)
		return mmq_err_set(err, MMQ_INTERNAL, "zlib does not start: %s", stream.msg != NULL ? stream.msg : "no reason given");
	while (status != Z_STREAM_END || left > 0) {
		if (status == Z_STREAM_END && inflateReset(&stream) != Z_OK)  /* another member follows */
			break;
		if (used == capacity) {
			capacity = capacity * 2 + STEP_BYTES;
			out = mmq_grow(out, capacity, 1);
		}
		size_t room = capacity - used < (1u << 30) ? capacity - used : 1u << 30, feed = left < (1u << 30) ? left : 1u << 30;
		stream.avail_out = (uInt)room;
		stream.next_out = out + used;
		stream.avail_in = (uInt)feed;
		status = inflate(&stream, Z_NO_FLUSH);
		used += room - stream.avail_out;
		left -= feed - stream.avail_in;
		if ((status != Z_OK && status != Z_STREAM_END) || used > bytes_max)
			break;
		if (status == Z_OK && left == 0 && stream.avail_out > 0)
			break;  /* the input ended before the stream did */
	}
	inflateEnd(&stream);
	if (used > bytes_max) {
		too_large(name, bytes_max, err);
	} else if (status == Z_STREAM_END && left == 0) {
		*bytes_out = out;
		*size_out = used;
		return 0;
	} else {
		mmq_err_set(err, MMQ_INVALID_ARGUMENT, "%s is not a whole gzip file", name);
	}
	free(out);
	return -1;
}
