/* checkpoint.c: the last checkpoint of a running job: jobs/<tenant>/<job>/checkpoint.mmq, complete or absent.
 *
 * Written beside and renamed. Two workers that run the same job (one of them has lost its lease and does not know yet) may both write: either file is
 * a true state of the same computation. */
#include "store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char file_name[] = "checkpoint.mmq";

/* jobs/<tenant>/<job>; with make: created as needed. -1: errno, or err with make. */
static int
job_folder(const struct mmq_store *store, const char *tenant, const char *job, bool make, struct mmq_err *err)
{
	const char *const names[] = { "jobs", tenant, job };
	int at = store->root;

	if (mmq_layout_check_name("tenant", tenant, err) == -1 || mmq_layout_check_name("job", job, err) == -1)
		return -1;
	for (size_t i = 0; i < 3; i++) {
		int next = make ? mmq_layout_make_folder(store, at, names[i], err) : mmq_layout_folder(at, names[i]);
		if (at != store->root)
			close(at);
		if (next == -1)
			return -1;
		at = next;
	}
	return at;
}

int
mmq_store_write_checkpoint(struct mmq_store *store, const char *tenant, const char *job, int (*write_file)(void *arg, int fd, struct mmq_err *err),
    void *arg, struct mmq_err *err)
{
	char fresh[64];
	int folder = job_folder(store, tenant, job, true, err), result = -1, fd = -1;

	if (folder == -1)
		return -1;
	snprintf(fresh, sizeof(fresh), "%s.%d", file_name, (int)getpid());
	store->disk.unlinkat(folder, fresh, 0);
	fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		mmq_layout_fail(err, "write", file_name);
	else if (write_file(arg, fd, err) == -1)
		result = -1;
	else if (store->disk.fsync(fd) == -1 || store->disk.renameat(folder, fresh, folder, file_name) == -1 || store->disk.fsync(folder) == -1)
		mmq_layout_fail(err, "write", file_name);
	else
		result = 0;
	if (fd != -1)
		close(fd);
	if (result == -1)
		store->disk.unlinkat(folder, fresh, 0);
	close(folder);
	return result;
}

int
mmq_store_open_checkpoint(struct mmq_store *store, const char *tenant, const char *job, int *fd_out, struct mmq_err *err)
{
	int folder = job_folder(store, tenant, job, false, err);

	*fd_out = -1;
	if (folder == -1)
		return mmq_err_set(err, MMQ_NOT_FOUND, "job '%s' has no checkpoint", job);
	*fd_out = mmq_layout_open_file(folder, file_name, err);
	close(folder);
	return *fd_out == -1 ? -1 : 0;
}

void
mmq_store_drop_checkpoint(struct mmq_store *store, const char *tenant, const char *job)
{
	struct mmq_err unused;
	int jobs = mmq_layout_folder(store->root, "jobs"), folder = jobs == -1 ? -1 : mmq_layout_folder(jobs, tenant);

	if (folder != -1 && mmq_layout_check_name("job", job, &unused) == 0)
		mmq_layout_remove(store, folder, job);
	if (folder != -1)
		close(folder);
	if (jobs != -1)
		close(jobs);
}

static int
clean_job(void *arg, int dir, const char *name, struct mmq_err *err)
{
	struct stat state;
	(void)err;
	if (fstatat(dir, name, &state, AT_SYMLINK_NOFOLLOW) == 0 && state.st_mtime < time(NULL) - MMQ_STORE_CHECKPOINT_KEPT_S)
		mmq_layout_remove(arg, dir, name);
	return 0;
}

static int
clean_tenant_jobs(void *arg, int dir, const char *name, struct mmq_err *err)
{
	int tenant = mmq_layout_folder(dir, name);

	if (tenant != -1) {
		mmq_layout_visit(tenant, clean_job, arg, err);
		close(tenant);
	}
	return 0;
}

void
mmq_layout_clean_jobs(struct mmq_store *store, struct mmq_err *err)
{
	int jobs = mmq_layout_folder(store->root, "jobs");

	if (jobs != -1) {
		mmq_layout_visit(jobs, clean_tenant_jobs, store, err);
		close(jobs);
	}
}
