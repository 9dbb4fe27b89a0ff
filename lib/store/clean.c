/* clean.c: what interrupted publishes left behind, and versions deleted longer ago than the grace period. */
#include "store/layout.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "util/clock.h"

struct cleaner {
	struct mmq_store *store;
	int64_t hidden_before_ms;
};

static int
clean_hidden(void *arg, int dir, const char *name, struct mmq_err *err)
{
	const struct cleaner *cleaner = arg;
	const char *dash = strrchr(name, '-');

	(void)err;
	if (strncmp(name, MMQ_LAYOUT_HIDDEN, strlen(MMQ_LAYOUT_HIDDEN)) == 0 && strtoll(dash + 1, NULL, 10) <= cleaner->hidden_before_ms)
		mmq_layout_remove(cleaner->store, dir, name);
	return 0;
}

static int
clean_model(void *arg, int dir, const char *name, struct mmq_err *err)
{
	int model = mmq_layout_folder(dir, name), versions = model == -1 ? -1 : mmq_layout_folder(model, "versions");

	if (versions != -1) {
		mmq_layout_visit(versions, clean_hidden, arg, err);
		close(versions);
	}
	if (model != -1)
		close(model);
	return clean_hidden(arg, dir, name, err);
}

static int
clean_tenant(void *arg, int dir, const char *name, struct mmq_err *err)
{
	int tenant = mmq_layout_folder(dir, name);

	if (tenant != -1) {
		mmq_layout_visit(tenant, clean_model, arg, err);
		close(tenant);
	}
	return 0;
}

static int
clean_tmp(void *arg, int dir, const char *name, struct mmq_err *err)
{
	const struct cleaner *cleaner = arg;
	int fd = mmq_layout_folder(dir, name);

	(void)err;
	/* Whoever is publishing holds the lock; the kernel drops it when that process dies. */
	if (fd == -1)
		cleaner->store->disk.unlinkat(dir, name, 0);
	else if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		mmq_layout_remove(cleaner->store, dir, name);
	if (fd != -1)
		close(fd);
	return 0;
}

int
mmq_store_clean(struct mmq_store *store, int64_t grace_ms, struct mmq_err *err)
{
	struct cleaner cleaner = { store, mmq_clock_wall_ms() - grace_ms };
	int models = mmq_layout_folder(store->root, "models"), result = mmq_layout_visit(store->tmp, clean_tmp, &cleaner, err);

	if (models != -1) {
		if (result == 0)
			result = mmq_layout_visit(models, clean_tenant, &cleaner, err);
		close(models);
	}
	mmq_layout_clean_jobs(store, err);
	return result;
}
