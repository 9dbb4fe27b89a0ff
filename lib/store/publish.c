/* publish.c: one version, complete or absent: tmp/<job>-<fence>/ -> fsync -> rename to versions/NNNNNN -> fsync of the folder.
 *
 * Nobody makes versions/NNNNNN beforehand, since rename onto an empty folder would succeed. When the name is taken (or, on
 * a network file system, the reply to our rename was lost), the card that stands there tells whose it is. */
#include "store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int
write_model(const struct mmq_store *store, const struct mmq_publish *publish, int dir, struct mmq_err *err)
{
	int fd = openat(dir, "model.mmq", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	int result = -1;

	if (fd == -1)
		return mmq_layout_fail(err, "create", "model.mmq");
	if (publish->write_model(publish->arg, fd, err) == 0)
		result = store->disk.fsync(fd) == 0 ? 0 : mmq_layout_fail(err, "fsync", "model.mmq");
	close(fd);
	return result;
}

/* The "job" of the card in versions/<name>; job_out "" when it has none that can be read. */
static void
read_job(int versions, const char *name, char job_out[128])
{
	struct mmq_buf card;
	int folder = mmq_layout_folder(versions, name);

	job_out[0] = '\0';
	if (folder == -1)
		return;
	mmq_buf_init(&card, MMQ_STORE_CARD_BYTES_MAX);
	if (mmq_layout_read_file(folder, "card.json", MMQ_STORE_CARD_BYTES_MAX, &card, NULL) == 0) {
		json_t *root = json_loadb((const char *)card.bytes, card.size, 0, NULL);
		const char *job = json_string_value(json_object_get(root, "job"));
		snprintf(job_out, 128, "%s", job != NULL ? job : "");
		json_decref(root);
	}
	mmq_buf_fini(&card);
	close(folder);
}

/* After a rename that did not say yes: is the version there by this job? */
static int
settle(const struct mmq_store *store, const struct mmq_publish *publish, int versions, const char *name, int why, bool *was_there_out,
    struct mmq_err *err)
{
	char job[128];

	read_job(versions, name, job);
	if (strcmp(job, publish->job) == 0) {
		*was_there_out = true;
		return store->disk.fsync(versions) == 0 ? 0 : mmq_layout_fail(err, "fsync the folder of", name);
	}
	if (why == EEXIST || why == ENOTEMPTY)
		return mmq_err_set(err, MMQ_ALREADY_EXISTS, "version %u of '%s' was published by another job", publish->version, publish->model);
	errno = why;
	return mmq_layout_fail(err, "rename to version", name);
}

int
mmq_store_publish(struct mmq_store *store, const struct mmq_publish *publish, bool *was_there_out, struct mmq_err *err)
{
	char staged[160], name[MMQ_LAYOUT_NUMBER_TEXT];
	int dir = -1, versions = -1, result = -1;

	*was_there_out = false;
	if (mmq_layout_check_name("job", publish->job, err) == -1)
		return -1;
	if (publish->version == 0 || publish->version > MMQ_STORE_VERSION_MAX)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "version", "1 to 999999", "%u", publish->version);
	mmq_layout_version(publish->version, name);
	snprintf(staged, sizeof(staged), "%s-%" PRIu64, publish->job, publish->fence);
	mmq_layout_remove(store, store->tmp, staged);  /* of this same attempt: nobody else has this name */
	if (store->disk.mkdirat(store->tmp, staged, 0755) == -1)
		return mmq_layout_fail(err, "make folder", staged);
	dir = mmq_layout_folder(store->tmp, staged);
	if (dir == -1 || flock(dir, LOCK_SH | LOCK_NB) == -1) {
		mmq_layout_fail(err, "lock", staged);
		goto out;
	}
	if (write_model(store, publish, dir, err) == -1 ||
	    mmq_layout_write_file(store, dir, "card.json", publish->card, publish->card_bytes, err) == -1)
		goto out;
	if (store->disk.fsync(dir) == -1) {
		mmq_layout_fail(err, "fsync", staged);
		goto out;
	}
	versions = mmq_layout_model(store, publish->tenant, publish->model, "versions", true, err);
	if (versions == -1)
		goto out;
	if (store->disk.renameat(store->tmp, staged, versions, name) == -1)
		result = settle(store, publish, versions, name, errno, was_there_out, err);
	else
		result = store->disk.fsync(versions) == 0 ? 0 : mmq_layout_fail(err, "fsync the folder of", name);
out:
	if (dir != -1)
		close(dir);
	if (versions != -1)
		close(versions);
	mmq_layout_remove(store, store->tmp, staged);  /* gone already when it was renamed */
	return result;
}
