/* layout.c: walking to a model's folder without following links, and small files written once. */
#include "store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/mem.h"

int
mmq_layout_fail(struct mmq_err *err, const char *step, const char *name)
{
	int why = errno;
	enum mmq_code code = why == ENOSPC || why == EDQUOT ? MMQ_RESOURCE_EXHAUSTED : why == ENOENT ? MMQ_NOT_FOUND :
	    why == ELOOP || why == ENOTDIR ? MMQ_DATA_LOSS : MMQ_UNAVAILABLE;
	return mmq_err_set(err, code, "store: %s '%s': %s", step, name, strerror(why));
}

int
mmq_layout_check_name(const char *what, const char *name, struct mmq_err *err)
{
	if (mmq_name_is_valid(name, strlen(name)))
		return 0;
	return mmq_err_value(err, MMQ_INVALID_ARGUMENT, what, "[a-z0-9][a-z0-9._-]{0,63}", "'%s'", name);
}

int
mmq_layout_folder(int dir, const char *name)
{
	return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int
mmq_layout_make_folder(const struct mmq_store *store, int dir, const char *name, struct mmq_err *err)
{
	int fd = mmq_layout_folder(dir, name);
	if (fd != -1)
		return fd;
	if (errno != ENOENT)
		return mmq_layout_fail(err, "open folder", name);
	if (store->disk.mkdirat(dir, name, 0755) == -1 && errno != EEXIST)
		return mmq_layout_fail(err, "make folder", name);
	/* Also when another process just made it: it may not have come to its own fsync. */
	if (store->disk.fsync(dir) == -1)
		return mmq_layout_fail(err, "fsync the folder of", name);
	fd = mmq_layout_folder(dir, name);
	return fd != -1 ? fd : mmq_layout_fail(err, "open folder", name);
}

int
mmq_layout_model(const struct mmq_store *store, const char *tenant, const char *model, const char *part, bool make, struct mmq_err *err)
{
	const char *const names[] = { "models", tenant, model, part };
	int at = store->root;

	if (mmq_layout_check_name("tenant", tenant, err) == -1 || mmq_layout_check_name("model", model, err) == -1)
		return -1;
	for (size_t i = 0; i < 4 && names[i] != NULL; i++) {
		int next = make ? mmq_layout_make_folder(store, at, names[i], err) : mmq_layout_folder(at, names[i]);
		if (next == -1 && !make && errno == ENOENT)
			mmq_err_set(err, MMQ_NOT_FOUND, "there is no model '%s'", model);
		else if (next == -1 && !make)
			mmq_layout_fail(err, "open folder", names[i]);
		if (at != store->root)
			close(at);
		if (next == -1)
			return -1;
		at = next;
	}
	return at;
}

void
mmq_layout_version(uint32_t version, char text_out[MMQ_LAYOUT_NUMBER_TEXT])
{
	snprintf(text_out, MMQ_LAYOUT_NUMBER_TEXT, "%06u", version);
}

uint32_t
mmq_layout_number(const char *name, const char *ending)
{
	size_t digits = strspn(name, "0123456789");
	if (digits < 6 || digits > 9 || strcmp(name + digits, ending) != 0)
		return 0;
	return (uint32_t)strtoul(name, NULL, 10);
}

int
mmq_layout_visit(int dir, int (*visit)(void *arg, int dir, const char *name, struct mmq_err *err), void *arg, struct mmq_err *err)
{
	struct dirent *entry;
	int result = 0, fd = mmq_layout_folder(dir, ".");
	DIR *stream = fd == -1 ? NULL : fdopendir(fd);

	if (stream == NULL)
		return mmq_layout_fail(err, "list", "a folder");
	while (result == 0 && (entry = readdir(stream)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = visit(arg, dir, entry->d_name, err);
	closedir(stream);
	return result;
}

int
mmq_layout_write_all(const struct mmq_store *store, int fd, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	while (size > 0) {
		ssize_t wrote = store->disk.write(fd, at, size);
		if (wrote == -1 && errno == EINTR)
			continue;
		if (wrote == -1)
			return -1;
		at += wrote;
		size -= (size_t)wrote;
	}
	return 0;
}

int
mmq_layout_write_file(const struct mmq_store *store, int dir, const char *name, const void *bytes, size_t size, struct mmq_err *err)
{
	const char *step = "create";
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);

	if (fd == -1)
		return mmq_layout_fail(err, step, name);
	step = "write";
	if (mmq_layout_write_all(store, fd, bytes, size) == -1)
		goto fail;
	step = "fsync";
	if (store->disk.fsync(fd) == -1)
		goto fail;
	close(fd);
	return 0;
fail:
	mmq_layout_fail(err, step, name);
	close(fd);
	return -1;
}

int
mmq_layout_open_file(int dir, const char *name, struct mmq_err *err)
{
	struct stat info;
	/* Not blocking: a FIFO in the file's place must not hold the caller. */
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd == -1)
		return mmq_layout_fail(err, "open", name);
	if (fstat(fd, &info) == -1 || !S_ISREG(info.st_mode) || info.st_nlink != 1) {
		close(fd);
		return mmq_err_set(err, MMQ_DATA_LOSS, "store: '%s' is not a regular file with one link", name);
	}
	return fd;
}

int
mmq_layout_read_file(int dir, const char *name, size_t bytes_max, struct mmq_buf *out, struct mmq_err *err)
{
	struct stat info;
	int fd = mmq_layout_open_file(dir, name, err);

	if (fd == -1)
		return -1;
	if (fstat(fd, &info) == -1 || (uint64_t)info.st_size > bytes_max) {
		close(fd);
		return mmq_err_set(err, MMQ_DATA_LOSS, "store: '%s' is larger than %zu bytes", name, bytes_max);
	}
	size_t size = (size_t)info.st_size, done = 0;
	uint8_t *bytes = mmq_buf_extend(out, size);
	while (bytes != NULL && done < size) {
		ssize_t got = pread(fd, bytes + done, size - done, (off_t)done);
		if (got == -1 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	close(fd);
	return bytes != NULL && done == size ? 0 : mmq_err_set(err, MMQ_UNAVAILABLE, "store: '%s' could not be read whole", name);
}

void
mmq_layout_remove(const struct mmq_store *store, int dir, const char *name)
{
	/* A published version has files only; a whole model has versions and aliases below. Depth first with a small stack. */
	enum { DEPTH = 4 };
	DIR *open[DEPTH];
	char names[DEPTH][256];
	int depth = 0, fd = mmq_layout_folder(dir, name);

	if (fd == -1)
		return;
	open[0] = fdopendir(fd);
	snprintf(names[0], sizeof(names[0]), "%s", name);
	while (depth >= 0) {
		struct dirent *entry = readdir(open[depth]);
		if (entry == NULL) {
			closedir(open[depth]);
			store->disk.unlinkat(depth > 0 ? dirfd(open[depth - 1]) : dir, names[depth], AT_REMOVEDIR);
			depth--;
			continue;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (store->disk.unlinkat(dirfd(open[depth]), entry->d_name, 0) == 0 || depth + 1 == DEPTH)
			continue;
		fd = mmq_layout_folder(dirfd(open[depth]), entry->d_name);
		if (fd == -1)
			continue;
		depth++;
		open[depth] = fdopendir(fd);
		snprintf(names[depth], sizeof(names[depth]), "%s", entry->d_name);
	}
}
