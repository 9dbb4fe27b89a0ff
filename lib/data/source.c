/* source.c: where a file may be, which reader takes it, and what it hashed to.
 *
 * A path is resolved first, compared with the allowed folders, opened, and then the opened file's own path is compared
 * again: a link that is switched in between is caught. */
#include "data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/csv.h"
#include "data/idx.h"
#include "data/jsonl.h"
#include "data/libsvm.h"
#include "data/npy.h"
#include "util/file.h"

static const char *const format_names[] = { "auto", "csv", "libsvm", "idx", "npy", "jsonl" };
enum { FORMATS = sizeof(format_names) / sizeof(format_names[0]) };

const char *
mmq_format_name(enum mmq_format format)
{
	return format_names[format];
}

int
mmq_format_from_name(const char *name, size_t size)
{
	for (int i = 0; i < FORMATS; i++)
		if (strlen(format_names[i]) == size && memcmp(format_names[i], name, size) == 0)
			return i;
	return -1;
}

static bool
ends_with(const char *text, size_t size, const char *tail)
{
	size_t tail_size = strlen(tail);
	return size >= tail_size && memcmp(text + size - tail_size, tail, tail_size) == 0;
}

enum mmq_format
mmq_format_guess(const char *file)
{
	static const struct { const char *tail; enum mmq_format format; } tails[] = {
		{ ".csv", MMQ_FORMAT_CSV }, { ".tsv", MMQ_FORMAT_CSV }, { ".libsvm", MMQ_FORMAT_LIBSVM }, { ".svm", MMQ_FORMAT_LIBSVM },
		{ ".svmlight", MMQ_FORMAT_LIBSVM }, { "-ubyte", MMQ_FORMAT_IDX }, { ".idx", MMQ_FORMAT_IDX }, { ".npy", MMQ_FORMAT_NPY },
		{ ".jsonl", MMQ_FORMAT_JSONL }, { ".ndjson", MMQ_FORMAT_JSONL },
	};
	size_t size = strlen(file);

	if (ends_with(file, size, ".gz"))
		size -= 3;
	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++)
		if (ends_with(file, size, tails[i].tail))
			return tails[i].format;
	return MMQ_FORMAT_AUTO;
}

static bool
is_inside(const char *path, const char *folder)
{
	size_t size = strlen(folder);
	while (size > 1 && folder[size - 1] == '/')
		size--;
	if (size == 1 && folder[0] == '/')
		return true;
	return strncmp(path, folder, size) == 0 && path[size] == '/';
}

static int
deny(const char *file, struct mmq_err *err)
{
	return mmq_err_value(err, MMQ_PERMISSION_DENIED, "file", "a regular file inside a folder that the configuration allows for data", "'%.80s'", file);
}

static bool
is_allowed(const char *resolved, const char *const *folders, size_t folders_count)
{
	char folder[PATH_MAX];

	for (size_t i = 0; i < folders_count; i++)
		if (realpath(folders[i], folder) != NULL && is_inside(resolved, folder))
			return true;
	return false;
}

/* NOT_FOUND only where the folder of the file is allowed: whether a file outside exists is not told. */
static int
refuse_absent(const char *file, const char *const *folders, size_t folders_count, struct mmq_err *err)
{
	char folder[PATH_MAX] = ".", resolved[PATH_MAX];
	const char *slash = strrchr(file, '/');

	size_t folder_size = slash != NULL ? (size_t)(slash - file) + 1 : 0;
	if (folder_size >= sizeof(folder))
		return deny(file, err);
	if (folder_size > 0) {
		memcpy(folder, file, folder_size);
		folder[folder_size] = '\0';
	}
	if (realpath(folder, resolved) == NULL)
		return deny(file, err);
	snprintf(folder, sizeof(folder), "%.*s/", PATH_MAX - 2, resolved);
	if (!is_allowed(folder, folders, folders_count))
		return deny(file, err);
	return mmq_err_value(err, MMQ_NOT_FOUND, "file", "a file that exists", "'%.80s'", file);
}

/* A descriptor of an allowed regular file. */
static int
open_allowed(const char *file, const char *const *folders, size_t folders_count, int *fd_out, struct mmq_err *err)
{
	char resolved[PATH_MAX], opened[PATH_MAX], link[64];
	struct stat status;

	if (realpath(file, resolved) == NULL)
		return refuse_absent(file, folders, folders_count, err);
	if (!is_allowed(resolved, folders, folders_count))
		return deny(file, err);
	int fd = open(resolved, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return mmq_err_set(err, errno == EACCES ? MMQ_PERMISSION_DENIED : MMQ_UNAVAILABLE, "opening %s: %s", file, strerror(errno));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, opened, sizeof(opened) - 1);
	if (size >= 0)
		opened[size] = '\0';
	if (fstat(fd, &status) == -1 || !S_ISREG(status.st_mode) || size < 0 || strcmp(opened, resolved) != 0) {
		close(fd);
		return deny(file, err);
	}
	*fd_out = fd;
	return 0;
}

int
mmq_source_bytes(const char *file, const char *const *folders, size_t folders_count, size_t bytes_max, uint8_t **bytes_out, size_t *size_out,
    struct mmq_err *err)
{
	size_t packed_size;
	uint8_t *packed;
	int fd;

	if (open_allowed(file, folders, folders_count, &fd, err) == -1)
		return -1;
	int result = mmq_file_read(fd, file, bytes_max, &packed, &packed_size, err);
	close(fd);
	if (result == -1)
		return -1;
	if (packed_size < 2 || packed[0] != 0x1f || packed[1] != 0x8b) {
		*bytes_out = packed;
		*size_out = packed_size;
		return 0;
	}
	result = mmq_gunzip(packed, packed_size, file, bytes_max, bytes_out, size_out, err);
	free(packed);
	return result;
}

static int
parse(struct mmq_frame *frame, const struct mmq_source *source, enum mmq_format format, const char *name, const void *bytes, size_t size,
    struct mmq_err *err)
{
	const char *const *names = (const char *const *)source->names;
	size_t name_size = strlen(name);
	bool is_tabs = ends_with(name, name_size, ".tsv") || ends_with(name, name_size, ".tsv.gz");

	switch (format) {
	case MMQ_FORMAT_CSV:
		return mmq_csv_read(frame, bytes, size, name, &(struct mmq_csv_options){ .limits = source->limits, .names = names,
		    .names_count = source->names_count, .schema = source->schema,
		    .delimiter = source->delimiter != 0 ? source->delimiter : is_tabs ? '\t' : ',' }, err);
	case MMQ_FORMAT_LIBSVM:
		return mmq_libsvm_read(frame, bytes, size, name, &(struct mmq_libsvm_options){ .limits = source->limits, .width = source->width }, err);
	case MMQ_FORMAT_IDX:
		return mmq_idx_read(frame, names != NULL ? names[0] : "image", bytes, size, name, &source->limits, err);
	case MMQ_FORMAT_NPY:
		return mmq_npy_read(frame, source->names_count == 1 ? names[0] : "x", names, source->names_count, bytes, size, name, &source->limits, err);
	case MMQ_FORMAT_JSONL:
		return mmq_jsonl_read(frame, bytes, size, name, names, source->names_count, &source->limits, err);
	case MMQ_FORMAT_AUTO:
		break;
	}
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "format", "csv, libsvm, idx, npy or jsonl", "a name that does not tell ('%.60s')", name);
}

static void
hash_of(const void *bytes, size_t size, const void *more, size_t more_size, uint8_t *hash_out)
{
	crypto_generichash_state state;

	if (hash_out == NULL)
		return;
	crypto_generichash_init(&state, NULL, 0, MMQ_SOURCE_HASH_BYTES);
	crypto_generichash_update(&state, bytes, size);
	crypto_generichash_update(&state, more, more_size);
	crypto_generichash_final(&state, hash_out, MMQ_SOURCE_HASH_BYTES);
}

static int
parse_labels(struct mmq_frame *frame, const struct mmq_source *source, const uint8_t *bytes, size_t size, struct mmq_err *err)
{
	size_t before = frame->columns_count;
	bool is_npy = size >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0;
	int result = is_npy ? mmq_npy_read(frame, "label", NULL, 0, bytes, size, source->labels, &source->limits, err)
	                    : mmq_idx_read(frame, "label", bytes, size, source->labels, &source->limits, err);

	if (result == 0 && (frame->columns_count != before + 1 || frame->columns[before].width != 1))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "options.labels", "a file with one number per row", "more");
	return result;
}

int
mmq_source_open(struct mmq_frame *frame, const struct mmq_source *source, const char *const *folders, size_t folders_count,
    uint8_t hash_out[MMQ_SOURCE_HASH_BYTES], struct mmq_err *err)
{
	enum mmq_format format = source->format != MMQ_FORMAT_AUTO ? source->format : mmq_format_guess(source->file);
	uint8_t *bytes = NULL, *labels = NULL;
	size_t size = 0, labels_size = 0;
	int result = -1;

	if (source->labels != NULL && format != MMQ_FORMAT_IDX && format != MMQ_FORMAT_NPY)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "options.labels", "format idx or npy", "format %s", mmq_format_name(format));
	if (mmq_source_bytes(source->file, folders, folders_count, source->limits.bytes_max, &bytes, &size, err) == 0 &&
	    (source->labels == NULL || mmq_source_bytes(source->labels, folders, folders_count, source->limits.bytes_max, &labels, &labels_size, err) == 0) &&
	    parse(frame, source, format, source->file, bytes, size, err) == 0 &&
	    (source->labels == NULL || parse_labels(frame, source, labels, labels_size, err) == 0)) {
		hash_of(bytes, size, labels, labels_size, hash_out);
		result = 0;
	}
	free(bytes);
	free(labels);
	return result;
}

int
mmq_source_parse(struct mmq_frame *frame, const struct mmq_source *source, const void *bytes, size_t size,
    uint8_t hash_out[MMQ_SOURCE_HASH_BYTES], struct mmq_err *err)
{
	if (parse(frame, source, source->format, "payload", bytes, size, err) == -1)
		return -1;
	hash_of(bytes, size, NULL, 0, hash_out);
	return 0;
}
